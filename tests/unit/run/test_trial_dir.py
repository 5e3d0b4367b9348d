"""The folder of one trial and its learning curve."""

import re
from pathlib import Path
from typing import Any

import pytest
from sweeps import sweep_of

from raynas_snn.core.errors import UserError
from raynas_snn.core.files import write_json
from raynas_snn.run.trial_dir import TrialDir

SWEEP = sweep_of(model={"attention": {"choice": ["none", "ma"]}})


@pytest.fixture
def trial(tmp_path: Path) -> TrialDir:
    return TrialDir(tmp_path / "trials" / "p0000-s0").create()


def test_nothing_is_there_at_first(trial: TrialDir) -> None:
    assert trial.uid == "p0000-s0"
    assert not trial.has_begun()
    assert trial.read_trial() is None
    assert trial.read_result() is None
    assert trial.read_curve() == []
    assert list(trial.path.iterdir()) == []


def test_results_read_back(trial: TrialDir) -> None:
    result = {"epochs": 3, "metrics": {"accuracy": 0.5, "spikes": None}}
    write_json(trial.result, result)
    assert trial.read_result() == result


def test_a_trial_has_begun_when_its_settings_were_written(trial: TrialDir) -> None:
    settings = SWEEP.trial_config(0, 0, {"model.attention": "ma"})
    write_json(trial.config, settings.model_dump())
    assert trial.has_begun()
    assert trial.read_trial() == settings


def test_settings_of_another_version_are_read_without_what_it_alone_knows(trial: TrialDir) -> None:
    settings = SWEEP.trial_config(0, 0, {"model.attention": "none"})
    written = settings.model_dump()
    written["nest"], written["model"]["wings"] = {"size": 3}, 2
    del written["model"]["v_th"], written["limits"]
    write_json(trial.config, written)
    assert trial.read_trial() == settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uid": 3}, "uid: 3 is not allowed: must be text"),
        ({"proposal": "first"}, "proposal: 'first' is not allowed: must be a whole number"),
        ({"outer": {"model.decay": [1]}}, "outer: {'model.decay': [1]} is not allowed: must be a mapping"),
        (
            {"sampling": {"trial": 7}},
            "sampling: {trial: 7} is not allowed: must be a mapping of text to a mapping of text to anything",
        ),
        ({"model": 7}, "model: 7 is not allowed: must be a section of fields"),
        ({"model": {"decay": "high"}}, "model.decay: 'high' is not allowed: must be a number between 0 and 1"),
        ({"limits": {"max_params": "few"}}, "limits.max_params: 'few' is not allowed: must be a whole number or null"),
    ],
)
def test_garbled_settings_are_one_line(trial: TrialDir, changes: dict[str, Any], said: str) -> None:
    write_json(trial.config, SWEEP.trial_config(0, 0, {"model.attention": "none"}).model_dump() | changes)
    with pytest.raises(UserError, match=re.escape(f"{trial.config}: {said}")):
        trial.read_trial()


def test_a_curve_reads_back_with_its_types(trial: TrialDir) -> None:
    rows = [
        {"epoch": 1, "phase": "search, warm", "loss": 1e-7, "accuracy": 1 / 3, "spikes": None},
        {"epoch": 2, "phase": 'the "real" one', "loss": 2.0, "accuracy": 1.0, "spikes": 7.5},
    ]
    for row in rows:
        trial.append_curve(row)
    assert trial.read_curve() == rows
    assert trial.curve.read_text().splitlines()[0] == "epoch,phase,loss,accuracy,spikes"


def test_what_is_not_finite_is_empty_and_no_cell_holds_a_newline(trial: TrialDir) -> None:
    trial.append_curve({"epoch": 1, "loss": float("nan"), "lr": float("inf"), "phase": "a\nb"})
    assert trial.curve.read_text() == "epoch,loss,lr,phase\n1,,,a b\n"
    assert trial.read_curve() == [{"epoch": 1, "loss": None, "lr": None, "phase": "a b"}]


def test_new_columns_widen_the_file(trial: TrialDir) -> None:
    trial.append_curve({"epoch": 1, "alpha": 0.5})
    trial.append_curve({"epoch": 2, "spikes": 3})
    trial.append_curve({"epoch": 3})
    assert trial.read_curve() == [
        {"epoch": 1, "alpha": 0.5, "spikes": None},
        {"epoch": 2, "alpha": None, "spikes": 3},
        {"epoch": 3, "alpha": None, "spikes": None},
    ]


@pytest.mark.parametrize("torn", ["epo", "epoch,loss\n1,0.", "epoch,loss\n1,0.5"])
def test_a_torn_curve_goes_on(trial: TrialDir, torn: str) -> None:
    trial.curve.write_text(torn)
    assert trial.read_curve() == []
    trial.append_curve({"epoch": 1, "loss": 0.25})
    assert trial.read_curve() == [{"epoch": 1, "loss": 0.25}]


def test_a_garbled_curve_is_named_by_line(trial: TrialDir) -> None:
    trial.curve.write_text("epoch,loss\n1,2,3\n")
    with pytest.raises(UserError, match=r"curve\.csv, line 2: 2 cells expected, 3 found"):
        trial.read_curve()

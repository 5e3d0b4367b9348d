"""What follows from a sweep: its resolved form, its hash, its proposals and trials."""

from pathlib import Path

import pytest

from raynas_snn.config import Sweep, difference, load_sweep, meaning
from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.yaml_text import dump

VARIED = ("model.attention={choice: [none, ma]}", "model.num_steps={choice: [2, 4, 6]}", "search.epochs=3")


def sweep(*overrides: str, num_trials: int | None = None) -> Sweep:
    return load_sweep(None, overrides, num_trials)


def reload(text: str, tmp_path: Path) -> Sweep:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_sweep(file)


def test_the_resolved_sweep_holds_every_field_and_reads_back(tmp_path):
    first = sweep(*VARIED)
    resolved = first.resolved()
    assert resolved["model"]["attention"] == {
        "choice": ["none", "ma"],
        "reduction": 16,
        "spatial_kernel": 7,
        "fold_time": False,
    }
    assert resolved["retrain"]["weight_decay"] == 3e-4
    again = reload(dump(resolved), tmp_path)
    assert (again.config, again.outer) == (first.config, first.outer)
    assert again.resolved() == resolved
    assert again.meaning_hash() == first.meaning_hash()


def test_the_order_of_lines_has_no_meaning(tmp_path):
    def backwards(value):
        return {key: backwards(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    first = sweep(*VARIED)
    again = reload(dump(backwards(first.resolved())), tmp_path)
    assert again.grid() == first.grid()
    assert again.meaning_hash() == first.meaning_hash()


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "sweep.num_seeds=5",
        "sweep.max_failures=0",
        "resources={num_workers: 2, gpus_per_worker: 1}",
        "resources.max_concurrent=1",
        "resources.cuda_graphs=false",
        "search.recompute=true",
        "retrain={recompute: true, compile: true}",
    ],
)
def test_a_run_may_be_continued_with_another(override):
    assert sweep(override).meaning_hash() == sweep().meaning_hash()
    assert sweep(num_trials=2).meaning_hash() == sweep().meaning_hash()


@pytest.mark.parametrize(
    "override",
    [
        "model.decay=0.3",
        "model.attention={choice: [ct, none, ma]}",
        "sweep.seed=1",
        "space=ma_darts",
        "trial=fake",
        "resources.precision=bfloat16",
        "retrain.compile={choice: [false, true]}",
    ],
)
def test_a_run_may_not_be_continued_with_another(override):
    assert sweep(override).meaning_hash() != sweep().meaning_hash()


def test_the_grid_has_every_combination_with_the_last_factor_fastest():
    varied = sweep(*VARIED)
    assert varied.num_proposals() == 6
    assert [tuple(values.values()) for values in varied.grid()] == [
        ("none", 2),
        ("none", 4),
        ("none", 6),
        ("ma", 2),
        ("ma", 4),
        ("ma", 6),
    ]


def test_the_grid_is_cut_at_num_trials():
    varied = sweep(*VARIED, num_trials=4)
    assert varied.num_proposals() == len(varied.grid()) == 4
    assert varied.grid() == sweep(*VARIED).grid()[:4]
    assert sweep(num_trials=50).num_proposals() == 3


def test_without_outer_parameters_there_is_one_proposal():
    plain = sweep("model.attention=ma")
    assert plain.num_proposals() == 1
    assert plain.grid() == [{}]


def test_a_trial_has_the_values_of_its_proposal_and_survives_json():
    trial = sweep(*VARIED, "sweep.seed=10").trial_config(7, 1, {"model.attention": "ma", "model.num_steps": 4})
    assert (trial.uid, trial.proposal, trial.seed) == ("p0007-s1", 7, 11)
    assert (trial.model.attention.name, trial.model.num_steps) == ("ma", 4)
    assert trial.outer == {"model.attention": "ma", "model.num_steps": 4}
    assert TrialConfig.model_validate_json(trial.model_dump_json()) == trial


def test_a_trial_finds_its_genotype_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cells.json").write_text("{}")
    fixed = sweep("search.strategy=fixed", "search.strategy.genotype=cells.json", "model.attention=ma")
    assert fixed.trial_config(0, 0, {}).value_at("search.strategy.genotype") == str(tmp_path / "cells.json")
    assert fixed.resolved()["search"]["strategy"] == {"name": "fixed", "genotype": "cells.json"}


@pytest.mark.parametrize("value", [1, 1.0, 0.25])
def test_the_type_of_an_outer_value_survives_json(value):
    varied = sweep("model.attention=ma", "model.decay={float: [0, 1]}", "sweep.sampler=tpe", num_trials=1)
    trial = varied.trial_config(0, 0, {"model.decay": value})
    again = TrialConfig.model_validate_json(trial.model_dump_json())
    assert type(again.outer["model.decay"]) is type(value)
    assert again.model.decay == value


@pytest.mark.parametrize(
    "values",
    [{}, {"model.attention": "ma", "model.decay": 0.1}, {"model.num_steps": 4}, {"model.attention": 3}],
)
def test_a_trial_refuses_values_that_are_none_of_its_proposal(values):
    with pytest.raises(ValueError, match=r"outer parameters|is none of"):
        sweep().trial_config(0, 0, values)


def test_differences_are_told_field_by_field():
    old, new = (
        sweep().resolved(),
        sweep("model.decay=0.3", "model.attention=ma", "sweep.num_seeds=3").resolved(),
    )
    del new["data"]["root"]
    assert difference(old, old) == []
    assert difference(old, new) == [
        "data.root: 'data' -> not set",
        "model.attention: {choice: ['none', 'ct', 'ma']} -> 'ma'",
        "model.attention.channel_kernel: null -> not set",
        "model.attention.time_kernel: 3 -> not set",
        "model.attention.window: 'centred' -> not set",
        "model.decay: 0.2 -> 0.3",
        "sweep.num_seeds: 2 -> 3",
    ]
    assert "sweep.num_seeds: 2 -> 3" not in difference(meaning(old), meaning(new))

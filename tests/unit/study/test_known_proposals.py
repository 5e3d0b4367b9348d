"""What is known of the proposals: the trials' files garbled, lost, contradicting each other. Real Optuna, no Ray."""

import json
from pathlib import Path

import pytest
from ledgers import SAMPLERS, give_out, lines, outer, result, run_all, sampled, start, study_trials
from optuna.trial import TrialState

from raynas_snn.config import load_sweep
from raynas_snn.core.errors import UserError
from raynas_snn.study.ledger import Ledger

GRID = ("trial=fake", "model.num_steps={choice: [1, 2]}", "sweep.num_seeds=1")  # on top of three kinds of attention


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("overrides", [GRID, *SAMPLERS])
def test_a_proposal_that_nobody_has_started_is_made_again_in_its_place(tmp_path, overrides):
    sweep = load_sweep(None, GRID) if overrides is GRID else sampled(10, *overrides)
    whole = run_all(sweep, tmp_path / "whole")
    ledger = start(sweep, tmp_path / "run")
    trials = [give_out(ledger) for _ in range(sweep.num_proposals() - 1)]
    for trial in trials[:3]:
        ledger.finish(trial, result(trial))
    ledger.run.trial(trials[3].uid).config.unlink()
    done = lines(tmp_path / "run")
    again = run_all(sweep, tmp_path / "run")
    assert lines(tmp_path / "run")[:3] == done
    assert sorted(again.records) == sorted(whole.records)
    assert len(lines(tmp_path / "run")) == sweep.num_proposals()
    for trial in trials:
        if trial.uid != trials[3].uid or sweep.config.sweep.sampler in ("grid", "random"):
            assert outer(again)[trial.uid] == trial.outer
    assert {trial.state for trial in study_trials(again)} == {TrialState.COMPLETE}


def test_a_grid_that_lost_a_proposal_and_was_cut_short_still_makes_each_point_once(tmp_path):
    sweep, fewer = load_sweep(None, GRID), load_sweep(None, (*GRID, "sweep.num_trials=2"))
    ledger = start(sweep, tmp_path / "run")
    trials = [give_out(ledger) for _ in range(5)]
    for trial in (trials[0], trials[4]):
        ledger.finish(trial, result(trial))
    ledger.run.trial(trials[2].uid).config.unlink()
    assert sorted(run_all(fewer, tmp_path / "run").records) == ["p0000-s0", "p0001-s0", "p0004-s0"]
    records = run_all(sweep, tmp_path / "run").records
    assert sorted(str(record.outer) for record in records.values()) == sorted(map(str, sweep.grid()))
    assert all(records[trial.uid].outer == trial.outer for trial in trials)


@pytest.mark.parametrize("name", ["trials.jsonl", "config.yaml"])
@pytest.mark.parametrize("data", [b"\xff\xfe\n", b"{]\n", b"\0" * 100 + b"\n", b"[]\n", b"5\n"])
def test_a_garbled_run_to_learn_from_is_one_line_that_names_the_file(tmp_path, name, data):
    run_all(sampled(2), tmp_path / "earlier")
    (tmp_path / "earlier" / name).write_bytes(data)
    warm = sampled(2, "sweep.sampler=tpe", f"sweep.warm_start={tmp_path / 'earlier'}")
    with pytest.raises(UserError, match=rf"sweep\.warm_start: .*{name}"):
        start(warm, tmp_path / "run")


@pytest.mark.parametrize(
    "garbled", [5, [5], [{"name": "p0000"}], [{"name": "a", "values": {}, "metrics": {"accuracy": "high"}}]]
)
def test_a_garbled_warm_start_in_the_manifest_is_one_line(tmp_path, garbled):
    run_all(sampled(2), tmp_path / "earlier")
    warm = sampled(2, "sweep.sampler=tpe", f"sweep.warm_start={tmp_path / 'earlier'}")
    path = start(warm, tmp_path / "run").run.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"warm_start": garbled}))
    with pytest.raises(UserError, match=r"manifest\.json: 'warm_start' does not hold proposals of this sweep"):
        start(warm, tmp_path / "run")


def test_settings_that_are_garbled_are_in_the_way_only_if_nothing_else_knows_the_proposal(tmp_path):
    sweep = sampled(3, "sweep.num_seeds=2")
    ledger = start(sweep, tmp_path / "run")
    first, second, third = (give_out(ledger) for _ in range(3))
    ledger.finish(first, result(first))
    for trial in (first, second):
        ledger.run.trial(trial.uid).config.write_text("{")
    assert give_out(start(sweep, tmp_path / "run")).outer == first.outer
    ledger.run.trial(third.uid).config.write_text("{")
    before = contents(tmp_path / "run" / "trials")
    with pytest.raises(UserError, match=r"p0001-s0/config\.json: not JSON: .*; remove the folder to start this trial"):
        start(sweep, tmp_path / "run")
    assert contents(tmp_path / "run" / "trials") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outer": {"model.decay": 5.0, "model.v_th": 1.0}}, "this sweep does not make such a proposal"),
        ({"outer": {"model.decay": 0.5}}, "this sweep does not make such a proposal"),
        ({"proposal": 7}, "of another proposal than 7"),
        ({"uid": "mine"}, "no trial of a sweep"),
        ({"uid": "p0001-s1", "proposal": 1}, "another seed of proposal 1 has other outer values"),
        ({"uid": "p900000-s0", "proposal": 900_000}, "this sweep makes 100000 at most"),
    ],
)
def test_a_record_that_cannot_be_of_this_sweep_is_one_line(tmp_path, change, message):
    sweep = sampled(2, "model.attention=none")
    ledger = run_all(sweep, tmp_path / "run")
    record, other = lines(tmp_path / "run")
    (tmp_path / "run" / "trials.jsonl").write_text(f"{json.dumps({**json.loads(record), **change})}\n{other}\n")
    before = contents(tmp_path / "run")
    with pytest.raises(UserError, match=message):
        Ledger(sweep, ledger.run)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize(
    "notes",
    [
        {"trial": {"NSGA2:generation": "first"}},
        {"trial": {"NSGA2:generation": 0}, "study": {"NSGA2:parent:1": 5}},
    ],
)
def test_garbled_notes_of_a_sampler_end_in_one_line(tmp_path, notes):
    sweep = sampled(9, "sweep.sampler={name: nsga2, population_size: 2}")
    ledger = run_all(sampled(4, "sweep.sampler={name: nsga2, population_size: 2}"), tmp_path / "run")
    for uid in ledger.records:
        path = ledger.run.trial(uid).config
        path.write_text(json.dumps(json.loads(path.read_text()) | {"sampling": notes}))
    ledger = start(sweep, tmp_path / "run")
    with pytest.raises(UserError, match=r"sweep\.sampler: 'nsga2' fails at proposal 4: TypeError"):
        ledger.next_trial()

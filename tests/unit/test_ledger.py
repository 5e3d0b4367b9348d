"""The ledger: which trial runs next, whatever was interrupted. Real Optuna, real files, no Ray."""

import random
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from raynas_snn.cluster.ledger import Ledger, open_study
from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.results.files import write_json
from raynas_snn.results.run_dir import RunDir

GRID = ("trial=fake", "model.num_steps={choice: [1, 2]}")  # on top of the default's three kinds of attention
RANGES = ("trial=fake", "model.decay={float: [0.1, 0.9]}", "model.v_th={float: [0.1, 2.0], log: true}")


def sampled(sampler: str, num_trials: int) -> Sweep:
    return load_sweep(None, (*RANGES, f"sweep.sampler={sampler}", f"sweep.num_trials={num_trials}"))


def result(trial: TrialConfig) -> dict:
    return {"epochs": 3, "metrics": {"accuracy": random.Random(trial.uid).random(), "seconds": 1.5}}


def start(sweep: Sweep, path: Path) -> Ledger:
    return Ledger(sweep, RunDir(path) if RunDir.is_run(path) else RunDir.create(path, sweep.resolved(), {}))


def run_all(sweep: Sweep, path: Path) -> Ledger:
    ledger = start(sweep, path)
    while (trial := ledger.next_trial()) is not None:
        ledger.finish(trial, result(trial))
    return ledger


def outer(ledger: Ledger) -> dict:
    return {uid: record.outer for uid, record in ledger.records.items()}


def study_states(ledger: Ledger) -> list[TrialState]:
    return [trial.state for trial in open_study(ledger.sweep, ledger.run.journal).get_trials()]


def test_a_grid_is_run_in_order_each_point_with_each_seed(tmp_path):
    ledger = run_all(load_sweep(None, GRID), tmp_path / "run")
    assert [dict(record.outer) for record in ledger.records.values()] == [
        point for point in ledger.sweep.grid() for _ in range(2)
    ]
    assert [record.seed for record in ledger.records.values()] == [0, 1] * 6
    assert ledger.num_missing == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["next", "finish", "die", "die after result"]), max_size=40), st.randoms())
def test_whatever_dies_every_trial_ends_exactly_once(tmp_path_factory, events, chance):
    """A driver may die at any moment: what runs is lost, unless its result was already written."""
    path = tmp_path_factory.mktemp("ledger") / "run"
    sweep = load_sweep(None, GRID)
    ledger, running = start(sweep, path), []
    for event in [*events, "die"]:
        if event == "next" and (trial := ledger.next_trial()) is not None:
            running.append(trial)
        elif event == "finish" and running:
            trial = running.pop(chance.randrange(len(running)))
            ledger.finish(trial, result(trial))
        elif event.startswith("die"):
            if event == "die after result" and running:
                write_json(ledger.run.trial(running[0].uid).create().result, result(running[0]))
            ledger, running = start(sweep, path), []
    ledger = run_all(sweep, path)
    lines = (path / "trials.jsonl").read_text().splitlines()
    assert len(lines) == len(ledger.records) == 12
    assert study_states(ledger) == [TrialState.COMPLETE] * 6


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_an_interrupted_sweep_proposes_what_one_in_one_piece_does(tmp_path, sampler):
    whole = run_all(sampled(sampler, 14), tmp_path / "whole")
    run_all(sampled(sampler, 3), tmp_path / "parts")
    interrupted = start(sampled(sampler, 14), tmp_path / "parts")
    assert interrupted.next_trial() is not None  # asked, given out, lost
    parts = run_all(sampled(sampler, 14), tmp_path / "parts")
    assert outer(parts) == outer(whole)
    assert len({record.outer["model.decay"] for record in whole.records.values()}) == 14


def test_proposals_depend_on_the_seed_of_the_sweep(tmp_path):
    one = run_all(sampled("random", 3), tmp_path / "one")
    other = load_sweep(None, (*RANGES, "sweep.sampler=random", "sweep.num_trials=3", "sweep.seed=1"))
    assert outer(one) != outer(run_all(other, tmp_path / "other"))


def test_optuna_learns_the_mean_over_the_seeds_that_finished(tmp_path):
    ledger = start(load_sweep(None, GRID), tmp_path / "run")
    first, second = ledger.next_trial(), ledger.next_trial()
    ledger.finish(first, {"epochs": 3, "metrics": {"accuracy": 0.5}})
    assert study_states(ledger)[0] == TrialState.RUNNING
    ledger.book(second, "failed", 1, {}, "out of memory")
    trial = open_study(ledger.sweep, ledger.run.journal).get_trials()[0]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.user_attrs["p0000-s1"] == {"end_reason": "failed", "epochs": 1, "error": "out of memory"}


@pytest.mark.parametrize("metrics", [{}, {"accuracy": None}, {"accuracy": float("nan")}, {"accuracy": float("inf")}])
def test_an_objective_that_is_no_number_makes_a_failed_trial(tmp_path, metrics):
    ledger = start(load_sweep(None, (*GRID, "sweep.num_seeds=1")), tmp_path / "run")
    record = ledger.finish(ledger.next_trial(), {"epochs": 3, "metrics": metrics})
    assert record.end_reason == "failed"
    assert record.error.startswith("the objective 'accuracy' is ")
    assert study_states(ledger)[0] == TrialState.FAIL


def test_several_objectives_reach_optuna_in_order(tmp_path):
    sweep = load_sweep(
        None, ("trial=fake", "sweep.num_seeds=1", "sweep.objectives={accuracy: maximize, spikes: minimize}")
    )
    ledger = start(sweep, tmp_path / "run")
    ledger.finish(ledger.next_trial(), {"epochs": 3, "metrics": {"accuracy": 0.5, "spikes": 100}})
    study = open_study(sweep, ledger.run.journal)
    assert study.get_trials()[0].values == [0.5, 100]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_a_half_written_journal_line_and_a_stale_lock_are_cleared(tmp_path):
    sweep = load_sweep(None, GRID)
    ledger = start(sweep, tmp_path / "run")
    trial = ledger.next_trial()
    ledger.finish(trial, result(trial))
    with ledger.run.journal.open("ab") as journal:
        journal.write(b'{"op_code": 5, "worker_id"')
    ledger.run.journal.with_name("study.journal.lock").symlink_to(ledger.run.journal)
    assert len(run_all(sweep, tmp_path / "run").records) == 12


@pytest.mark.parametrize("overrides", [GRID, (*RANGES, "sweep.sampler=random", "sweep.num_trials=3")])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_driver_that_dies_while_it_asks_leaves_no_half_proposal(tmp_path, overrides, lost):
    sweep = load_sweep(None, (*overrides, "sweep.num_seeds=1"))
    whole = run_all(sweep, tmp_path / "whole")
    ledger = start(sweep, tmp_path / "run")
    ledger.finish(trial := ledger.next_trial(), result(trial))
    assert ledger.next_trial() is not None
    lines = ledger.run.journal.read_bytes().splitlines(keepends=True)
    ledger.run.journal.write_bytes(b"".join(lines[:-lost]))  # each parameter is a line of its own
    assert outer(run_all(sweep, tmp_path / "run")) == outer(whole)


def test_more_trials_and_more_seeds_add_to_a_finished_run(tmp_path):
    run_all(load_sweep(None, (*GRID, "sweep.num_trials=2", "sweep.num_seeds=1")), tmp_path / "run")
    ledger = start(load_sweep(None, (*GRID, "sweep.num_trials=3")), tmp_path / "run")
    assert ledger.num_missing == 4
    missing = []
    while (trial := ledger.next_trial()) is not None:
        missing.append(trial.uid)
        ledger.finish(trial, result(trial))
    assert sorted(missing) == ["p0000-s1", "p0001-s1", "p0002-s0", "p0002-s1"]


@pytest.fixture(autouse=True)
def quiet_optuna():
    verbosity = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(verbosity)

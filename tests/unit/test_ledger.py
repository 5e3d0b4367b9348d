"""The ledger: which trial runs next, whatever was interrupted. Real Optuna, real files, no Ray."""

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import RANGES, SAMPLERS, outer, result, run_all, sampled, start, study_trials
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from raynas_snn.cluster.ledger import Ledger
from raynas_snn.cluster.study import open_study
from raynas_snn.config import load_sweep
from raynas_snn.results.files import write_json
from raynas_snn.results.records import TrialRecord

GRID = ("trial=fake", "model.num_steps={choice: [1, 2]}")  # on top of the default's three kinds of attention


def study_states(ledger: Ledger) -> list[TrialState]:
    return [trial.state for trial in study_trials(ledger)]


def test_a_grid_is_run_in_order_each_point_with_each_seed(tmp_path):
    ledger = run_all(load_sweep(None, GRID), tmp_path / "run")
    assert [dict(record.outer) for record in ledger.records.values()] == [
        point for point in ledger.sweep.grid() for _ in range(2)
    ]
    assert [record.seed for record in ledger.records.values()] == [0, 1] * 6
    assert ledger.num_missing == 0


@settings(max_examples=25, deadline=None)
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


@pytest.mark.parametrize("overrides", SAMPLERS)
def test_an_interrupted_sweep_proposes_what_one_in_one_piece_does(tmp_path, overrides):
    whole = run_all(sampled(14, *overrides), tmp_path / "whole")
    run_all(sampled(12, *overrides), tmp_path / "parts")  # raising the number of trials, beside
    interrupted = start(sampled(14, *overrides), tmp_path / "parts")
    assert interrupted.next_trial() is not None  # asked, given out, lost
    parts = run_all(sampled(14, *overrides), tmp_path / "parts")
    assert outer(parts) == outer(whole)
    assert len({record.outer["model.decay"] for record in whole.records.values()}) > 5


@pytest.mark.parametrize("overrides", SAMPLERS[1:])
def test_a_driver_that_dies_while_it_asks_an_adaptive_sampler_leaves_no_half_proposal(tmp_path, overrides):
    """Every line of the journal of one asking is the last one that was written, in turn."""
    sweep = sampled(13, *overrides)
    whole = run_all(sweep, tmp_path / "whole")
    run_all(sampled(12, *overrides), tmp_path / "run")
    journal = tmp_path / "run" / "study.journal"
    before = journal.read_bytes()
    assert start(sweep, tmp_path / "run").next_trial() is not None
    added = journal.read_bytes().removeprefix(before).splitlines(keepends=True)
    for kept in range(1, len(added)):
        journal.write_bytes(before + b"".join(added[:kept]))
        trial = start(sweep, tmp_path / "run").next_trial()
        assert trial is not None
        assert trial.outer == whole.records["p0012-s0"].outer


def test_proposals_depend_on_the_seed_of_the_sweep(tmp_path):
    one = run_all(sampled(3, "sweep.sampler=random"), tmp_path / "one")
    assert outer(one) != outer(run_all(sampled(3, "sweep.sampler=random", "sweep.seed=1"), tmp_path / "other"))


@pytest.mark.parametrize("overrides", [SAMPLERS[2], SAMPLERS[5]])
def test_more_seeds_add_to_the_finished_proposals_of_every_sampler(tmp_path, overrides):
    first = outer(run_all(sampled(3, *overrides), tmp_path / "run"))
    more = outer(run_all(sampled(3, *overrides, "sweep.num_seeds=2"), tmp_path / "run"))
    assert more == {f"p{number:04d}-s{repeat}": first[f"p{number:04d}-s0"] for number in range(3) for repeat in (0, 1)}


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


def test_a_proposal_that_is_made_again_has_other_seeds_whatever_was_interrupted(tmp_path):
    overrides = ("trial=fake", "model.num_steps={choice: [1, 2]}", "model.attention=none", "sweep.sampler=random")
    whole = run_all(load_sweep(None, (*overrides, "sweep.num_trials=6")), tmp_path / "whole")
    seeds: dict[int, list[int]] = {}
    for record in whole.records.values():
        seeds.setdefault(record.outer["model.num_steps"], []).append(record.seed)
    for made in seeds.values():
        assert made == [1000 * time + repeat for time in range(len(made) // 2) for repeat in range(2)]
    run_all(load_sweep(None, (*overrides, "sweep.num_trials=3", "sweep.num_seeds=1")), tmp_path / "parts")
    parts = run_all(load_sweep(None, (*overrides, "sweep.num_trials=6")), tmp_path / "parts")
    assert {uid: record.seed for uid, record in parts.records.items()} == {
        uid: record.seed for uid, record in whole.records.items()
    }


@pytest.fixture(autouse=True)
def quiet_optuna():
    verbosity = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(verbosity)


def test_a_trial_is_booked_without_going_through_all_that_went_before(tmp_path, monkeypatch):
    ledger = start(sampled(30, "sweep.sampler=random"), tmp_path / "run")
    lists, parsed = [], []
    every, parse = JournalStorage.get_all_trials, TrialRecord.from_line
    monkeypatch.setattr(
        JournalStorage, "get_all_trials", lambda self, *args, **kwargs: lists.append(1) or every(self, *args, **kwargs)
    )
    monkeypatch.setattr(TrialRecord, "from_line", lambda line: parsed.append(1) or parse(line))
    while (trial := ledger.next_trial()) is not None:
        ledger.finish(trial, result(trial))
    assert len(ledger.records) == 30
    assert len(lists) == 30  # Optuna itself looks for one that waits
    assert not parsed

"""The ledger: which trial runs next, whatever was interrupted. Real Optuna, real files, no Ray."""

import shutil

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import SAMPLERS, give_out, outer, result, run_all, sampled, start, study_trials
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from properties import examples

from raynas_snn.config import load_sweep
from raynas_snn.core.files import write_json
from raynas_snn.run.records import TrialRecord
from raynas_snn.study.ledger import Ledger

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


@examples(25)
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


@pytest.mark.parametrize("overrides", SAMPLERS)
@examples(15)
@given(events=st.lists(st.sampled_from(["next", "finish", "stop", "fail"]), max_size=30), chance=st.randoms())
def test_a_new_driver_proposes_what_the_one_before_it_would_have(tmp_path_factory, overrides, events, chance):
    """Whatever has happened: the same history, read back from the files, gives the same next proposal."""
    folder, sweep = tmp_path_factory.mktemp("ledger"), sampled(40, *overrides)
    ledger, running = start(sweep, folder / "run"), []
    for event in ["next", *events]:
        if event == "next":
            running.append(give_out(ledger))
        elif running:
            trial = running.pop(chance.randrange(len(running)))
            if event == "stop":
                ledger.book(trial, "early_stopped", 2, {"accuracy": chance.random(), "spikes": 9.0})
            else:
                ledger.finish(trial, result(trial) if event == "finish" else {"epochs": 1, "error": "crashed"})
    shutil.copytree(folder / "run", folder / "copy")
    again = start(sweep, folder / "copy")
    assert [give_out(again).uid for _ in running] == sorted(trial.uid for trial in running)
    for _ in range(3):
        assert give_out(again).model_dump() == give_out(ledger).model_dump()
    assert [(trial.params, trial.state, trial.values, trial.constraints) for trial in study_trials(again)] == [
        (trial.params, trial.state, trial.values, trial.constraints) for trial in study_trials(ledger)
    ]


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
    trial = study_trials(ledger)[0]
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
    assert study_trials(ledger)[0].values == [0.5, 100]


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
    every, parse = InMemoryStorage.get_all_trials, TrialRecord.from_line
    monkeypatch.setattr(
        InMemoryStorage, "get_all_trials", lambda self, *args, **kwargs: lists.append(1) or every(self, *args, **kwargs)
    )
    monkeypatch.setattr(TrialRecord, "from_line", lambda line: parsed.append(1) or parse(line))
    while (trial := ledger.next_trial()) is not None:
        ledger.finish(trial, result(trial))
    assert len(ledger.records) == 30
    assert len(lists) == 30  # Optuna itself looks for one that waits
    assert not parsed

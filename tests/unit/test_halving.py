"""Early stopping: rungs by epoch, remembered over the end of a driver. Real scheduler, no Ray cluster."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from raynas_snn.cluster.halving import make_scheduler, rungs_between
from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.errors import UserError
from raynas_snn.results.files import write_json
from raynas_snn.results.records import TrialRecord
from raynas_snn.results.run_dir import RunDir

# 2 epochs of search and 7 of retraining: rungs at 3 and 6; the last epoch is never compared.
SETTINGS = (
    "trial=fake",
    "model.attention=none",
    "model.decay={choice: [0.1, 0.2, 0.3, 0.4]}",
    "search.epochs=2",
    "retrain.epochs=7",
    "sweep.num_seeds=1",
    "sweep.scheduler=asha",
    "sweep.reduction_factor=2",
)
SWEEP = load_sweep(None, SETTINGS)


class Driver:
    """One driver's scheduler and the trials it runs, without Tune."""

    def __init__(self, run: RunDir, records: tuple[TrialRecord, ...] = (), sweep: Sweep = SWEEP) -> None:
        self.run, self.sweep = run, sweep
        self.scheduler = make_scheduler(sweep, run, {record.uid: record for record in records})

    def start(self, number: int) -> SimpleNamespace:
        config = self.sweep.trial_config(number, 0, {"model.decay": (number + 1) / 10})
        write_json(self.run.trial(config.uid).create().config, config.model_dump())
        trial = SimpleNamespace(trial_id=f"{id(self)}-{number}", config={"trial": config.model_dump_json()})
        self.scheduler.on_trial_add(None, trial)
        return trial

    def report(self, trial: SimpleNamespace, epoch: int, accuracy: float | None) -> str:
        folder = self.run.trial(TrialConfig.model_validate_json(trial.config["trial"]).uid)
        if epoch > folder.last_epoch():
            folder.append_curve({"epoch": epoch, "phase": "retrain", "accuracy": accuracy})
        shown = {} if accuracy is None else {"accuracy": accuracy}
        return self.scheduler.on_trial_result(None, trial, {"epoch": epoch, **shown})

    def run_until_stopped(self, number: int, accuracy: float, first: int = 1) -> TrialRecord:
        trial = self.start(number)
        for epoch in range(first, 10):
            if self.report(trial, epoch, accuracy) == "STOP":
                return record(number, "early_stopped", epoch)
        self.scheduler.on_trial_complete(None, trial, {"epoch": 9, "accuracy": accuracy})
        return record(number, "finished", 9)


def record(number: int, reason: str, epochs: int) -> TrialRecord:
    return TrialRecord(f"p{number:04d}-s0", number, 0, {"model.decay": 0.1}, reason, epochs, 1.0)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", SWEEP.resolved(), {})


def test_without_a_scheduler_nobody_is_stopped(run):
    assert make_scheduler(load_sweep(None), run, {}) is None


def test_trials_are_compared_at_their_epochs_and_never_at_the_last(run):
    driver = Driver(run)
    ends = [driver.run_until_stopped(number, accuracy) for number, accuracy in enumerate([0.5, 0.4, 0.9, 0.6])]
    assert [(end.end_reason, end.epochs) for end in ends] == [
        ("finished", 9),
        ("early_stopped", 3),
        ("finished", 9),
        ("early_stopped", 6),
    ]


def test_epochs_without_the_metric_are_passed_over(run):
    driver = Driver(run)
    driver.run_until_stopped(0, 0.9)
    trial = driver.start(1)
    assert [driver.report(trial, epoch, None) for epoch in (1, 2, 3)] == ["CONTINUE"] * 3
    assert driver.report(trial, 4, 0.1) == "STOP"
    assert driver.scheduler.metric is None  # else Tune ends the sweep at such an epoch


def test_a_new_driver_knows_the_rungs_of_the_old(run):
    first = Driver(run)
    records = tuple(first.run_until_stopped(number, accuracy) for number, accuracy in enumerate([0.5, 0.4, 0.9]))
    RunDir(run.path).trial("p0001-s0").append_curve({"epoch": 4, "phase": "retrain", "accuracy": 0.99})  # too late
    rungs = [dict(sorted(recorded.items())) for _, recorded in Driver(run, records).scheduler._brackets[0]._rungs]
    assert rungs == [{"p0000-s0": 0.5, "p0002-s0": 0.9}, {"p0000-s0": 0.5, "p0001-s0": 0.4, "p0002-s0": 0.9}]
    assert Driver(run, records).run_until_stopped(3, 0.45).epochs == 3


@pytest.mark.parametrize("reached", [2, 3, 4])
def test_a_trial_that_goes_on_is_counted_once(run, reached):
    first = Driver(run)
    records = (first.run_until_stopped(0, 0.5),)
    trial = first.start(1)
    for epoch in range(1, reached + 1):
        first.report(trial, epoch, 0.7)
    second = Driver(run, records)
    again = second.start(1)
    assert [second.report(again, epoch, 0.7) for epoch in range(reached, 10)] == ["CONTINUE"] * (10 - reached)
    assert [len(recorded) for _, recorded in second.scheduler._brackets[0]._rungs] == [2, 2]


def test_a_trial_that_was_about_to_be_stopped_is_stopped_when_it_goes_on(run):
    first = Driver(run)
    records = (first.run_until_stopped(0, 0.5),)
    trial = first.start(1)
    for epoch in (1, 2, 3):
        decision = first.report(trial, epoch, 0.1)
    assert decision == "STOP"  # and the driver dies before it does it
    assert Driver(run, records).run_until_stopped(1, 0.1, first=3).epochs == 3


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), (3, 9)),
        (("sweep.grace_epochs=1",), (1, 9)),
        (("search.epochs={choice: [2, 5]}", "retrain.epochs={int: [1, 8]}", "sweep.sampler=tpe"), (6, 13)),
        (("search.strategy={choice: [random, darts]}",), (3, 9)),
        (("search.strategy={choice: [darts, evolution]}", "search.evolution_generations=4"), (7, 13)),
        (("retrain.epochs={choice: [20], when: {model.decay: 0.1}}",), (3, 602)),
    ],
)
def test_rungs_lie_between_the_longest_search_and_the_longest_trial(overrides, expected):
    assert rungs_between(load_sweep(None, (*SETTINGS, *overrides), 5)) == expected


def test_a_grace_that_leaves_nothing_to_stop():
    with pytest.raises(UserError, match=r"sweep\.grace_epochs: 9 leaves asha nothing to stop: .* 9 epochs"):
        rungs_between(load_sweep(None, (*SETTINGS, "sweep.grace_epochs=9")))

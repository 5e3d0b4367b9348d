"""Early stopping: rungs by epoch, remembered over the end of a driver. Real scheduler, no Ray cluster."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from raynas_snn.cluster.driver.asha import rungs_between
from raynas_snn.cluster.driver.schedulers import make_scheduler
from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.errors import UserError
from raynas_snn.core.files import write_json
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir

# 2 epochs of search and 7 of retraining: rungs at 3 and 6; the last epoch is never compared.
SETTINGS = (
    "trial=fake",
    "model.attention=none",
    "model.decay={choice: [0.1, 0.2, 0.3, 0.4]}",
    "search.epochs=2",
    "retrain.epochs=7",
    "sweep.num_seeds=1",
    "sweep.scheduler={name: asha, reduction_factor: 2}",
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


def test_a_new_driver_knows_the_rungs_of_the_old(run):
    first = Driver(run)
    records = tuple(first.run_until_stopped(number, accuracy) for number, accuracy in enumerate([0.5, 0.4, 0.9]))
    late = {"epoch": 6, "phase": "retrain", "accuracy": 0.99}  # of a trial that was stopped at epoch 3
    RunDir(run.path).trial("p0001-s0").append_curve(late)
    assert Driver(run, records).run_until_stopped(3, 0.45).epochs == 3  # below the median of 0.5, 0.4 and 0.9
    assert Driver(run, records).run_until_stopped(4, 0.65).epochs == 6  # below that of 0.5 and 0.9
    assert Driver(run, records).run_until_stopped(5, 0.75).epochs == 9


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
    second.scheduler.on_trial_complete(None, again, {"epoch": 9, "accuracy": 0.7})
    assert second.run_until_stopped(2, 0.65).epochs == 9  # above the median of 0.5 and 0.7, not of 0.5, 0.7 and 0.7


@pytest.mark.parametrize("reached", [3, 4])  # it may go on for a moment
def test_a_trial_that_was_about_to_be_stopped_is_stopped_when_it_goes_on(run, reached):
    first = Driver(run)
    records = (first.run_until_stopped(0, 0.5),)
    trial = first.start(1)
    decisions = [first.report(trial, epoch, 0.1) for epoch in range(1, reached + 1)]
    assert decisions[2] == "STOP"  # and the driver dies before it does it
    assert Driver(run, records).run_until_stopped(1, 0.1, first=reached).epochs == reached


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), (3, 9)),
        (("sweep.scheduler.grace_epochs=1",), (1, 9)),
        (("search.strategy={choice: [darts, evolution], generations: {choice: [4, 5]}}",), (8, 14)),
        (("search.epochs={choice: [2, 5]}", "retrain.epochs={int: [1, 8]}", "sweep.sampler=tpe"), (6, 13)),
        (("search.strategy={choice: [random, darts]}",), (3, 9)),
        (("search.strategy={choice: [darts, evolution], generations: 4}",), (7, 13)),
        (("retrain.epochs={choice: [20], when: {model.decay: 0.1}}",), (3, 602)),
    ],
)
def test_rungs_lie_between_the_longest_search_and_the_longest_trial(overrides, expected):
    sweep = load_sweep(None, (*SETTINGS, *overrides), 5)
    assert rungs_between(sweep, sweep.value_at("sweep.scheduler.grace_epochs")) == expected


def test_a_grace_that_leaves_nothing_to_stop():
    with pytest.raises(UserError, match=r"sweep\.scheduler\.grace_epochs: 9 leaves asha nothing to stop: .* 9 epochs"):
        rungs_between(SWEEP, 9)

"""What the driver does when Tune speaks of a trial. Tune's own trials, no Ray cluster."""

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from ray.tune.experiment import Trial
from rich.console import Console

from raynas_snn.cluster.driver import process_deaths
from raynas_snn.cluster.driver.callbacks import Bookkeeper
from raynas_snn.cluster.driver.display import LineDisplay
from raynas_snn.cluster.driver.interruption import Interruption
from raynas_snn.cluster.driver.poll import Poll
from raynas_snn.cluster.driver.progress import SweepProgress
from raynas_snn.cluster.driver.searcher import config_of
from raynas_snn.cluster.runtime.capacity import Capacity
from raynas_snn.cluster.trial.trainable import STORAGE_FAULT
from raynas_snn.config import load_sweep
from raynas_snn.core import files
from raynas_snn.core.errors import StorageFault
from raynas_snn.core.files import write_json
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.ledger import Ledger


@pytest.fixture(autouse=True)
def quiet_optuna():
    verbosity = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(verbosity)


def given_out(folder: Path) -> tuple[Ledger, Bookkeeper, Trial]:
    """A trial that Tune has not started yet."""
    sweep = load_sweep(None, ("trial=fake",))
    ledger = Ledger(sweep, RunDir.create(folder / "run", sweep.resolved(), {}))
    progress = SweepProgress(ledger.num_trials)
    display = LineDisplay(progress, Console(file=io.StringIO()))
    poll = Poll(Interruption(), Capacity(sweep.config.resources), list, progress, display, confirm=list)
    bookkeeper = Bookkeeper(ledger, progress, display, poll, copy=None)
    trial = Trial("fake", config={"trial": ledger.next_trial().model_dump_json(), "scratch": "none"}, stub=True)
    return ledger, bookkeeper, trial


def started(folder: Path) -> tuple[Ledger, Bookkeeper, Trial]:
    """A trial that Tune has just started."""
    ledger, bookkeeper, trial = given_out(folder)
    bookkeeper.on_trial_start(0, [trial], trial)
    return ledger, bookkeeper, trial


def test_tune_keeps_little_of_a_trial_that_has_ended(tmp_path: Path) -> None:
    ledger, bookkeeper, trial = started(tmp_path)
    config = config_of(trial)
    for epoch in range(1, 12):
        row = {"epoch": epoch, "phase": "search", "accuracy": epoch / 20, "spikes": 1000.0 + epoch}
        bookkeeper.on_trial_result(0, [trial], trial, row)
        trial.update_last_result(row)
    assert len(trial.metric_analysis) == len(trial.metric_n_steps) == 3
    write_json(ledger.run.trial(config.uid).result, {"epochs": 11, "metrics": {"accuracy": 0.55, "spikes": 1011.0}})
    bookkeeper.on_trial_complete(0, [trial], trial)

    assert ledger.records[config.uid].metrics == {"accuracy": 0.55, "spikes": 1011.0}
    assert not trial.metric_analysis
    assert not trial.metric_n_steps


def test_nothing_is_booked_once_the_disk_is_full(tmp_path: Path) -> None:
    ledger, bookkeeper, trial = started(tmp_path)
    bookkeeper.on_trial_result(0, [trial], trial, {STORAGE_FAULT: "run/trials/p0000-s0: No space left on device"})
    bookkeeper.on_trial_complete(0, [trial], trial)  # as Tune says before its next step
    bookkeeper.on_trial_error(0, [trial], trial)
    assert not ledger.records
    with pytest.raises(StorageFault, match="run/trials/p0000-s0: No space left on device"):
        bookkeeper.on_step_begin(0, [trial])


def test_a_driver_that_cannot_write_is_not_the_trials_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, bookkeeper, trial = started(tmp_path)
    write_json(ledger.run.trial(config_of(trial).uid).result, {"epochs": 1, "metrics": {"accuracy": 0.5}})

    def full_disk(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "write", full_disk)
    bookkeeper.on_trial_complete(0, [trial], trial)  # Tune would call the trial failed if this raised
    monkeypatch.undo()
    with pytest.raises(StorageFault, match=r"trials.jsonl: No space left on device"):
        bookkeeper.on_step_begin(0, [trial])
    assert not ledger.run.records()


DIED = """ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
\tclass_name: ImplicitFunc
\tactor_id: {actor}
\tpid: 1
The actor is dead because its worker process has died.
"""


def note_failure(trial: Trial, folder: Path, text: str) -> None:
    """As Tune does."""
    file = folder / "error.txt"
    with file.open("a") as errors:
        errors.write(f"Failure # {trial.run_metadata.num_failures} (occurred at 2026-01-01_00-00-00)\n{text}\n")
    trial.run_metadata.num_failures += 1
    trial.run_metadata.error_filename = file.name
    trial.init_local_path = lambda: None
    type(trial).error_file = property(lambda _: str(file))


@pytest.fixture
def dead_machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The actors whose machine is gone."""
    gone: set[str] = set()
    monkeypatch.setattr(process_deaths, "was_on_lost_node", lambda actor: actor in gone)
    error_file = Trial.error_file
    yield gone
    Trial.error_file = error_file


def test_progress_and_lost_machines_are_forgiven_but_not_for_ever(tmp_path: Path, dead_machines: set[str]) -> None:
    _, bookkeeper, trial = started(tmp_path)
    row = {"epoch": 1, "phase": "search", "accuracy": 0.5, "spikes": 1.0}
    failures = trial.run_metadata

    note_failure(trial, tmp_path, DIED.format(actor="aa"))
    bookkeeper.on_trial_recover(0, [trial], trial)
    assert failures.num_failures == 1  # it has not got anywhere
    bookkeeper.on_trial_start(0, [trial], trial)
    bookkeeper.on_trial_result(0, [trial], trial, row)
    assert failures.num_failures == 0

    for expected in (0, 1):  # dies behind that epoch, and again before it has begun
        note_failure(trial, tmp_path, DIED.format(actor="bb"))
        bookkeeper.on_trial_recover(0, [trial], trial)
        assert failures.num_failures == expected

    dead_machines.add("cc")
    note_failure(trial, tmp_path, DIED.format(actor="cc"))
    bookkeeper.on_trial_recover(0, [trial], trial)
    assert failures.num_failures == 0
    note_failure(trial, tmp_path, "ValueError: not the machine's doing")
    bookkeeper.on_trial_recover(0, [trial], trial)
    assert failures.num_failures == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (DIED.format(actor="aa"), "the trial's process was killed (SIGKILL) or ended itself without a word"),
        (DIED.format(actor="bb"), "the machine of the trial's process is gone (details: "),
        ("Traceback ...\nModuleNotFoundError: No module named 'mine'", "the trial's process could not run: ModuleNotF"),
    ],
)
def test_a_process_that_never_began_is_booked(tmp_path: Path, dead_machines: set[str], said: str, reason: str) -> None:
    ledger, bookkeeper, trial = given_out(tmp_path)
    dead_machines.add("bb")
    note_failure(trial, tmp_path, said)
    bookkeeper.on_trial_error(0, [trial], trial)
    (record,) = ledger.run.records()
    assert record.end_reason == "failed"
    assert record.error.startswith(reason)

"""Tune callback that records ended trials in the ledger and updates the display."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from ray.tune import Callback

from raynas_snn.cluster.compat.tune_trials import drop_statistics, forgive_failures, last_failure
from raynas_snn.cluster.driver.display import Display
from raynas_snn.cluster.driver.poll import Poll
from raynas_snn.cluster.driver.process_deaths import died_with_its_machine, reason_of_death
from raynas_snn.cluster.driver.progress import SweepProgress, TrialProgress
from raynas_snn.cluster.driver.searcher import config_of
from raynas_snn.cluster.runtime.heartbeat import Watch, forget
from raynas_snn.cluster.trial.crash_stacks import take_crash_stacks
from raynas_snn.cluster.trial.trainable import STORAGE_FAULT, heartbeat_key, recipe_of
from raynas_snn.config.schema import Objective
from raynas_snn.core.errors import StorageFault, storage_fault
from raynas_snn.core.files import write_text
from raynas_snn.remote.run_copy import RunCopy
from raynas_snn.study.ledger import Ledger


class Bookkeeper(Callback):
    """Turns Tune's events into records. Results are read from the trial's folder, not from Tune.

    Args:
        ledger: Records ended trials.
        progress: The state that the display shows.
        display: The display.
        poll: Called at each step.
        copy: The run in a storage, from which a trial's files are downloaded before it is recorded; None without one.

    Attributes:
        fault: A failed write to the disk. Tune would treat the exception as the failure of a trial, so it is stored
            here instead: no more trials are recorded, and the sweep ends at the next step.
    """

    def __init__(
        self, ledger: Ledger, progress: SweepProgress, display: Display, poll: Poll, copy: RunCopy | None
    ) -> None:
        self._ledger = ledger
        self._progress = progress
        self._display = display
        self._poll = poll
        self._copy = copy
        self._heartbeat_seconds = ledger.sweep.config.resources.heartbeat_seconds
        self._watch = Watch(self._heartbeat_seconds)
        self._uids: dict[str, str] = {}  # of the running trials, by the key of their heartbeat
        self.fault: StorageFault | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Returns an empty state: Tune pickles its callbacks, but the pickle is never read."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Checks whether the sweep is to end, and kills hung processes of trials."""
        if self.fault is not None:
            raise self.fault
        self._poll()
        for key in self._watch.hung(list(self._uids)):
            self._display.warned(
                self._progress.running[self._uids[key]],
                f"its process has sent no heartbeat for {self._heartbeat_seconds:g} s and was killed; "
                "the trial goes on from its checkpoint",
            )

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Shows the trial."""
        config = config_of(trial)
        before = self._progress.running.get(config.uid)
        running = TrialProgress(config, recipe_of(config.trial).total_epochs(config))
        running.epoch_before = max(before.epoch, before.epoch_before) if before is not None else 0
        self._progress.running[config.uid] = running
        self._uids[heartbeat_key(trial.config["scratch"], config.uid)] = config.uid
        self._display.started(running)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Any],
        trial: Any,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Shows an epoch."""
        if STORAGE_FAULT in result:
            self.fault = self.fault or StorageFault(result[STORAGE_FAULT])
        running = self._progress.running.get(config_of(trial).uid)
        self._poll.interruption.reported(config_of(trial).uid)
        if running is not None and "epoch" in result and "phase" in result:
            warning = running.update(result)
            if running.got_further:
                forgive_failures(trial)
            if warning is not None:
                self._display.warned(running, warning)
            self._display.epoch(running)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when Tune restarts a trial whose process has died.

        This does not count against the trial if its machine was lost or if it has finished an epoch since then.
        """
        uid = config_of(trial).uid
        running = self._progress.running.get(uid)
        if running is not None and running.got_further:
            running.epoch_before = running.epoch  # the same epoch does not excuse another death
            forgive_failures(trial)
        elif died_with_its_machine(last_failure(trial)):
            forgive_failures(trial)
        self._forget_heartbeat(uid)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Records a trial that ended by itself, or that a scheduler stopped before it wrote a result."""
        drop_statistics(trial)
        if self.fault is not None:
            return
        config = config_of(trial)
        with self._noting_faults(self._ledger.run.path):
            if self._copy is not None:
                self._copy.bring_result(config.uid)
            result = self._ledger.run.trial(config.uid).read_result()
            if result is not None:
                record = self._ledger.finish(config, result)
            else:
                row = self._progress.running[config.uid].row
                metrics = {key: float(row[key]) for key in get_args(Objective) if key in row}
                record = self._ledger.book(config, "early_stopped", int(row.get("epoch", 0)), metrics)
            self._end(record)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Records a trial whose own process died more than once or could not be started."""
        if self.fault is not None:
            return
        config = config_of(trial)
        folder = self._ledger.run.trial(config.uid)
        with self._noting_faults(folder.path):
            if self._copy is not None:
                self._copy.bring_result(config.uid)
            stacks, said = take_crash_stacks(folder.create()), last_failure(trial)  # it may never have been started
            write_text(folder.error, f"{stacks}\n{said}\n")
            if self._copy is not None:
                self._copy.send_failure(config.uid)
            running = self._progress.running.get(config.uid)
            reason = f"{reason_of_death(stacks, said)} (details: {folder.error})"
            self._end(self._ledger.book(config, "failed", running.epoch if running else 0, {}, reason))

    def _end(self, record: Any) -> None:
        self._poll.interruption.reported(record.uid)
        self._forget_heartbeat(record.uid)
        self._progress.end(record)
        self._display.ended(record)

    def _forget_heartbeat(self, uid: str) -> None:
        """No more are expected; a process that was killed could not remove its entry itself."""
        for key in [key for key, of in self._uids.items() if of == uid]:
            del self._uids[key]
            forget(key)

    @contextmanager
    def _noting_faults(self, where: Path) -> Iterator[None]:
        """Keeps what the disk says in the body from Tune, which would call it the trial's."""
        try:
            yield
        except (OSError, StorageFault) as error:
            fault = storage_fault(error, where)
            if fault is None:
                raise
            self.fault = fault

"""Follows the trials that Tune runs: books how they end, tells the display."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from ray.tune import Callback

from raynas_snn.cluster.display import Display
from raynas_snn.cluster.heartbeat import Watch, forget
from raynas_snn.cluster.last_words import hear_last_words
from raynas_snn.cluster.ledger import Ledger
from raynas_snn.cluster.machine_faults import died_with_its_machine, forgive, last_failure, reason_of_death
from raynas_snn.cluster.progress import SweepProgress, TrialProgress
from raynas_snn.cluster.pulse import Pulse
from raynas_snn.cluster.searcher import config_of
from raynas_snn.cluster.trainable import STORAGE_FAULT, heartbeat_key, recipe_of
from raynas_snn.config.schema import Objective
from raynas_snn.errors import StorageFault, storage_fault
from raynas_snn.results.files import write_json, write_text


class Bookkeeper(Callback):
    """Turns Tune's events into records. What a trial achieved is read from its folder, not from Tune.

    Attributes:
        fault: What the disk said when it took no more. Tune would take it for the failure of a trial; from then on
            nothing is booked, and the sweep ends at the next step.
    """

    def __init__(self, ledger: Ledger, progress: SweepProgress, display: Display, pulse: Pulse) -> None:
        self._ledger = ledger
        self._progress = progress
        self._display = display
        self._pulse = pulse
        self._heartbeat_seconds = ledger.sweep.config.resources.heartbeat_seconds
        self._watch = Watch(self._heartbeat_seconds)
        self._uids: dict[str, str] = {}  # of the running trials, by the key of their heartbeat
        self.fault: StorageFault | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; nobody reads that back, so there is nothing in it."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Looks whether the sweep is to end, and after the trials' processes."""
        if self.fault is not None:
            raise self.fault
        self._pulse.beat()
        for key in self._watch.hung(list(self._uids)):
            self._display.warned(
                self._progress.running[self._uids[key]],
                f"its process has given no sign of life for {self._heartbeat_seconds:g} s and was killed; "
                "the trial goes on from its checkpoint",
            )

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Shows the trial, and saves its configuration in its folder."""
        config = config_of(trial)
        folder = self._ledger.run.trial(config.uid)
        with self._noting_faults(folder.path):
            write_json(folder.create().config, config.model_dump())
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
        self._pulse.interruption.reported(config_of(trial).uid)
        if running is not None and "epoch" in result and "phase" in result:
            warning = running.update(result)
            if running.got_further:
                forgive(trial)
            if warning is not None:
                self._display.warned(running, warning)
            self._display.epoch(running)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune starts a trial again whose process has died.

        As long as machines come and go, or there is an epoch more each time, it is not the trial that is at fault.
        """
        uid = config_of(trial).uid
        running = self._progress.running.get(uid)
        if running is not None and running.got_further:
            running.epoch_before = running.epoch  # the next death is not forgiven for the same epoch
            forgive(trial)
        elif died_with_its_machine(last_failure(trial)):
            forgive(trial)
        self._forget_signs_of_life(uid)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Books a trial that ended by itself, or that a scheduler stopped before it wrote a result."""
        _forget_statistics(trial)
        if self.fault is not None:
            return
        config = config_of(trial)
        with self._noting_faults(self._ledger.run.path):
            result = self._ledger.run.trial(config.uid).read_result()
            if result is not None:
                record = self._ledger.finish(config, result)
            else:
                row = self._progress.running[config.uid].row
                metrics = {key: float(row[key]) for key in get_args(Objective) if key in row}
                record = self._ledger.book(config, "early_stopped", int(row.get("epoch", 0)), metrics)
            self._end(record)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Books a trial whose own process died more than once, or never began."""
        if self.fault is not None:
            return
        config = config_of(trial)
        folder = self._ledger.run.trial(config.uid)
        with self._noting_faults(folder.path):
            words, said = hear_last_words(folder.create()), last_failure(trial)  # it may never have been started
            write_text(folder.error, f"{words}\n{said}\n")
            running = self._progress.running.get(config.uid)
            reason = f"{reason_of_death(words, said)} (details: {folder.error})"
            self._end(self._ledger.book(config, "failed", running.epoch if running else 0, {}, reason))

    def _end(self, record: Any) -> None:
        self._pulse.interruption.reported(record.uid)
        self._forget_signs_of_life(record.uid)
        self._progress.end(record)
        self._display.ended(record)

    def _forget_signs_of_life(self, uid: str) -> None:
        """No more are expected; a process that was stopped could not take them back itself."""
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


def _forget_statistics(trial: Any) -> None:
    """Drops most of what Tune would keep of an ended trial until the sweep ends: statistics that nobody asks for."""
    trial.metric_analysis.clear()
    trial.metric_n_steps.clear()

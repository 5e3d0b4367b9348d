"""Follows the trials that Tune runs: books how they end, tells the display."""

from pathlib import Path
from typing import Any, get_args

from ray.tune import Callback

from raynas_snn.cluster.display import Display
from raynas_snn.cluster.interruption import Interruption
from raynas_snn.cluster.ledger import Ledger
from raynas_snn.cluster.progress import SweepProgress, TrialProgress
from raynas_snn.cluster.searcher import config_of
from raynas_snn.cluster.trainable import recipe_of
from raynas_snn.config.schema import Objective
from raynas_snn.results.files import write_json, write_text


class Bookkeeper(Callback):
    """Turns Tune's events into records. What a trial achieved is read from its folder, not from Tune."""

    def __init__(self, ledger: Ledger, progress: SweepProgress, display: Display, interruption: Interruption) -> None:
        self._ledger = ledger
        self._progress = progress
        self._display = display
        self._interruption = interruption

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; nobody reads that back, so there is nothing in it."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Ends the sweep if that was asked for in a moment that swallowed it."""
        self._interruption.check()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Shows the trial, and saves its configuration in its folder."""
        config = config_of(trial)
        write_json(self._ledger.run.trial(config.uid).create().config, config.model_dump())
        running = TrialProgress(config, recipe_of(config.trial).total_epochs(config))
        self._progress.running[config.uid] = running
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
        running = self._progress.running.get(config_of(trial).uid)
        if running is not None and "epoch" in result and "phase" in result:
            warning = running.update(result)
            if warning is not None:
                self._display.warned(running, warning)
            self._display.epoch(running)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Books a trial that ended by itself, or that a scheduler stopped before it wrote a result."""
        _forget_statistics(trial)
        config = config_of(trial)
        result = self._ledger.run.trial(config.uid).read_result()
        if result is not None:
            record = self._ledger.finish(config, result)
        else:
            row = self._progress.running[config.uid].row
            metrics = {key: float(row[key]) for key in get_args(Objective) if key in row}
            record = self._ledger.book(config, "early_stopped", int(row.get("epoch", 0)), metrics)
        self._end(record)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Books a trial whose own process died, more than once and without a word."""
        config = config_of(trial)
        folder = self._ledger.run.trial(config.uid)
        write_text(folder.error, Path(trial.error_file).read_text() if trial.error_file else "no message\n")
        row = self._progress.running[config.uid].row
        reason = f"the trial's process died (details: {folder.error})"
        self._end(self._ledger.book(config, "failed", int(row.get("epoch", 0)), {}, reason))

    def _end(self, record: Any) -> None:
        self._progress.end(record)
        self._display.ended(record)


def _forget_statistics(trial: Any) -> None:
    """Drops most of what Tune would keep of an ended trial until the sweep ends: statistics that nobody asks for."""
    trial.metric_analysis.clear()
    trial.metric_n_steps.clear()

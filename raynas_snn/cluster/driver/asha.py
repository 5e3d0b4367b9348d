"""Asynchronous successive halving (ASHA, Li et al., 2020): Ray's scheduler, counting our epochs, resumable.

At each rung, an epoch of ``grace_epochs * reduction_factor ** k``, a trial is stopped unless it is among the best
``1 / reduction_factor`` of the trials that have reached this rung. Ray counts the reports of a trial's process; we
count the trial's epochs, which continue over restarts. A new driver fills the rungs from the learning curves in the run
directory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from raynas_snn.cluster.driver.schedulers import SchedulerRequest
from raynas_snn.cluster.driver.searcher import config_of
from raynas_snn.cluster.trial.trainable import recipe_of
from raynas_snn.config import Sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.errors import UserError
from raynas_snn.core.options import with_options
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.scheduler_options import AshaOptions
from raynas_snn.training.strategy import search_epochs


@dataclass(frozen=True)
class _EndedTrial:
    """What a scheduler wants to know of a trial of an earlier start."""

    trial_id: str


class Halving(AsyncHyperBandScheduler):
    """Ray's scheduler, which resumes from the state of an earlier driver.

    Args:
        run: The run directory with the learning curves.
        metric: The metric that is compared; higher is better.
        grace_epochs: The epoch of the first rung.
        max_epochs: The maximum number of epochs of a trial.
        reduction_factor: One in this many trials continues past a rung.
    """

    def __init__(self, run: RunDir, metric: str, grace_epochs: int, max_epochs: int, reduction_factor: int) -> None:
        super().__init__(
            time_attr="epoch",
            metric=metric,
            mode="max",
            grace_period=grace_epochs,
            max_t=max_epochs,
            reduction_factor=reduction_factor,
            stop_last_trials=False,
        )
        self._run = run
        self._to_stop: set[str] = set()  # trials that an earlier driver died before stopping

    def remember(self, records: Iterable[TrialRecord]) -> None:
        """Adds trials that ended under earlier drivers to their rungs."""
        nobody: Any = None  # the scheduler asks its controller nothing
        for record in records:
            settings = self._run.trial(record.uid).read_trial()
            if settings is None:
                continue
            trial: Any = _EndedTrial(record.uid)
            super().on_trial_add(nobody, trial)
            # A trial may have continued for a moment after it was stopped.
            for row in self._rows(settings, record.epochs):
                super().on_trial_result(nobody, trial, row)
            super().on_trial_remove(nobody, trial)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Adds a trial; a resumed one is restored to its rungs, except for its last epoch, which it reports again."""
        super().on_trial_add(tune_controller, trial)
        config = config_of(trial)
        for row in self._rows(config, self._run.trial(config.uid).last_epoch() - 1):
            if super().on_trial_result(tune_controller, trial, row) == TrialScheduler.STOP:
                self._to_stop.add(config.uid)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decides whether a trial continues; it always does at its last epoch, when only its result is missing."""
        if result.get("epoch", 0) >= _total_epochs(config_of(trial)):
            return str(TrialScheduler.CONTINUE)
        if config_of(trial).uid in self._to_stop:
            return str(TrialScheduler.STOP)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Removes a trial; its results stay in the rungs."""
        self.on_trial_remove(tune_controller, trial)

    def _rows(self, config: TrialConfig, last_epoch: int) -> Iterator[dict[str, Any]]:
        last_compared = min(last_epoch, _total_epochs(config) - 1)
        for row in self._run.trial(config.uid).read_curve():
            known: dict[str, Any] = {key: value for key, value in row.items() if value is not None}
            if known["epoch"] <= last_compared:
                yield known


@with_options(AshaOptions)
def asha(request: SchedulerRequest) -> TrialScheduler:
    """Stops trials that do worse than others at the same epoch, those of earlier starts among them."""
    assert isinstance(request.options, AshaOptions)
    grace, most = rungs_between(request.sweep, request.options.grace_epochs)
    scheduler = Halving(request.run, request.options.metric, grace, most, request.options.reduction_factor)
    scheduler.remember(request.records.values())
    return scheduler


def rungs_between(sweep: Sweep, grace: int | None) -> tuple[int, int]:
    """The first epoch at which a trial may be stopped, and the most epochs that a trial has.

    Raises:
        UserError: If no trial is long enough to be stopped.
    """
    most = max(sweep.greatest(_total_epochs), 1)
    if grace is None:
        return min(sweep.greatest(search_epochs) + 1, most), most
    if grace >= most:
        raise UserError(
            f"{sweep.source}: sweep.scheduler.grace_epochs: {grace} leaves asha nothing to stop: "
            f"the longest trial has {most} epochs; it must be below"
        )
    return grace, most


def _total_epochs(config: TrialConfig) -> int:
    return recipe_of(config.trial).total_epochs(config)

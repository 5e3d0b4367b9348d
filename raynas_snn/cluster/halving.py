"""Asynchronous successive halving (ASHA, Li et al., 2020): Ray's, on our own epochs, with a memory in our files.

At each rung, an epoch of ``grace_epochs * reduction_factor ** k``, a trial is stopped unless it is among the best
``1 / reduction_factor`` that have come there so far. Ray counts reports since a trial's process began; we count the
trial's epochs. A new driver knows no rungs: they are filled from the learning curves in the run directory.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from raynas_snn.cluster.searcher import config_of
from raynas_snn.cluster.trainable import recipe_of
from raynas_snn.config import Sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.errors import UserError
from raynas_snn.results.records import TrialRecord
from raynas_snn.results.run_dir import RunDir
from raynas_snn.training.strategies import search_epochs

_PASSES = 2  # over the outer parameters: one may matter only where another has a certain value


@dataclass(frozen=True)
class _EndedTrial:
    """What a scheduler wants to know of a trial of an earlier start."""

    trial_id: str


class Halving(AsyncHyperBandScheduler):
    """Ray's scheduler, which goes on where that of an earlier driver stopped.

    Args:
        run: Where the learning curves are.
        metric: What is compared; more is better.
        grace_epochs: The first rung.
        max_epochs: The most epochs that a trial has.
        reduction_factor: One trial of so many goes on.
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
        self._to_stop: set[str] = set()  # trials that an earlier driver did not live to stop

    @property
    def metric(self) -> None:
        """Tune would end the sweep at a report without it, and not every phase has it."""

    def remember(self, records: Iterable[TrialRecord]) -> None:
        """Puts trials that ended in earlier starts on their rungs."""
        nobody: Any = None  # the scheduler asks its controller nothing
        for record in records:
            config = self._run.trial(record.uid).read_config()
            if config is None:
                continue
            trial: Any = _EndedTrial(record.uid)
            super().on_trial_add(nobody, trial)
            # A trial may have gone on for a moment after it was stopped.
            for row in self._rows(TrialConfig.model_validate(config), record.epochs):
                super().on_trial_result(nobody, trial, row)
            super().on_trial_remove(nobody, trial)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Takes in a trial; one that goes on gets its rungs back, but for its last epoch, which it reports again."""
        super().on_trial_add(tune_controller, trial)
        config = config_of(trial)
        for row in self._rows(config, self._run.trial(config.uid).last_epoch() - 1):
            if super().on_trial_result(tune_controller, trial, row) == TrialScheduler.STOP:
                self._to_stop.add(config.uid)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decides whether a trial goes on; always at its last epoch, when only its result is missing."""
        if result.get("epoch", 0) >= _total_epochs(config_of(trial)):
            return str(TrialScheduler.CONTINUE)
        if config_of(trial).uid in self._to_stop:
            return str(TrialScheduler.STOP)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Forgets a trial, but not its rungs: all that it reported is there already."""
        self.on_trial_remove(tune_controller, trial)

    def _rows(self, config: TrialConfig, last_epoch: int) -> Iterator[dict[str, Any]]:
        last_compared = min(last_epoch, _total_epochs(config) - 1)
        for row in self._run.trial(config.uid).read_curve():
            known: dict[str, Any] = {key: value for key, value in row.items() if value is not None}
            if known["epoch"] <= last_compared:
                yield known


def make_scheduler(sweep: Sweep, run: RunDir, records: Mapping[str, TrialRecord]) -> TrialScheduler | None:
    """Returns the scheduler that a sweep asks for, None if nobody is to stop trials.

    Args:
        sweep: The sweep.
        run: Its run directory.
        records: The trials that have ended, by uid.
    """
    settings = sweep.config.sweep
    if settings.scheduler == "none":
        return None
    grace, most = rungs_between(sweep)
    scheduler = Halving(run, settings.scheduler_metric, grace, most, settings.reduction_factor)
    scheduler.remember(records.values())
    return scheduler


def rungs_between(sweep: Sweep) -> tuple[int, int]:
    """The first epoch at which a trial may be stopped, and the most epochs that a trial has.

    Raises:
        UserError: If no trial is so long that it could be stopped.
    """
    most = max(_most(sweep, _total_epochs), 1)
    grace = sweep.config.sweep.grace_epochs
    if grace is None:
        return min(_most(sweep, search_epochs) + 1, most), most
    if grace >= most:
        raise UserError(
            f"{sweep.source}: sweep.grace_epochs: {grace} leaves asha nothing to stop: "
            f"the longest trial has {most} epochs; it must be below"
        )
    return grace, most


def _most(sweep: Sweep, epochs: Any) -> int:
    """The most epochs that a trial of the sweep can have, found by one outer parameter after the other."""
    trial = sweep.example_trial()
    for _ in range(_PASSES):
        for parameter in sweep.outer:
            section = getattr(trial, parameter.section)
            variants = [
                trial.model_copy(update={parameter.section: section.model_copy(update={parameter.field: value})})
                for value in sweep.values_of(parameter.path)
            ]
            trial = max(variants, key=epochs)
    return int(epochs(trial))


def _total_epochs(config: TrialConfig) -> int:
    return recipe_of(config.trial).total_epochs(config)

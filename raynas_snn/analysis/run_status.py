"""The progress of a run, read from its files alone, on any machine that can read them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from raynas_snn.analysis.finished_proposals import keeps_limits
from raynas_snn.core.files import plain
from raynas_snn.core.scalars import Scalar
from raynas_snn.core.screen import one_line
from raynas_snn.run.holder import Holder
from raynas_snn.run.records import TrialRecord, num_beyond
from raynas_snn.run.run_dir import RunDir
from raynas_snn.run.trial_dir import TrialDir


@dataclass(frozen=True)
class OpenTrial:
    """A trial that has started and not ended; a number is None until the trial has reported it.

    Attributes:
        uid: Name of the trial.
        state: ``"running"``, or ``"interrupted"`` if no driver is running.
        outer: Its values of the outer parameters.
        phase: Its last reported phase, ``"search"`` or ``"retrain"``.
        epoch: Last finished epoch, counted over all phases.
        accuracy: Accuracy after that epoch, a fraction.
        spikes: Spikes per image after that epoch.
    """

    uid: str
    state: Literal["running", "interrupted"]
    outer: Mapping[str, Scalar]
    phase: str | None = None
    epoch: int | None = None
    accuracy: float | None = None
    spikes: float | None = None


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        run_dir: The run directory.
        name: Name of the sweep.
        driver: The process that runs the sweep now, or None.
        command: The command that continues the sweep, if it is recorded.
        num_planned: Trials that the sweep file asks for.
        open_trials: Trials that have begun and not ended.
        records: Trials that have ended.
        num_beyond: Ended and open trials that the sweep file no longer asks for.
        best: The finished trial that is best by the first objective and keeps the sweep's limits, or None.
        objective: That objective.
    """

    run_dir: str
    name: str
    driver: Holder | None
    command: str | None
    num_planned: int
    open_trials: Sequence[OpenTrial]
    records: Sequence[TrialRecord]
    num_beyond: tuple[int, int]
    best: TrialRecord | None
    objective: str

    @property
    def counts(self) -> dict[str, int]:
        """The number of trials in each state; ``waiting`` trials have not started."""
        ended = Counter(record.end_reason for record in self.records)
        begun = Counter(trial.state for trial in self.open_trials)
        waiting = self.num_planned - len(self.records) - len(self.open_trials) + sum(self.num_beyond)
        return {
            "finished": ended["finished"],
            "failed": ended["failed"],
            "early_stopped": ended["early_stopped"],
            "infeasible": ended["infeasible"],
            "running": begun["running"],
            "interrupted": begun["interrupted"],
            "waiting": max(0, waiting),
        }

    @property
    def failures(self) -> dict[str, str]:
        """The reason of each failed trial in one line, by uid."""
        return {
            record.uid: one_line(record.error or "") or "no reason was written down"
            for record in self.records
            if record.end_reason == "failed"
        }

    @property
    def infeasible(self) -> dict[str, str]:
        """The exceeded limit of each infeasible trial in one line, by uid."""
        return {
            record.uid: one_line(record.error or "") or "over a limit of the sweep"
            for record in self.records
            if record.end_reason == "infeasible"
        }

    @property
    def early_stopped(self) -> dict[str, int]:
        """The number of epochs after which a scheduler stopped each early-stopped trial, by uid."""
        return {record.uid: record.epochs for record in self.records if record.end_reason == "early_stopped"}

    @property
    def is_complete(self) -> bool:
        """Whether all planned trials have ended."""
        return len(self.records) - self.num_beyond[0] >= self.num_planned

    def as_dict(self) -> dict[str, Any]:
        """All fields as plain values, for ``--json``; unknown ones are None."""
        data = {
            "run_dir": self.run_dir,
            "name": self.name,
            "complete": self.is_complete,
            "driver": None if self.driver is None else self.driver.as_dict(),
            "command": self.command,
            "num_planned": self.num_planned,
            "num_beyond": sum(self.num_beyond),
            "counts": self.counts,
            "open_trials": [asdict(trial) for trial in self.open_trials],
            "failures": self.failures,
            "infeasible": self.infeasible,
            "early_stopped": self.early_stopped,
            "objective": self.objective,
            "best": None if self.best is None else asdict(self.best),
        }
        return {key: plain(value) for key, value in data.items()}


def read_progress(run: RunDir) -> Progress:
    """Reads the progress of a run.

    Raises:
        UserError: If a file of the run is invalid.
    """
    sweep = run.sweep()
    settings = sweep.config.sweep
    # In this order: a trial that ends in between is seen twice and counted as ended, not missed.
    driver = run.holder()
    folders = [folder for folder in run.trials() if folder.has_begun()]
    records = run.records()
    ended = {record.uid for record in records}
    state: Literal["running", "interrupted"] = "running" if driver else "interrupted"
    starts = run.manifest().get("starts") or [{}]
    objective, direction = next(iter(settings.objectives.items()))
    open_trials = [_read_open(folder, state) for folder in folders if folder.uid not in ended]
    asked_for = sweep.num_proposals(), settings.num_seeds
    return Progress(
        run_dir=str(run.path),
        name=sweep.config.name,
        driver=driver,
        command=command if isinstance(command := starts[-1].get("command"), str) else None,
        num_planned=sweep.num_trials(),
        open_trials=open_trials,
        records=records,
        num_beyond=(num_beyond(ended, *asked_for), num_beyond([trial.uid for trial in open_trials], *asked_for)),
        best=_best(records, objective, direction == "maximize", settings.limits),
        objective=objective,
    )


def _read_open(folder: TrialDir, state: Literal["running", "interrupted"]) -> OpenTrial:
    trial, last = folder.read_trial(), (folder.read_curve() or [{}])[-1]
    phase, epoch = last.get("phase"), last.get("epoch")
    accuracy, spikes = last.get("accuracy"), last.get("spikes")
    return OpenTrial(
        uid=folder.uid,
        state=state,
        outer={} if trial is None else trial.outer,
        phase=phase if isinstance(phase, str) else None,
        epoch=epoch if isinstance(epoch, int) else None,
        accuracy=accuracy if isinstance(accuracy, int | float) else None,
        spikes=spikes if isinstance(spikes, int | float) else None,
    )


def _best(
    records: Sequence[TrialRecord], objective: str, more_is_better: bool, limits: Mapping[str, float]
) -> TrialRecord | None:
    values = {
        record.uid: (value, record)
        for record in records
        if record.end_reason == "finished"
        and (value := record.metric(objective)) is not None
        and keeps_limits(record.metric, limits)
    }
    pick = max if more_is_better else min
    return pick(values.values(), key=lambda pair: pair[0])[1] if values else None

"""How far a run has come, read from its files alone, on any machine that sees them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from raynas_snn.results.files import plain
from raynas_snn.results.lock import Holder
from raynas_snn.results.planned import (
    first_objective,
    num_beyond,
    num_proposals,
    num_seeds,
    num_trials,
    setting,
)
from raynas_snn.results.proposals import keeps_limits, limits_of
from raynas_snn.results.records import Scalar, TrialRecord
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.screen import one_line
from raynas_snn.results.trial_dir import TrialDir


@dataclass(frozen=True)
class OpenTrial:
    """A trial that has begun and not ended; a number is None until the trial has reported it.

    Attributes:
        uid: Name of the trial.
        state: ``"running"``, or ``"interrupted"`` if no driver is alive to run it.
        outer: Its values of the outer parameters.
        phase: What it was doing last, ``"search"`` or ``"retrain"``.
        epoch: Last epoch done, over all phases.
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
    """How far a run has come.

    Attributes:
        run_dir: The run directory.
        name: Name of the sweep.
        driver: The process that runs the sweep now, or None.
        command: The command that continues the sweep, if it was noted.
        num_planned: Trials that the sweep file asks for.
        open_trials: Trials that have begun and not ended.
        records: Trials that have ended.
        num_beyond: Ended and open trials that the sweep file does not ask for any more.
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
        """How many trials are in which state; ``waiting`` ones have not begun."""
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
        """One line of reason for each failed trial, by uid."""
        return {
            record.uid: one_line(record.error or "") or "no reason was written down"
            for record in self.records
            if record.end_reason == "failed"
        }

    @property
    def infeasible(self) -> dict[str, str]:
        """One line of reason for each trial whose network was over a limit, by uid."""
        return {
            record.uid: one_line(record.error or "") or "over a limit of the sweep"
            for record in self.records
            if record.end_reason == "infeasible"
        }

    @property
    def early_stopped(self) -> dict[str, int]:
        """The epochs that each trial was given before a scheduler stopped it, by uid."""
        return {record.uid: record.epochs for record in self.records if record.end_reason == "early_stopped"}

    @property
    def is_complete(self) -> bool:
        """Whether all planned trials have ended."""
        return len(self.records) - self.num_beyond[0] >= self.num_planned

    def as_dict(self) -> dict[str, Any]:
        """All of it for programs; what cannot be told is None."""
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
    """Reads how far a run has come.

    Raises:
        UserError: If a file of the run is garbled.
    """
    config = run.config()
    # In this order: a trial that ends in between is seen twice and counted as ended, not missed.
    driver = run.holder()
    folders = [folder for folder in run.trials() if folder.has_begun()]
    records = run.records()
    ended = {record.uid for record in records}
    state: Literal["running", "interrupted"] = "running" if driver else "interrupted"
    starts = run.manifest().get("starts") or [{}]
    objective, more_is_better = first_objective(config)
    open_trials = [_read_open(folder, state) for folder in folders if folder.uid not in ended]
    limits = num_proposals(config), num_seeds(config)
    return Progress(
        run_dir=str(run.path),
        name=str(setting(config, "name")),
        driver=driver,
        command=command if isinstance(command := starts[-1].get("command"), str) else None,
        num_planned=num_trials(config),
        open_trials=open_trials,
        records=records,
        num_beyond=(num_beyond(ended, *limits), num_beyond([trial.uid for trial in open_trials], *limits)),
        best=_best(records, objective, more_is_better, limits_of(config)),
        objective=objective,
    )


def _read_open(folder: TrialDir, state: Literal["running", "interrupted"]) -> OpenTrial:
    last = (folder.read_curve() or [{}])[-1]
    phase, epoch = last.get("phase"), last.get("epoch")
    accuracy, spikes = last.get("accuracy"), last.get("spikes")
    return OpenTrial(
        uid=folder.uid,
        state=state,
        outer=(folder.read_config() or {}).get("outer", {}),
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

"""The state of running trials and the estimated time left. Draws nothing."""

import time
from collections import Counter
from dataclasses import dataclass, field

from raynas_snn.config.schema import TrialConfig
from raynas_snn.interfaces.trial import EpochRow
from raynas_snn.run.records import EndReason, TrialRecord


@dataclass
class TrialProgress:
    """One running trial.

    Attributes:
        trial: Its configuration.
        total_epochs: Number of epochs of all phases.
        row: Its latest report, empty before the first.
        warnings: Its warnings since this driver started.
        epoch_before: The last epoch that it had reported when its process was restarted.
    """

    trial: TrialConfig
    total_epochs: int
    row: EpochRow = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    epoch_before: int = 0
    _first: tuple[float, int] | None = None  # time and number of the first epoch seen by this driver

    def update(self, row: EpochRow) -> str | None:
        """Adds a report; returns its warning if it is a new one."""
        self.row = row
        if self._first is None:
            self._first = (time.monotonic(), int(row["epoch"]))
        warning = str(row.get("warning") or "")
        if not warning or warning in self.warnings:
            return None
        self.warnings.append(warning)
        return warning

    @property
    def epoch(self) -> int:
        """Epochs done, over all phases."""
        return int(self.row.get("epoch", 0))

    @property
    def got_further(self) -> bool:
        """Whether this process has finished an epoch that no earlier process has."""
        return self.epoch > self.epoch_before

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the epochs seen so far; None before the second."""
        if self._first is None or self.epoch <= self._first[1]:
            return None
        since, first_epoch = self._first
        return (time.monotonic() - since) / (self.epoch - first_epoch) * (self.total_epochs - self.epoch)

    @property
    def phase(self) -> str:
        """The phase and epoch, ``search 2/4``, or that the trial is starting."""
        if not self.row:
            return "starting"
        if "phase_epoch" in self.row:
            return f"{self.row['phase']} {self.row['phase_epoch']}/{self.row['phase_epochs']}"
        return f"{self.row['phase']} {self.epoch}/{self.total_epochs}"


@dataclass
class SweepProgress:
    """The whole sweep.

    Attributes:
        num_trials: Trials of the sweep.
        ended: The number of ended trials by end reason, including those under earlier drivers.
        running: Running trials by uid.
        records: Trials that ended since this driver started.
        waiting: What trials are waiting for; None if they are not.
    """

    num_trials: int
    ended: Counter[EndReason] = field(default_factory=Counter)
    running: dict[str, TrialProgress] = field(default_factory=dict)
    records: list[TrialRecord] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    waiting: str | None = None

    def end(self, record: TrialRecord) -> None:
        """Moves a trial from the running to the ended."""
        self.running.pop(record.uid, None)
        self.records.append(record)
        self.ended[record.end_reason] += 1

    @property
    def num_ended(self) -> int:
        """The number of ended trials, including those under earlier drivers."""
        return self.ended.total()

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the trials that ended since this start; None before the first."""
        if not self.records:
            return None
        per_trial = (time.monotonic() - self.started) / len(self.records)
        return per_trial * (self.num_trials - self.num_ended)

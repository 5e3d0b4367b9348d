"""What a kind of trial is: a recipe that the cluster runs in every worker of one trial.

Importable without torch or ray, so that a sweep file can be checked in no time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raynas_snn.config.schema import TrialConfig

Metrics = dict[str, float]
EpochRow = Mapping[str, Any]


class TrialFailure(Exception):  # noqa: N818 - it is the trial that failed, not the program
    """A trial cannot succeed, however often it is tried; the message is one line that says why and what may help."""


class TrialCrash(Exception):  # noqa: N818 - likewise
    """An attempt failed for a reason that is known, and another may not; the message is one line with advice."""


class TrialInfeasible(Exception):  # noqa: N818 - likewise
    """A trial's network costs more than the sweep allows, as is known before it is trained.

    Args:
        message: One line: ``params 12,345 > sweep.max_params 10,000``.
        metrics: What is known of the network, such as ``params``.
    """

    def __init__(self, message: str, metrics: Metrics) -> None:
        super().__init__(message)
        self.metrics = metrics


@dataclass(frozen=True)
class TrialContext:
    """Where a trial keeps its files and whom it tells about each epoch.

    Attributes:
        directory: The trial's own folder; the same on every worker and on every attempt.
        report: Called once per epoch on every worker with numbers already reduced over the workers.
            Holds at least ``epoch`` (1-based, counted over all phases) and ``phase``.
        device: Torch device to train on, ``"cpu"`` or ``"cuda:0"``.
        warnings: What the next report is to warn of.
    """

    directory: Path
    report: Callable[[EpochRow], None]
    device: str = "cpu"
    warnings: list[str] = field(default_factory=list)

    def warn(self, warning: str) -> None:
        """Has the next report warn of something that no epoch knows of; one line."""
        self.warnings.append(warning)

    def report_with_warnings(self, row: EpochRow) -> None:
        """Reports an epoch together with what is to be warned of."""
        warnings = [str(row.get("warning") or ""), *self.warnings]
        self.warnings.clear()
        self.report({**row, "warning": "; ".join(filter(None, warnings))})


@dataclass(frozen=True)
class TrialRecipe:
    """One kind of trial.

    Attributes:
        run: Runs the trial to its end, or goes on where the files in ``context.directory`` say it stopped,
            and returns the final metrics (the same on every worker).
        total_epochs: Epochs of all phases together, for progress and time left.
        uses_workers: Whether the trial trains with Ray Train; if not, it runs in the trial's own process.
    """

    run: Callable[[TrialConfig, TrialContext], Metrics]
    total_epochs: Callable[[TrialConfig], int]
    uses_workers: bool = True

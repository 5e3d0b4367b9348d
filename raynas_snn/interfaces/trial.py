"""`TrialRecipe`: a kind of trial, a function that runs in every worker of one trial.

Importable without torch or ray, so that checking a sweep file is fast.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raynas_snn.config.schema import TrialConfig

Metrics = dict[str, float]
EpochRow = Mapping[str, Any]


class TrialFailure(Exception):  # noqa: N818 - it is the trial that failed, not the program
    """A trial failed in a way that a retry would repeat; the message is one line with the reason and advice."""


class TrialCrash(Exception):  # noqa: N818 - likewise
    """An attempt failed for a known reason, and a retry may succeed; the message is one line with advice."""


class TrialInfeasible(Exception):  # noqa: N818 - likewise
    """A trial's network exceeds a limit of the sweep; raised before it is trained.

    Args:
        message: One line: ``params 12,345 > sweep.max_params 10,000``.
        metrics: Known metrics of the network, such as ``params``.
    """

    def __init__(self, message: str, metrics: Metrics) -> None:
        super().__init__(message)
        self.metrics = metrics


@dataclass(frozen=True)
class TrialContext:
    """The folder, report function and device of a trial.

    Attributes:
        directory: The trial's own folder; the same on every worker and on every attempt.
        report: Called once per epoch on every worker with numbers already reduced over the workers.
            Holds at least ``epoch`` (1-based, counted over all phases) and ``phase``.
        device: Torch device to train on, ``"cpu"`` or ``"cuda:0"``.
        warnings: Warnings to send with the next report.
    """

    directory: Path
    report: Callable[[EpochRow], None]
    device: str = "cpu"
    warnings: list[str] = field(default_factory=list)

    def warn(self, warning: str) -> None:
        """Adds a one-line warning to the next report."""
        self.warnings.append(warning)

    def report_with_warnings(self, row: EpochRow) -> None:
        """Reports an epoch together with the pending warnings."""
        warnings = [str(row.get("warning") or ""), *self.warnings]
        self.warnings.clear()
        self.report({**row, "warning": "; ".join(filter(None, warnings))})


@dataclass(frozen=True)
class TrialRecipe:
    """One kind of trial.

    Attributes:
        run: Runs the trial to its end, resuming from the files in ``context.directory`` if there are any, and returns
            the final metrics (the same on every worker).
        total_epochs: Number of epochs of all phases, for progress and time left.
        uses_workers: Whether the trial trains with Ray Train; if not, it runs in the trial's own process.
    """

    run: Callable[[TrialConfig, TrialContext], Metrics]
    total_epochs: Callable[[TrialConfig], int]
    uses_workers: bool = True

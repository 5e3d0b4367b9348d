"""What a kind of trial is: a recipe that the cluster runs in every worker of one trial.

Importable without torch or ray, so that a sweep file can be checked in no time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas_snn.config.schema import TrialConfig

Metrics = dict[str, float]
EpochRow = Mapping[str, Any]


class TrialFailure(Exception):  # noqa: N818 - it is the trial that failed, not the program
    """A trial cannot succeed, however often it is tried; the message is one line that says why and what may help."""


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
    """

    directory: Path
    report: Callable[[EpochRow], None]
    device: str = "cpu"


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

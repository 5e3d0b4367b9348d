"""What a search strategy is: how the cells of a trial are found. Importable without torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raynas_snn.config.schema import SearchConfig, TrialConfig
from raynas_snn.trial import TrialContext

if TYPE_CHECKING:
    from raynas_snn.training.data import DeviceImages
    from raynas_snn.training.found import SearchResult


@dataclass(frozen=True)
class Strategy:
    """A search strategy.

    Attributes:
        search: Finds cells with the training images and the number of classes. Runs on every worker alike, reports
            each epoch, and goes on from the checkpoint in the trial's folder if there is one.
        epochs: How many epochs it reports.
    """

    search: Callable[[TrialConfig, TrialContext, "DeviceImages", int], "SearchResult"]
    epochs: Callable[[SearchConfig], int]

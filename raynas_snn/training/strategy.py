"""`Strategy`: a search strategy, which finds the cells of a trial. Importable without torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raynas_snn.config.schema import SearchConfig, TrialConfig
from raynas_snn.core.errors import UserError
from raynas_snn.core.options import Options
from raynas_snn.core.registry import resolve
from raynas_snn.interfaces.trial import TrialContext

if TYPE_CHECKING:
    from raynas_snn.training.device_images import DeviceImages
    from raynas_snn.training.search_result import SearchResult


@dataclass(frozen=True)
class Strategy:
    """A search strategy.

    Attributes:
        search: Finds cells with the training images and the number of classes. Runs on every worker alike, reports
            each epoch, and goes on from the checkpoint in the trial's folder if there is one.
        epochs: How many epochs it reports.
        options: What a sweep file may give beside its name; ``trial.search.strategy.options`` holds it.
    """

    search: Callable[[TrialConfig, TrialContext, "DeviceImages", int], "SearchResult"]
    epochs: Callable[[SearchConfig], int]
    options: type[Options] = Options


def load_strategy(name: str) -> Strategy:
    """Returns the strategy with a name.

    Raises:
        UserError: If there is none, or it is not a `Strategy`.
    """
    strategy = resolve("strategies", name)
    if not isinstance(strategy, Strategy):
        raise UserError(f"search.strategy: {name!r} is not a Strategy")
    return strategy


def search_epochs(trial: TrialConfig) -> int:
    """Epochs that a trial's search reports before the retraining begins."""
    return load_strategy(trial.search.strategy.name).epochs(trial.search)

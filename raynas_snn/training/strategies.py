"""The built-in search strategies. Importable without torch, so that progress can be shown where there is none."""

from typing import TYPE_CHECKING

from raynas_snn.config.schema import TrialConfig
from raynas_snn.errors import UserError
from raynas_snn.registry import resolve
from raynas_snn.training.strategy import Strategy
from raynas_snn.trial import TrialContext

if TYPE_CHECKING:
    from raynas_snn.training.data import DeviceImages
    from raynas_snn.training.found import SearchResult


def load_strategy(name: str) -> Strategy:
    """Returns the strategy that goes by a name.

    Raises:
        UserError: If there is none, or it is not a `Strategy`.
    """
    strategy = resolve("strategies", name)
    if not isinstance(strategy, Strategy):
        raise UserError(f"search.strategy: {name!r} is not a Strategy")
    return strategy


def search_epochs(trial: TrialConfig) -> int:
    """Epochs that a trial's search reports before the retraining begins."""
    return load_strategy(trial.search.strategy).epochs(trial.search)


def _darts(trial: TrialConfig, context: TrialContext, images: "DeviceImages", num_classes: int) -> "SearchResult":
    from raynas_snn.training.search import search

    return search(trial, context, images, num_classes)


DARTS = Strategy(search=_darts, epochs=lambda config: config.epochs)

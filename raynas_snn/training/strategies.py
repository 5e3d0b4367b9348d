"""The built-in search strategies. Importable without torch, so that progress can be shown where there is none."""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from raynas_snn.config.schema import SearchConfig, TrialConfig
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


def _built_in(module: str, function: str, epochs: Callable[[SearchConfig], int]) -> Strategy:
    """A strategy of this package, whose module is imported when the search starts."""

    def search(trial: TrialConfig, context: TrialContext, images: "DeviceImages", num_classes: int) -> "SearchResult":
        run = getattr(importlib.import_module(f"raynas_snn.training.{module}"), function)
        return cast("SearchResult", run(trial, context, images, num_classes))

    return Strategy(search, epochs)


DARTS = _built_in("search", "search", lambda config: config.epochs)
RANDOM = _built_in("unsearched", "random_cells", lambda _: 0)
SAHD = _built_in("sahd_search", "sahd_search", lambda config: config.epochs)
EVOLUTION = _built_in(
    "evolution_search", "evolution_search", lambda config: config.epochs + config.evolution_generations
)
FIXED = _built_in("unsearched", "read_cells", lambda _: 0)

"""The built-in search strategies. Importable without torch, so that commands without torch can compute progress."""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from raynas_snn.config.schema import SearchConfig, TrialConfig
from raynas_snn.core.options import Options
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.training.strategies.strategy_options import EvolutionOptions, FixedOptions, SahdOptions
from raynas_snn.training.strategy import Strategy

if TYPE_CHECKING:
    from raynas_snn.training.device_images import DeviceImages
    from raynas_snn.training.search_result import SearchResult


def _built_in(
    module: str, function: str, epochs: Callable[[SearchConfig], int], options: type[Options] = Options
) -> Strategy:
    """A strategy of this package, whose module is imported when the search starts."""

    def search(trial: TrialConfig, context: TrialContext, images: "DeviceImages", num_classes: int) -> "SearchResult":
        run = getattr(importlib.import_module(f"raynas_snn.training.strategies.{module}"), function)
        return cast("SearchResult", run(trial, context, images, num_classes))

    return Strategy(search, epochs, options)


def _epochs_and_generations(config: SearchConfig) -> int:
    return config.epochs + config.strategy.options_as(EvolutionOptions).generations


DARTS = _built_in("darts_search", "search", lambda config: config.epochs)
RANDOM = _built_in("baseline_strategies", "random_cells", lambda _: 0)
SAHD = _built_in("sahd_search", "sahd_search", lambda config: config.epochs, SahdOptions)
EVOLUTION = _built_in("evolution_search", "evolution_search", _epochs_and_generations, EvolutionOptions)
FIXED = _built_in("baseline_strategies", "read_cells", lambda _: 0, FixedOptions)

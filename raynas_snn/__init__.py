"""Neural architecture search for spiking neural networks as a Ray sweep.

The names for notebooks are exported lazily: each is imported at its first use, so ``import raynas_snn`` is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raynas_snn.cluster.driver.orchestrate import run_sweep
    from raynas_snn.config import Sweep, load_sweep
    from raynas_snn.config.schema import TrialConfig
    from raynas_snn.config.search_space import SearchSpace, load_space
    from raynas_snn.core.errors import UserError
    from raynas_snn.core.options import Options, with_options
    from raynas_snn.core.registry import resolve
    from raynas_snn.interfaces.dataset import Dataset
    from raynas_snn.interfaces.images import Images
    from raynas_snn.interfaces.trial import TrialContext, TrialRecipe
    from raynas_snn.run.run_dir import RunDir

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "Images",
    "Options",
    "RunDir",
    "SearchSpace",
    "Sweep",
    "TrialConfig",
    "TrialContext",
    "TrialRecipe",
    "UserError",
    "__version__",
    "load_space",
    "load_sweep",
    "resolve",
    "run_sweep",
    "with_options",
]

# Without the verb raynas_snn.sweep: `python -m` warns about a module that its own package has imported.
_HOMES = {
    "Dataset": "raynas_snn.interfaces.dataset",
    "Images": "raynas_snn.interfaces.images",
    "Options": "raynas_snn.core.options",
    "RunDir": "raynas_snn.run.run_dir",
    "SearchSpace": "raynas_snn.config.search_space",
    "Sweep": "raynas_snn.config",
    "TrialConfig": "raynas_snn.config.schema",
    "TrialContext": "raynas_snn.interfaces.trial",
    "TrialRecipe": "raynas_snn.interfaces.trial",
    "UserError": "raynas_snn.core.errors",
    "load_space": "raynas_snn.config.search_space",
    "load_sweep": "raynas_snn.config",
    "resolve": "raynas_snn.core.registry",
    "run_sweep": "raynas_snn.cluster.driver.orchestrate",
    "with_options": "raynas_snn.core.options",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'raynas_snn' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

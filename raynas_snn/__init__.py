"""Neural architecture search for spiking neural networks as a Ray sweep.

What a notebook needs is exported here and imported when it is first asked for, so that ``import raynas_snn``
costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raynas_snn.cluster.orchestrate import run_sweep
    from raynas_snn.config import Sweep, load_sweep
    from raynas_snn.config.schema import TrialConfig
    from raynas_snn.dataset import Dataset
    from raynas_snn.errors import UserError
    from raynas_snn.images import Images
    from raynas_snn.registry import resolve
    from raynas_snn.results.run_dir import RunDir
    from raynas_snn.space import SearchSpace, load_space
    from raynas_snn.trial import TrialContext, TrialRecipe

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "Images",
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
]

# Without the verb raynas_snn.sweep: `python -m` warns about a module that its own package has imported.
_HOMES = {
    "Dataset": "raynas_snn.dataset",
    "Images": "raynas_snn.images",
    "RunDir": "raynas_snn.results.run_dir",
    "SearchSpace": "raynas_snn.space",
    "Sweep": "raynas_snn.config",
    "TrialConfig": "raynas_snn.config.schema",
    "TrialContext": "raynas_snn.trial",
    "TrialRecipe": "raynas_snn.trial",
    "UserError": "raynas_snn.errors",
    "load_space": "raynas_snn.space",
    "load_sweep": "raynas_snn.config",
    "resolve": "raynas_snn.registry",
    "run_sweep": "raynas_snn.cluster.orchestrate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'raynas_snn' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Sweeps made of a few settings, as a run directory holds them: names need not be known."""

from typing import Any

from raynas_snn.config import Sweep
from raynas_snn.config.saved_settings import recorded_sweep


def sweep_of(*, name: str = "x", model: Any = None, search: Any = None, data: Any = None, **sweep: Any) -> Sweep:
    """Returns a sweep with the given fields of some sections; what is not named is a field of section ``sweep``."""
    content = {"name": name, "model": model or {}, "search": search or {}, "data": data or {}, "sweep": sweep}
    return recorded_sweep(content, "sweep.yaml")

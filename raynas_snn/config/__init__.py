"""Sweep files: reading, checking, resolving. Imports neither ray nor torch."""

from raynas_snn.config.load import load_sweep
from raynas_snn.config.resolved_sweep import Sweep, difference, meaning

__all__ = ["Sweep", "difference", "load_sweep", "meaning"]

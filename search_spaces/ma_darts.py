"""MA-DARTS: the DARTS cell with multi-dimensional attention."""

from raynas_snn.config.search_space import SearchSpace
from search_spaces.darts_snn import darts_snn


def ma_darts() -> SearchSpace:
    """``darts_snn`` with attention ``ma``."""
    return darts_snn().variant("ma_darts", "darts_snn with multi-dimensional attention", attention="ma")

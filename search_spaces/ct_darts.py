"""CT-DARTS: the DARTS cell with channel-temporal attention."""

from raynas_snn.config.search_space import SearchSpace
from search_spaces.darts_snn import darts_snn


def ct_darts() -> SearchSpace:
    """``darts_snn`` with attention ``ct``."""
    return darts_snn().variant("ct_darts", "darts_snn with channel-temporal attention", attention="ct")

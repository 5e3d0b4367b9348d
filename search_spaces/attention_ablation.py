"""The published comparison: the same search without attention, with CT and with MA."""

from raynas_snn.config.search_space import SearchSpace
from search_spaces.darts_snn import darts_snn


def attention_ablation() -> SearchSpace:
    """``darts_snn`` with the attention as an outer parameter; no attention is the baseline."""
    return darts_snn().variant(
        "attention_ablation",
        "darts_snn with none, ct and ma side by side",
        attention={"choice": ["none", "ct", "ma"]},
    )

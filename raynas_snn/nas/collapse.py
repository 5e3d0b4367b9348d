"""Measures how far a search has collapsed to skip connections, a known failure of DARTS (DARTS+, Liang et al. 2019)."""

from collections.abc import Sequence

from raynas_snn.nas.genotype import Node

WARNING_SHARE = 0.5
SKIP = "skip_connect"


def skip_share(nodes: Sequence[Node]) -> float:
    """Share of a cell's edges that are skip connections."""
    operations = [edge.operation for node in nodes for edge in node]
    return operations.count(SKIP) / len(operations)


def collapse_warning(normal_share: float) -> str:
    """The warning about a normal cell with this share of skips; empty if the share is low."""
    if normal_share < WARNING_SHARE:
        return ""
    amount = "half" if normal_share == WARNING_SHARE else f"{normal_share:.0%}"
    return f"{amount} of the normal cell's edges are skips"

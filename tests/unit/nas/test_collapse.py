"""How far a cell has collapsed to skip connections."""

import pytest

from raynas_snn.nas.collapse import collapse_warning, skip_share
from raynas_snn.nas.genotype import Edge


@pytest.mark.parametrize(
    ("operations", "share", "warning"),
    [
        ("skip_connect skip_connect skip_connect sep_conv_3x3", 0.75, "75% of the normal cell's edges are skips"),
        ("skip_connect max_pool_3x3 skip_connect sep_conv_3x3", 0.5, "half of the normal cell's edges are skips"),
        ("skip_connect max_pool_3x3 dil_conv_3x3 sep_conv_3x3", 0.25, ""),
    ],
)
def test_skips_are_counted_and_warned_of(operations, share, warning):
    names = operations.split()
    nodes = [(Edge(names[0], 0), Edge(names[1], 1)), (Edge(names[2], 0), Edge(names[3], 1))]
    assert skip_share(nodes) == share
    assert collapse_warning(share) == warning

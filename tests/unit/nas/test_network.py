"""The derived network: size, attention, auxiliary head."""

import pytest
import torch

from raynas_snn.core.errors import UserError
from raynas_snn.core.registry import resolve
from raynas_snn.nas.genotype import Edge, Genotype
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, check_operations, count_parameters
from raynas_snn.snn.attention import ChannelTemporalAttention, NoAttention
from search_spaces.darts_snn import darts_snn

NAMES = darts_snn().operations
OPERATIONS = {name: resolve("operations", name) for name in NAMES}


def cell(*operations: str) -> tuple[tuple[Edge, ...], ...]:
    """Four nodes that read the two inputs of the cell."""
    return tuple(tuple(Edge(operations[2 * i + j], j) for j in range(2)) for i in range(4))


# Nine pointwise convolutions in the normal cell, five in the reduction cell, mostly max-pool, no skip: the one
# genotype that fits both the parameter counts and the prose of MA-DARTS.
LIKE_THE_PAPERS = Genotype(
    cell("sep_conv_5x5", *["dil_conv_5x5"] * 7),
    cell("sep_conv_3x3", "sep_conv_3x3", "dil_conv_5x5", *["max_pool_3x3"] * 5),
)


@pytest.mark.parametrize(("channels", "expected"), [(32, 1_069_354), (64, 2_790_218)])
def test_parameters_are_those_of_the_paper(channels, expected):
    """1.069 M and 2.791 M in MA-DARTS Table 1, with the auxiliary head but without its last layer."""
    network = DerivedNetwork(Macro(10, channels=channels), LIKE_THE_PAPERS, OPERATIONS)
    last_layer = sum(p.numel() for p in network.auxiliary.classifier.parameters())
    assert count_parameters(network) - last_layer == expected
    without = DerivedNetwork(Macro(10, channels=channels), LIKE_THE_PAPERS, OPERATIONS, auxiliary=False)
    assert count_parameters(network, auxiliary=False) == count_parameters(without)


def test_the_auxiliary_head_answers_in_training_only():
    network = DerivedNetwork(Macro(7, (3, 32, 32), channels=2), LIKE_THE_PAPERS, OPERATIONS)
    images = torch.randn(2, 3, 32, 32)
    logits, auxiliary = network(images)
    assert logits.shape == auxiliary.shape == (2, 7)
    assert network.eval()(images)[1] is None


@pytest.mark.parametrize("size", [(8, 8), (13, 9)])
@pytest.mark.parametrize("layers", [2, 3, 6])
def test_any_size_and_depth(size, layers):
    macro = Macro(4, (2, *size), channels=2, layers=layers, num_steps=3)
    network = DerivedNetwork(macro, LIKE_THE_PAPERS, OPERATIONS)
    logits, auxiliary = network(torch.randn(5, 2, *size))
    (logits.sum() + auxiliary.sum()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_scope_says_which_cells_have_attention():
    found = {}
    for scope in ("every_cell", "last_cell"):
        macro = Macro(10, channels=2, layers=4, attention=ChannelTemporalAttention, attention_scope=scope)
        network = DerivedNetwork(macro, LIKE_THE_PAPERS, OPERATIONS)
        found[scope] = [not isinstance(cell.attention, NoAttention) for cell in network.cells]
    assert found == {"every_cell": [True] * 4, "last_cell": [False, False, False, True]}


def test_reductions_are_at_thirds():
    plans = list(Macro(10, channels=4, layers=6).cells())
    assert [plan.reduction for plan in plans] == [False, False, True, False, True, False]
    assert [plan.channels for plan in plans] == [4, 4, 8, 8, 16, 16]
    assert Macro(10, layers=6).auxiliary_index == 4


def test_an_operation_that_the_space_lacks_is_named():
    with pytest.raises(UserError, match="unknown operation 'conv_9x9'"):
        check_operations(Genotype(cell(*["conv_9x9"] * 8), LIKE_THE_PAPERS.reduction), OPERATIONS)

"""The derived network and its genotype."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raynas_snn.errors import UserError
from raynas_snn.nas.genotype import Edge, Genotype, derive
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, check_operations, count_parameters
from raynas_snn.registry import resolve
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


@given(st.data())
def test_derive_keeps_the_two_strongest_edges_and_never_none(data):
    numbers = st.floats(0, 1, width=16)
    tables = [
        torch.tensor(data.draw(st.lists(st.lists(numbers, min_size=8, max_size=8), min_size=14, max_size=14)))
        for _ in range(2)
    ]
    genotype = derive(*tables, NAMES)
    for table, nodes in zip(tables, (genotype.normal, genotype.reduction), strict=True):
        first = 0
        for index, node in enumerate(nodes):
            best = {j: table[first + j, 1:].max().item() for j in range(index + 2)}
            kept = {edge.source for edge in node}
            assert len(kept) == 2
            assert min(best[j] for j in kept) >= max((best[j] for j in best if j not in kept), default=0)
            for edge in node:
                assert edge.operation != "none"
                assert table[first + edge.source, NAMES.index(edge.operation)].item() == best[edge.source]
            first += index + 2


def test_a_genotype_is_short_and_readable_and_reads_back():
    text = LIKE_THE_PAPERS.to_json()
    assert Genotype.from_json(text) == LIKE_THE_PAPERS
    assert len(text.splitlines()) == 14
    assert '{"operation": "sep_conv_5x5", "input": "input_0"}' in text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["normal", "reduction", "operation", "input", "x"]), inner)
        ),
        max_leaves=12,
    )
)
def test_anything_else_is_refused_in_one_line(data):
    with pytest.raises(UserError) as refused:
        Genotype.from_json(json.dumps(data))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["normal"][0][0].update(input="node_0"), "unknown input 'node_0' (known: input_0, input_1)"),
        (lambda d: d["normal"].pop(), "same number of nodes"),
        (lambda d: d["reduction"][1].clear(), "reduction node 1 must be a list of 1 to 3 edges"),
        (lambda d: d.update(extra=1), "expected an object with the keys 'normal' and 'reduction'"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    data = LIKE_THE_PAPERS.to_dict()
    change(data)
    with pytest.raises(UserError, match=r"^genotype: ") as refused:
        Genotype.from_dict(data)
    assert message in str(refused.value)


def test_an_operation_that_the_space_lacks_is_named():
    with pytest.raises(UserError, match="unknown operation 'conv_9x9'"):
        check_operations(Genotype(cell(*["conv_9x9"] * 8), LIKE_THE_PAPERS.reduction), OPERATIONS)

"""What a search keeps, and the JSON that it is kept in."""

import copy
import itertools
import json
import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from raynas_snn.core.errors import UserError
from raynas_snn.nas.alphas import Alphas, Mixture
from raynas_snn.nas.genotype import Edge, Genotype, derive
from search_spaces.darts_snn import darts_snn

NAMES = darts_snn().operations
TWO_NODES = Genotype(
    normal=((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)), (Edge("dil_conv_5x5", 1), Edge("max_pool_3x3", 2))),
    reduction=((Edge("avg_pool_3x3", 0), Edge("avg_pool_3x3", 1)), (Edge("sep_conv_5x5", 0), Edge("skip_connect", 2))),
)


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    num_nodes = draw(st.integers(1, 5))

    def cell() -> tuple[tuple[Edge, ...], ...]:
        edges = [st.builds(Edge, st.text(max_size=200), st.integers(0, index + 1)) for index in range(num_nodes)]
        return tuple(tuple(draw(st.lists(edge, min_size=1, max_size=2))) for edge in edges)

    return Genotype(cell(), cell())


@given(genotypes())
def test_json_reads_back(genotype):
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert Genotype.from_dict(genotype.to_dict()) == genotype


def test_json_has_a_line_per_node():
    assert (
        TWO_NODES.to_json()
        == """{
  "normal": [
    [{"operation": "sep_conv_3x3", "input": "input_0"}, {"operation": "skip_connect", "input": "input_1"}],
    [{"operation": "dil_conv_5x5", "input": "input_1"}, {"operation": "max_pool_3x3", "input": "node_0"}]
  ],
  "reduction": [
    [{"operation": "avg_pool_3x3", "input": "input_0"}, {"operation": "avg_pool_3x3", "input": "input_1"}],
    [{"operation": "sep_conv_5x5", "input": "input_0"}, {"operation": "skip_connect", "input": "node_0"}]
  ]
}
"""
    )


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in nested lists and dicts, the whole itself first."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *itertools.chain.from_iterable(places(value, (*path, key)) for key, value in inner)]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@examples(300)
@given(st.sampled_from(places(TWO_NODES.to_dict())), ANYTHING)
def test_anything_in_any_place_is_read_or_refused_in_one_line(path, intruder):
    data: Any = {"genotype": copy.deepcopy(TWO_NODES.to_dict())}
    holder = data
    for key in ("genotype", *path)[:-1]:
        holder = holder[key]
    holder[("genotype", *path)[-1]] = intruder
    try:
        outcome: Any = Genotype.from_json(json.dumps(data["genotype"])).to_dict()
    except UserError as error:
        outcome = str(error)
    assert outcome == data["genotype"] or re.fullmatch(r"genotype: .+", str(outcome))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, "null"], ids=lambda text: text[:4])
def test_text_that_is_no_genotype_is_refused(text):
    with pytest.raises(UserError, match=r"^genotype: "):
        Genotype.from_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["normal"][0][0].update(input="node_0"), "normal node 0: unknown input 'node_0' (known: input_0,"),
        (lambda d: d["normal"][0][0].update(input=[]), "normal node 0: 'operation' and 'input' must be names"),
        (lambda d: d["normal"].pop(), "same number of nodes"),
        (lambda d: d["reduction"][1].clear(), "reduction node 1 must be a list of 1 to 3 edges"),
        (lambda d: d.update(extra=1), "expected an object with the keys 'normal' and 'reduction'"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    data = TWO_NODES.to_dict()
    change(data)
    with pytest.raises(UserError) as refused:
        Genotype.from_dict(data)
    assert message in str(refused.value)


def strongest_pair(weights: list[list[float]], names: tuple[str, ...]) -> tuple[Edge, ...]:
    """Of all ways to keep two edges of a node with an operation each, the one that weighs most."""
    choices = [
        [(row[k], Edge(name, source)) for k, name in enumerate(names) if name != "none"]
        for source, row in enumerate(weights)
    ]
    pairs = [pair for two in itertools.combinations(choices, 2) for pair in itertools.product(*two)]
    return tuple(edge for _, edge in max(pairs, key=lambda pair: pair[0][0] + pair[1][0]))


@examples(30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 3))
def test_derive_keeps_the_two_strongest_edges_and_never_none(seed, num_nodes, column_of_none):
    names = ("op_a", "op_b", "op_c")
    names = (*names[:column_of_none], "none", *names[column_of_none:])
    generator = torch.Generator().manual_seed(seed)
    mixture = Alphas(num_nodes, 4, generator)()
    found = derive(mixture, names)
    for table, cell in zip(mixture, (found.normal, found.reduction), strict=True):
        rows = iter(table.tolist())
        expected = [strongest_pair(list(itertools.islice(rows, index + 2)), names) for index in range(num_nodes)]
        assert list(cell) == expected


def test_an_edge_of_nothing_but_none_is_not_lost():
    """Where ``none`` weighs most, DARTS still takes the best of the others."""
    table = torch.full((14, 8), 0.01)
    table[:, NAMES.index("none")] = 0.93
    table[:, NAMES.index("skip_connect")] = 0.02
    genotype = derive(Mixture(table, table), NAMES)
    assert {edge.operation for node in (*genotype.normal, *genotype.reduction) for edge in node} == {"skip_connect"}

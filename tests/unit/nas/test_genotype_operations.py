"""Random genotypes: uniform over the space, and still of the space after mutation and crossover."""

import random
from collections import Counter

import pytest

from raynas_snn.core.registry import resolve
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.genotype_operations import cross, mutate, random_genotype
from raynas_snn.nas.network import check_operations
from search_spaces.darts_snn import darts_snn

NAMES = darts_snn().operations
OPERATIONS = {name: resolve("operations", name) for name in NAMES}


def assert_of_the_space(genotype: Genotype, num_nodes: int) -> None:
    check_operations(genotype, OPERATIONS)  # none is not allowed
    assert Genotype.from_dict(genotype.to_dict()) == genotype
    for nodes in (genotype.normal, genotype.reduction):
        assert len(nodes) == num_nodes
        for node in nodes:
            assert len(node) == 2
            assert node[0].source < node[1].source  # distinct, and written in one way only


def test_all_genotypes_are_equally_likely():
    draw = random.Random(0)
    number, names = 12_000, ("none", "max_pool_3x3", "skip_connect")
    drawn = [random_genotype(2, names, draw) for _ in range(number)]
    for cells in ([genotype.normal for genotype in drawn], [genotype.reduction for genotype in drawn]):
        counts = Counter(cells)
        size = 4 * 3 * 4  # operations of the first node, sources of the second, its operations
        assert len(counts) == size
        spread = (number / size) ** 0.5
        assert all(abs(count - number / size) < 5 * spread for count in counts.values())
    kinds = Counter((genotype.normal[0], genotype.reduction[0]) for genotype in drawn)
    assert len(kinds) == 16  # the two cells are drawn apart


@pytest.mark.parametrize("num_nodes", [2, 4, 8])
def test_children_belong_to_the_space(num_nodes):
    draw = random.Random(1)
    for _ in range(50):
        parents = [random_genotype(num_nodes, NAMES, draw) for _ in range(2)]
        child = cross(*parents, draw)
        for genotype in (*parents, child, mutate(child, NAMES, 0.5, draw)):
            assert_of_the_space(genotype, num_nodes)
        for kind in ("normal", "reduction"):
            for node, *origins in zip(*(getattr(one, kind) for one in (child, *parents)), strict=True):
                assert node in origins


def test_the_share_of_edges_that_mutate_is_the_probability():
    draw = random.Random(2)
    parent = random_genotype(4, NAMES, draw)
    assert mutate(parent, NAMES, 0.0, draw) == parent
    changed = sum(
        before not in after
        for _ in range(500)
        for child in [mutate(parent, NAMES, 0.2, draw)]
        for kind in ("normal", "reduction")
        for nodes, after in zip(getattr(parent, kind), getattr(child, kind), strict=True)
        for before in nodes
    )
    assert 0.13 < changed / (500 * 16) < 0.2  # some redraw what was there


def test_a_mutation_reaches_every_operation_and_every_source():
    draw = random.Random(3)
    parent = random_genotype(3, NAMES, draw)
    last = [edge for _ in range(600) for edge in mutate(parent, NAMES, 1.0, draw).normal[-1]]
    assert {edge.operation for edge in last} == set(NAMES) - {"none"}
    assert {edge.source for edge in last} == set(range(4))

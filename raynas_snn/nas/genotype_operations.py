"""Random genotypes, mutation and crossover in the space of DARTS: each node adds operations on two distinct sources."""

import random
from collections.abc import Callable, Sequence

from raynas_snn.nas.genotype import Edge, Genotype, Node


def usable(operations: Sequence[str]) -> list[str]:
    """The operations that a genotype may hold: all but ``none``."""
    return [name for name in operations if name != "none"]


def random_genotype(num_nodes: int, operations: Sequence[str], draw: random.Random) -> Genotype:
    """Draws uniformly: every pair of sources of a node and every operation on its edges is equally likely.

    Args:
        num_nodes: Intermediate nodes per cell.
        operations: Candidates of the search space; ``none`` is left out, as it is when alphas are discretised.
        draw: Random number generator.
    """
    names = usable(operations)

    def cell() -> tuple[Node, ...]:
        return tuple(
            tuple(Edge(draw.choice(names), source) for source in sorted(draw.sample(range(index + 2), 2)))
            for index in range(num_nodes)
        )

    return Genotype(cell(), cell())


def mutate(genotype: Genotype, operations: Sequence[str], probability: float, draw: random.Random) -> Genotype:
    """Redraws each edge with a probability: its operation, and its source from those that its node does not read.

    Args:
        genotype: The parent.
        operations: As in `random_genotype`.
        probability: Chance that an edge mutates, 0..1.
        draw: Decides.
    """
    names = usable(operations)

    def node(index: int, edges: Node) -> Node:
        changed = list(edges)
        for position in range(len(changed)):
            if draw.random() < probability:
                others = {edge.source for other, edge in enumerate(changed) if other != position}
                free = [source for source in range(index + 2) if source not in others]
                changed[position] = Edge(draw.choice(names), draw.choice(free))
        return tuple(sorted(changed, key=lambda edge: edge.source))

    return _map_nodes(node, genotype)


def cross(first: Genotype, second: Genotype, draw: random.Random) -> Genotype:
    """Takes each whole node from either parent with equal chance, because its two edges need distinct sources."""
    return _map_nodes(lambda _, *nodes: draw.choice(nodes), first, second)


def _map_nodes(node: Callable[..., Node], *genotypes: Genotype) -> Genotype:
    """Builds both cells node by node from the index and the parents' nodes there."""
    cells = ([genotype.normal for genotype in genotypes], [genotype.reduction for genotype in genotypes])
    normal, reduction = (
        tuple(node(index, *nodes) for index, nodes in enumerate(zip(*cell, strict=True))) for cell in cells
    )
    return Genotype(normal, reduction)

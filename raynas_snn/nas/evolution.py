"""Evolution of genotypes: the fittest become parents, children mutate or mix them (SPOS, AutoSNN)."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.genotype_operations import cross, mutate, random_genotype

ATTEMPTS = 10  # draws of a genotype that is not known yet; a small space may hold no other


@dataclass(frozen=True)
class Individual:
    """A genotype and its measurements.

    Attributes:
        genotype: The cells.
        fitness: More is better.
        accuracy: Share of images it gets right.
        spikes: Per image, summed over time steps.
    """

    genotype: Genotype
    fitness: float
    accuracy: float
    spikes: float


def spike_aware_fitness(accuracy: float, spikes: float, exponent: float, reference: float) -> float:
    """``accuracy * (spikes / reference) ** exponent`` (AutoSNN; there -0.08 and 110,000).

    A silent network counts as one spike per image, so that its fitness stays finite (our choice).
    """
    power = exponent * (math.log(max(spikes, 1.0)) - math.log(reference))
    return accuracy * math.exp(min(power, 700.0))  # beyond that a float overflows


class Evolution:
    """All individuals so far, oldest first; can be saved and restored.

    >>> evolution = Evolution(num_nodes=2, operations=("none", "skip_connect", "sep_conv_3x3"), size=6, mutation=0.1)
    >>> len(list(evolution.generation(random.Random(0))))
    6

    Args:
        num_nodes: Intermediate nodes per cell.
        operations: Candidates of the search space.
        size: Individuals of a generation; the fitter half of as many as that, of all generations, are parents.
        mutation: Chance that an edge mutates.
    """

    def __init__(self, num_nodes: int, operations: Sequence[str], size: int, mutation: float) -> None:
        self.individuals: list[Individual] = []
        self._num_nodes, self._operations = num_nodes, operations
        self._size, self._mutation = size, mutation

    @property
    def fittest(self) -> Individual:
        """The best individual ever; of equals the oldest."""
        return max(self.individuals, key=lambda individual: individual.fitness)

    def generation(self, draw: random.Random) -> Iterator[Genotype]:
        """The genotypes of the next generation, none measured before: random in the first, children in later ones.

        Half of the children are mutations of a parent and half are crossovers of two. If the parents have no new
        children left, a random genotype is used instead (SPOS). A space with few genotypes yields fewer.
        """
        known = {individual.genotype for individual in self.individuals}
        parents = self._parents()
        for place in range(self._size):
            makers = (self._maker(parents, place, draw), self._maker([], place, draw))
            for child in chain.from_iterable((make() for _ in range(ATTEMPTS)) for make in makers):
                if child not in known:
                    known.add(child)
                    yield child
                    break

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return {"individuals": [{**vars(one), "genotype": one.genotype.to_dict()} for one in self.individuals]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.individuals = [
            Individual(**{**one, "genotype": Genotype.from_dict(one["genotype"])}) for one in state_dict["individuals"]
        ]

    def _parents(self) -> list[Genotype]:
        ranked = sorted(self.individuals, key=lambda individual: individual.fitness, reverse=True)  # stable
        return [individual.genotype for individual in ranked[: max(1, self._size // 2)]]

    def _maker(self, parents: Sequence[Genotype], place: int, draw: random.Random) -> Callable[[], Genotype]:
        if not parents:
            return lambda: random_genotype(self._num_nodes, self._operations, draw)
        if place < self._size // 2:
            return lambda: mutate(draw.choice(parents), self._operations, self._mutation, draw)
        return lambda: cross(draw.choice(parents), draw.choice(parents), draw)

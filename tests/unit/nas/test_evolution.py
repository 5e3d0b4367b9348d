"""Evolution of genotypes on a made-up landscape, where each generation is instant."""

import math
import random

import pytest

from raynas_snn.nas.evolution import Evolution, Individual, spike_aware_fitness
from raynas_snn.nas.genotype import Genotype
from search_spaces.darts_snn import darts_snn

NAMES = darts_snn().operations


def share_of_skips(genotype: Genotype) -> float:
    edges = [edge for nodes in (genotype.normal, genotype.reduction) for node in nodes for edge in node]
    return sum(edge.operation == "skip_connect" for edge in edges) / len(edges)


def evolve(evolution: Evolution, generations: range) -> list[int]:
    """Breeds for skips; returns how many genotypes each generation measured."""
    sizes = []
    for index in generations:
        children = list(evolution.generation(random.Random(index)))
        sizes.append(len(children))
        for child in children:
            evolution.individuals.append(Individual(child, share_of_skips(child), share_of_skips(child), 10.0))
    return sizes


def test_the_fittest_get_fitter_and_nothing_is_measured_twice():
    evolution = Evolution(4, NAMES, size=20, mutation=0.2)
    best = []
    for index in range(15):
        assert evolve(evolution, range(index, index + 1)) == [20]
        best.append(evolution.fittest.fitness)
    assert best == sorted(best)
    assert best[-1] > best[0] + 0.3
    chance = max(share_of_skips(genotype) for genotype in Evolution(4, NAMES, 300, 0.2).generation(random.Random(0)))
    assert best[-1] > chance  # better than as many random genotypes
    genotypes = [individual.genotype for individual in evolution.individuals]
    assert len(set(genotypes)) == len(genotypes)


def test_of_equals_the_oldest_is_the_fittest():
    evolution = Evolution(2, NAMES, size=4, mutation=0.2)
    for genotype in evolution.generation(random.Random(0)):
        evolution.individuals.append(Individual(genotype, 0.5, 0.5, 10.0))
    assert evolution.fittest is evolution.individuals[0]


def test_a_space_with_few_genotypes_is_used_up_and_no_more():
    evolution = Evolution(2, ("none", "skip_connect"), size=6, mutation=0.5)  # 3 * 3 genotypes
    sizes = evolve(evolution, range(12))
    assert sum(sizes) == len(evolution.individuals) <= 9
    assert sizes[-1] == 0


def test_where_nothing_mutates_random_genotypes_step_in():
    evolution = Evolution(4, NAMES, size=4, mutation=0.0)
    assert evolve(evolution, range(4)) == [4] * 4


def test_an_evolution_goes_on_from_its_state():
    whole, first, second = (Evolution(3, NAMES, size=6, mutation=0.2) for _ in range(3))
    evolve(whole, range(5))
    evolve(first, range(2))
    second.load_state_dict(first.state_dict())
    evolve(second, range(2, 5))
    assert second.individuals == whole.individuals


def test_fitness_is_the_formula_of_autosnn():
    assert spike_aware_fitness(0.9, 110_000, -0.08, 110_000) == pytest.approx(0.9)
    assert spike_aware_fitness(0.9, 55_000, -0.08, 110_000) == pytest.approx(0.9 * 2**0.08)
    assert spike_aware_fitness(0.9, 55_000, 0.0, 110_000) == 0.9
    assert spike_aware_fitness(0.8, 1_000, -0.24, 110_000) > spike_aware_fitness(0.9, 9_000, -0.24, 110_000)
    assert spike_aware_fitness(0.8, 1_000, 0.24, 110_000) < spike_aware_fitness(0.9, 9_000, 0.24, 110_000)
    assert 0 < spike_aware_fitness(0.1, 0.0, -10.0, 1e5) < math.inf  # a silent network
    assert 0 < spike_aware_fitness(0.1, 10.0, -10.0, 1e300) < math.inf

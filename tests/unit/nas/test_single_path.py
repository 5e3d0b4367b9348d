"""The single-path network: the function of the derived network, with gradients for the path alone."""

import random

import pytest
import torch
from torch import nn

from raynas_snn.core.registry import resolve
from raynas_snn.nas.alphas import Mixture
from raynas_snn.nas.edges import edge_index
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.genotype_operations import random_genotype
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, Supernet
from raynas_snn.nas.single_path import SinglePathNetwork, path_step, recalibrate
from raynas_snn.snn.attention import MultiDimensionalAttention
from raynas_snn.snn.energy import ActivityMeter
from search_spaces.darts_snn import darts_snn

NAMES = darts_snn().operations
OPERATIONS = {name: resolve("operations", name) for name in NAMES}
MACRO = Macro(5, (1, 8, 8), channels=4, layers=3, num_nodes=3, attention=MultiDimensionalAttention)


def build(auxiliary: bool = False) -> SinglePathNetwork:
    torch.manual_seed(0)
    return SinglePathNetwork(MACRO, OPERATIONS, auxiliary).double()


def some_images(number: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(number, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


def genotype_of(seed: int) -> Genotype:
    return random_genotype(3, NAMES, random.Random(seed))


def module_of(cell: nn.Module, node: int, operation: str, source: int) -> tuple[str, nn.Module]:
    """A candidate and the beginning of its weights' names, by the order of edges that search cells document."""
    edge = sum(earlier + 2 for earlier in range(node)) + source
    if operation in cell.shared[source]:
        return f"shared.{source}.{operation}.", cell.shared[source][operation]
    return f"edges.{edge}.{operation}.", cell.edges[edge][operation]


def derived_from(network: SinglePathNetwork, genotype: Genotype) -> DerivedNetwork:
    """The network that the retraining would make of the genotype, with the path's weights and statistics."""
    derived = DerivedNetwork(MACRO, genotype, OPERATIONS, auxiliary=False).double()
    derived.stem.load_state_dict(network.stem.state_dict())
    derived.classifier.load_state_dict(network.classifier.state_dict())
    for ours, theirs in zip(derived.cells, network.cells, strict=True):
        ours.attention.load_state_dict(theirs.attention.state_dict())
        # Affine weights of BatchNorm are ones and zeros where the searched one has none.
        ours.preprocess_0.load_state_dict(theirs.preprocess_0.state_dict(), strict=False)
        ours.preprocess_1.load_state_dict(theirs.preprocess_1.state_dict(), strict=False)
        nodes = genotype.reduction if theirs.plan.reduction else genotype.normal
        for index, (node, operations) in enumerate(zip(nodes, ours.nodes, strict=True)):
            for edge, operation in zip(node, operations, strict=True):
                candidate = module_of(theirs, index, edge.operation, edge.source)[1]
                if "pool" in edge.operation:
                    operation.norm = candidate.norm
                missing, unexpected = operation.load_state_dict(candidate.state_dict(), strict=False)
                assert not unexpected
                assert all("norm" in name for name in missing)
    return derived


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_path_is_the_derived_network(seed, training):
    network, genotype = build(), genotype_of(seed)
    network(some_images(seed=1), genotype)  # running statistics of something
    derived = derived_from(network, genotype)
    counts, logits = [], []
    for module, arguments in ((network, (genotype,)), (derived, ())):
        module.train(training)
        with torch.no_grad(), ActivityMeter(module) as meter:
            logits.append(module(some_images(), *arguments)[0])
        counts.append(meter.totals())
    assert torch.allclose(*logits, rtol=1e-12, atol=1e-12)
    assert logits[0].abs().sum() > 0
    assert counts[0] == pytest.approx(counts[1])
    assert counts[0]["spikes/cells.1"] > 0


def test_a_path_is_the_supernet_with_all_weight_on_it():
    network, genotype = build(auxiliary=True), genotype_of(0)
    supernet = Supernet(MACRO, OPERATIONS, auxiliary=True).double()
    supernet.load_state_dict(network.state_dict())
    tables = []
    for nodes in (genotype.normal, genotype.reduction):
        table = torch.zeros(9, len(NAMES), dtype=torch.float64)
        for index, node in enumerate(nodes):
            for edge in node:
                table[edge_index(index, edge.source), NAMES.index(edge.operation)] = 1
        tables.append(table)
    outputs = network(some_images(), genotype), supernet(some_images(), Mixture(*tables))
    for ours, theirs in zip(*outputs, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_step_trains_the_path_and_nothing_else():
    network = build()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9, weight_decay=0.1)
    labels = torch.arange(4)
    for seed in range(1, 4):  # momentum for many candidates
        path_step(network, genotype_of(seed), optimizer, some_images(seed=seed), labels, lambda _: None, 5.0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    genotype = genotype_of(0)
    averaged: list[torch.Tensor] = []
    path_step(network, genotype, optimizer, some_images(), labels, averaged.extend, 5.0)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    on_path = ["stem.", "classifier."]
    for number, cell in enumerate(network.cells):
        nodes = genotype.reduction if cell.plan.reduction else genotype.normal
        parts = ["preprocess_", "attention."]
        parts += [module_of(cell, i, edge.operation, edge.source)[0] for i, node in enumerate(nodes) for edge in node]
        on_path += [f"cells.{number}.{part}" for part in parts]
    expected = {name for name in before if name.startswith(tuple(on_path))}
    assert changed <= expected
    weights = {name for name, _ in network.named_parameters()}
    assert len(averaged) == len(expected & weights)  # only these travel between workers
    assert len(changed & weights) > 0.9 * len(expected & weights)  # a gate behind a ReLU may rest
    assert len(expected & weights) < 0.5 * len(weights)


def test_a_step_respects_the_bound_on_the_gradient():
    norms = []
    for bound in (0.0, 1e-3):
        network = build()
        before = {name: value.clone() for name, value in network.named_parameters()}
        optimizer = torch.optim.SGD(network.parameters(), 1.0)
        path_step(network, genotype_of(0), optimizer, some_images(), torch.arange(4), lambda _: None, bound)
        moves = [(value - before[name]).detach().square().sum() for name, value in network.named_parameters()]
        norms.append(float(torch.stack(moves).sum().sqrt()))
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)
    assert norms[0] > 2e-3


def test_recalibrated_statistics_are_those_of_the_path_alone():
    network, genotype = build(), genotype_of(0)
    batches = [some_images(8, seed) for seed in range(3)]
    answers = []
    for _ in range(2):
        recalibrate(network, genotype, batches)
        network.eval()
        answers.append(network(some_images(seed=9), genotype)[0])
        network.train()
        for seed in range(5):  # what other paths leave behind
            network(100 * some_images(seed=seed), genotype_of(seed))
    assert torch.equal(*answers)
    recalibrate(network, genotype, batches)
    means = []
    for batch in batches:
        means.append(network.stem.conv(batch).mean(dim=(0, 2, 3)))
    assert torch.allclose(network.stem.norm.running_mean, torch.stack(means).mean(dim=0))
    assert network.stem.norm.momentum == 0.1

"""The supernet: the same function as DARTS edge by edge, with gradients that finite differences confirm."""

import pytest
import torch
import torch.nn.functional as F

from raynas_snn.core.registry import resolve
from raynas_snn.nas.alphas import Alphas, Mixture
from raynas_snn.nas.bilevel import alpha_step, weight_step
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import Supernet
from raynas_snn.nas.search_cell import SearchCell
from raynas_snn.snn.attention import MultiDimensionalAttention
from raynas_snn.snn.encoding import present_static
from raynas_snn.snn.neuron import NeuronSettings
from raynas_snn.snn.normalise import BatchNorm
from raynas_snn.snn.surrogate import ATan, Sigmoid
from search_spaces.darts_snn import darts_snn

NAMES = darts_snn().operations


def build(**options) -> tuple[Supernet, Alphas]:
    torch.manual_seed(0)
    options = {"channels": 4, "layers": 3, "image_shape": (1, 8, 8), "attention": MultiDimensionalAttention} | options
    supernet = Supernet(Macro(5, **options), {name: resolve("operations", name) for name in NAMES})
    alphas = Alphas(4, len(NAMES))
    for table in alphas.parameters():
        torch.nn.init.normal_(table)
    return supernet.double(), alphas.double()


def remember_all(network: torch.nn.Module) -> None:
    """Lets running statistics be those of the last batch: far from it neurons are dead, and the largest of many equal
    numbers is a matter of rounding."""
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.momentum = 1.0


def edge_by_edge(supernet: Supernet, images: torch.Tensor, mixture: Mixture):
    """DARTS as published: each edge by itself, its own neurons before each operation, alpha times its output."""
    macro = supernet.macro
    stem = supernet.stem.norm(supernet.stem.conv(present_static(images, macro.num_steps)))
    s0 = s1 = stem
    for cell in supernet.cells:
        assert isinstance(cell, SearchCell)
        weights = mixture.reduction if cell.plan.reduction else mixture.normal
        neuron = macro.make_neuron()
        states = [cell.preprocess_0(neuron(s0)), cell.preprocess_1(neuron(s1))]
        edge = 0
        for _ in range(4):
            total = 0
            for source, state in enumerate(list(states)):
                for column, name in enumerate(NAMES):
                    if name == "none":
                        continue
                    operations = cell.shared[source] if name in cell.shared[source] else cell.edges[edge]
                    operation = operations[name]
                    total = total + weights[edge, column] * operation(
                        neuron(state) if operation.reads_spikes else state
                    )
                edge += 1
            states.append(total)
        s0, s1 = s1, cell.attention(torch.cat(states[2:], dim=1))
    logits = supernet.classifier(s1.mean(dim=(2, 3)))
    return logits.unflatten(0, (macro.num_steps, -1)).mean(dim=0)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
@pytest.mark.parametrize("training", [True, False])
def test_equals_darts_edge_by_edge(num_steps, training):
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64) * 2
    results = []
    for run in (lambda net, *given: net(*given)[0], edge_by_edge):
        supernet, alphas = build(num_steps=num_steps)
        if not training:
            remember_all(supernet)
            supernet(images, alphas())
        supernet.train(training)
        logits = run(supernet, images, alphas())
        loss = F.cross_entropy(logits, torch.tensor([0, 3, 4]))
        results.append([logits, *torch.autograd.grad(loss, [*alphas.parameters(), *supernet.parameters()])])
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-11)
    assert results[0][1].abs().max() > 1e-6  # alphas do get a gradient


@pytest.mark.parametrize("surrogate", [Sigmoid(), ATan()], ids=repr)
@pytest.mark.parametrize("num_steps", [1, 2])
def test_gradients_equal_finite_differences(surrogate, num_steps):
    """Only of a smooth network: finite differences mean nothing through a step."""
    neuron = NeuronSettings(surrogate=surrogate, smooth=True)
    supernet, alphas = build(channels=2, num_steps=num_steps, neuron=neuron)
    images, labels = torch.randn(3, 1, 4, 4, dtype=torch.float64), torch.tensor([0, 1, 2])

    def loss() -> torch.Tensor:
        return F.cross_entropy(supernet(images, alphas())[0], labels)

    parameters = [*alphas.parameters(), *supernet.parameters()]
    gradients = torch.autograd.grad(loss(), parameters)
    groups = [[0], [1], list(range(2, len(parameters)))]  # each table of alphas, all weights together
    generator, step = torch.Generator().manual_seed(1), 1e-6
    for group in groups * 2:
        directions = {i: torch.randn(parameters[i].shape, generator=generator, dtype=torch.float64) for i in group}
        values = []
        with torch.no_grad():
            for sign in (1, -2, 1):
                for i, direction in directions.items():
                    parameters[i] += sign * step * direction
                values.append(loss().item())
        expected = (values[0] - values[1]) / (2 * step)
        assert sum((gradients[i] * direction).sum().item() for i, direction in directions.items()) == pytest.approx(
            expected, rel=1e-5, abs=1e-8
        )


def test_each_step_moves_its_own_parameters_only():
    supernet, alphas = build()
    images, labels = torch.randn(4, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3])
    alpha_optimizer = torch.optim.Adam(alphas.parameters(), 0.1)
    weight_optimizer = torch.optim.SGD(supernet.parameters(), 0.1)

    def snapshot(module):
        return [parameter.detach().clone() for parameter in module.parameters()]

    def moved(module, before):
        return [not torch.equal(a, b) for a, b in zip(module.parameters(), before, strict=True)]

    alphas_before, weights_before = snapshot(alphas), snapshot(supernet)
    alpha_step(supernet, alphas, alpha_optimizer, images, labels, average=list)
    assert all(moved(alphas, alphas_before))
    assert not any(moved(supernet, weights_before))
    alphas_before = snapshot(alphas)
    result = weight_step(supernet, alphas, weight_optimizer, images, labels, grad_clip=5.0)
    assert not any(moved(alphas, alphas_before))
    assert any(moved(supernet, weights_before))
    assert result.images == 4
    assert float(result.loss) > 0


def test_two_cells_are_both_reductions_and_leave_the_normal_alphas_alone():
    supernet, alphas = build(layers=2)
    optimizer = torch.optim.SGD(alphas.parameters(), 0.1)
    normal, reduction = (table.detach().clone() for table in alphas.parameters())
    alpha_step(supernet, alphas, optimizer, torch.randn(2, 1, 8, 8).double(), torch.tensor([0, 1]), average=list)
    assert torch.equal(alphas.normal, normal)
    assert not torch.equal(alphas.reduction, reduction)


def test_entropy_goes_from_undecided_to_decided():
    alphas = Alphas(4, 8)
    assert alphas.entropy() == pytest.approx((1.0, 1.0), abs=1e-4)
    with torch.no_grad():
        alphas.normal[:, 3] += 100
    assert alphas.entropy()[0] == pytest.approx(0.0, abs=1e-4)

"""SAHD: the score of SNASNet, held against loops over pairs of images."""

import math
import random

import pytest
import torch
from torch import nn

from raynas_snn.core.registry import resolve
from raynas_snn.nas.genotype_operations import random_genotype
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork
from raynas_snn.nas.sahd import kernels, sahd_score
from raynas_snn.snn.encoding import present_static
from raynas_snn.snn.neuron import LIF, Neuron, NeuronSettings
from search_spaces.darts_snn import darts_snn

NAMES = darts_snn().operations
OPERATIONS = {name: resolve("operations", name) for name in NAMES}


def slow_kernel(codes: list[list[int]], formula: str) -> list[list[float]]:
    """K of one population at one time step, bit by bit."""
    size = len(codes[0])
    kernel = []
    for first in codes:
        row = []
        for second in codes:
            distance = sum(a * (1 - b) + (1 - a) * b for a, b in zip(first, second, strict=True))
            rates = [sum(code) / size for code in (first, second)]
            expected = size * (rates[0] * (1 - rates[1]) + (1 - rates[0]) * rates[1])
            if formula == "released":
                alpha = 0.5 / (expected + 1e-3)
            else:
                alpha = 0.5 * size / expected if expected > 0 else 0.0
            entry = size - alpha * distance
            row.append(entry / size if formula == "normalised" else entry)
        kernel.append(row)
    return kernel


def slow_score(network: nn.Module, images: torch.Tensor, formula: str) -> float:
    trains: list[torch.Tensor] = []

    def record(neuron: Neuron, inputs: object, spikes: torch.Tensor) -> None:
        trains.extend(spikes.chunk(neuron.num_steps))

    hooks = [module.register_forward_hook(record) for module in network.modules() if isinstance(module, Neuron)]
    network(images)
    for hook in hooks:
        hook.remove()
    kernel = torch.tensor(
        [slow_kernel(train.flatten(1).int().tolist(), formula) for train in trains], dtype=torch.float64
    )
    return float(kernel.mean(dim=0).det().abs().log())


@pytest.mark.parametrize("formula", ["corrected", "released", "normalised"])
@pytest.mark.parametrize("num_steps", [1, 3])
def test_equals_loops_over_pairs_of_images(formula, num_steps):
    torch.manual_seed(0)
    macro = Macro(5, (1, 8, 8), channels=2, layers=3, num_steps=num_steps, num_nodes=2)
    network = DerivedNetwork(macro, random_genotype(2, NAMES, random.Random(0)), OPERATIONS, auxiliary=False).double()
    batches = [torch.randn(5, 1, 8, 8, dtype=torch.float64) for _ in range(2)]
    expected = sum(slow_score(network, images, formula) for images in batches) / 2
    assert sahd_score(network.eval(), batches, formula) == pytest.approx(expected, rel=1e-9)


class OnePopulation(nn.Module):
    """Neurons that read the images with some gain, around some level."""

    def __init__(self, gain: float, level: float) -> None:
        super().__init__()
        self.neuron = LIF(2, NeuronSettings())
        self.gain, self.level = gain, level

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.neuron(present_static(self.level + self.gain * images, 2))


@pytest.mark.parametrize("formula", ["corrected", "released"])
def test_prefers_the_network_that_tells_images_apart(formula):
    images = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    alike = images[:1] + 0.3 * images
    apart, close, silent, saturated = (
        sahd_score(OnePopulation(gain, level), [batch], formula)
        for gain, level, batch in ((1, 0.5, images), (1, 0.5, alike), (1e-3, 0, images), (1e-3, 9, images))
    )
    assert apart > close
    for nothing_told in (silent, saturated):
        assert nothing_told < close
        assert not math.isnan(nothing_told)


@pytest.mark.parametrize("formula", ["corrected", "released"])
def test_silent_populations_and_identical_codes_have_a_kernel(formula):
    codes = torch.zeros(3, 4, 10)  # all silent, all firing, silent beside firing
    codes[1] = 1
    codes[2, :2] = 1
    silent, firing, mixed = kernels(codes, formula)
    assert torch.equal(silent, torch.full((4, 4), 10.0, dtype=torch.float64))
    assert torch.equal(firing, silent)
    assert mixed.isfinite().all()
    assert mixed[0, 2] < mixed[0, 1]


def test_random_codes_are_half_as_near_as_equal_ones_however_sparse():
    """What the correction is for; alpha as released leaves all but the same kernel."""
    generator = torch.Generator().manual_seed(0)
    for rate in (0.05, 0.3, 0.5):
        codes = (torch.rand((1, 8, 20_000), generator=generator) < rate).float()
        apart = ~torch.eye(8, dtype=torch.bool)
        assert kernels(codes, "corrected")[0][apart].mean() == pytest.approx(10_000, rel=0.01)
        assert kernels(codes, "released")[0][apart].mean() == pytest.approx(20_000, rel=0.01)


def test_a_score_needs_neurons():
    with pytest.raises(ValueError, match="no neuron"):
        sahd_score(nn.Identity(), [torch.zeros(2, 1, 4, 4)], "corrected")


def test_images_that_look_the_same_to_all_neurons_are_worth_nothing_however_many_others_differ():
    images = torch.randn((200, 64, 1, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images[7] = images[150]
    network = nn.Sequential(LIF(1, NeuronSettings(v_th=0.1)))
    assert sahd_score(network, [images], "corrected") == -math.inf
    assert sahd_score(network, [images[8:]], "corrected") > -math.inf

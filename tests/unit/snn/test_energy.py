"""Spikes, synaptic operations and energy: every count against one made by hand or by brute force."""

import itertools

import pytest
import torch
from torch import nn

from raynas_snn.core.registry import resolve
from raynas_snn.nas.genotype import Edge, Genotype
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork
from raynas_snn.nas.operations import FactorizedReduce, SepConv3x3, SkipConnect
from raynas_snn.snn.attention import ChannelTemporalAttention, MultiDimensionalAttention
from raynas_snn.snn.attention_options import CTOptions, MAOptions
from raynas_snn.snn.encoding import present_static
from raynas_snn.snn.energy import Activity, ActivityMeter
from raynas_snn.snn.neuron import LIF, NeuronSettings

ALL = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")


def measure(network: nn.Module, *batches: torch.Tensor) -> Activity:
    with torch.no_grad(), ActivityMeter(network) as meter:
        for batch in batches:
            network(batch)
    return Activity.from_totals(meter.totals())


class Spiking(nn.Module):
    """Presents an image T times to neurons, then to a layer."""

    def __init__(self, num_steps: int, layer: nn.Module) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.neuron = LIF(num_steps, NeuronSettings())
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.neuron(present_static(x, self.num_steps)))


def test_spikes_are_per_image_and_summed_over_time():
    images = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])  # above threshold at every step, or never
    activity = measure(Spiking(3, nn.Identity()), images)
    assert activity.spikes == 3 * (1 + 2) / 2
    assert activity.spikes_per_cell == {"neuron": activity.spikes}
    assert activity.firing_rate == activity.firing_rate_per_cell["neuron"] == 3 / 4
    assert (activity.sops, activity.macs) == (0, 0)


def meetings(conv: nn.Conv2d, spikes: torch.Tensor) -> int:
    """Every spike against every weight, by the definition of a convolution."""
    (step_y, step_x), (edge_y, edge_x), (gap_y, gap_x) = conv.stride, conv.padding, conv.dilation
    outputs = conv(spikes).shape[2:]
    count = 0
    for _, _, y, x in spikes.nonzero().tolist():
        for i, j in itertools.product(*map(range, conv.kernel_size)):
            row, row_rest = divmod(y + edge_y - i * gap_y, step_y)
            column, column_rest = divmod(x + edge_x - j * gap_x, step_x)
            if row_rest == column_rest == 0 and 0 <= row < outputs[0] and 0 <= column < outputs[1]:
                count += conv.out_channels // conv.groups
    return count


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 5, "padding": 4, "dilation": 2, "groups": 4},
        {"kernel_size": 1, "stride": 2, "groups": 2},
        {"kernel_size": (1, 3), "stride": (2, 1), "padding": (0, 1)},
    ],
    ids=str,
)
def test_every_spike_counts_once_per_weight_it_meets(options):
    conv = nn.Conv2d(4, 8, bias=False, **options)
    network = Spiking(2, conv)
    images = torch.rand(3, 4, 7, 6)
    spikes = network.neuron(present_static(images, 2))
    nn.init.ones_(conv.weight)  # then every output counts the spikes that reached it
    assert measure(network, images).sops == pytest.approx(conv(spikes).sum().item() / 3)
    assert measure(network, images).macs == 0


def test_twice_the_spikes_are_twice_the_operations():
    """The firing rate enters once; billing it twice would make this a factor of four."""
    network = Spiking(1, nn.Linear(100, 7))
    few, many = (measure(network, torch.tensor([[1.0] * n + [0.0] * (100 - n)])) for n in (10, 20))
    assert (few.sops, many.sops) == (70, 140)


def test_layers_that_read_real_values_are_billed_as_macs():
    pointwise_behind_depthwise = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.Conv2d(4, 6, 1, bias=False)
    )
    activity = measure(Spiking(2, pointwise_behind_depthwise), torch.zeros(1, 4, 5, 5))
    assert activity.sops == 0  # nothing spikes
    assert activity.macs == 2 * 25 * 4 * 6  # T, positions, inputs, outputs: whatever the values


def test_views_of_spikes_are_spikes():
    reduce = FactorizedReduce(4, 6).eval()
    activity = measure(Spiking(1, reduce), torch.ones(1, 4, 6, 6))
    assert activity.macs == 0
    assert activity.sops == 2 * 9 * 4 * 3  # two convolutions, each reads a quarter of the pixels


def test_pools_skips_and_gates():
    assert measure(nn.Sequential(nn.MaxPool2d(3, 2, 1)), torch.ones(1, 2, 6, 6)).macs == 2 * 9 * 9
    skip = SkipConnect(2, 1, lambda: LIF(1, NeuronSettings()), False)
    assert measure(nn.Sequential(skip), torch.ones(1, 2, 6, 6)).macs == 2 * 36
    ct = nn.Sequential(ChannelTemporalAttention(64, 1, CTOptions()))
    assert measure(ct, torch.ones(1, 64, 6, 6)).macs == 64 * 36 + 64 * 3
    ma = nn.Sequential(MultiDimensionalAttention(32, 1, MAOptions()))
    assert measure(ma, torch.ones(1, 32, 6, 6)).macs == 2 * 32 * 36 + 2 * (2 * 32 * 2) + 36 * 2 * 49


def test_the_energy_formula():
    assert Activity(0, {}, 0, {}, sops=2e6, macs=3e6).energy_uj == pytest.approx(0.9 * 2 + 4.6 * 3)


def derived(num_steps: int, operation: str = "sep_conv_3x3") -> DerivedNetwork:
    node = (Edge(operation, 0), Edge(operation, 1))
    operations = {name: resolve("operations", name) for name in ALL}
    torch.manual_seed(0)
    macro = Macro(10, (1, 8, 8), channels=4, layers=3, num_steps=num_steps)
    return DerivedNetwork(macro, Genotype((node,) * 4, (node,) * 4), operations).eval()


def test_the_stem_is_billed_once_per_image():
    """Without spikes the MACs grow with T in all but the stem."""
    black = torch.full((1, 1, 8, 8), 0.0)
    one, two, three = (measure(derived(num_steps), black).macs for num_steps in (1, 2, 3))
    stem = 64 * 12 * 9
    assert two - one == three - two
    assert one - stem == two - one


def test_cells_add_up_and_halves_add_up_to_the_whole():
    network, images = derived(2), torch.rand(8, 1, 8, 8) * 4
    whole, halves = measure(network, images), measure(network, images[:4], images[4:])
    assert whole == halves
    assert set(whole.spikes_per_cell) == {"stem", "cells.0", "cells.1", "cells.2"}  # no auxiliary head
    assert whole.spikes == pytest.approx(sum(whole.spikes_per_cell.values()))


def test_neurons_that_serve_two_operations_fire_once():
    """Both operations of a node read input 0: one population before them, one inside each separable convolution."""
    network = derived(1)
    populations = [name for name, module in network.cells[0].named_modules() if isinstance(module, LIF)]
    inside = [name for name in populations if name.startswith("nodes")]
    assert len(inside) == 8
    counted = []
    for name, module in network.cells[0].named_modules():
        if isinstance(module, LIF):
            module.register_forward_hook(lambda *_, name=name: counted.append(name))
    with torch.no_grad():
        network(torch.rand(1, 1, 8, 8))
    assert sorted(counted) == sorted([*inside, "neurons.0", "neurons.1", "output_neuron"])


@pytest.mark.parametrize("operation", ALL)
def test_a_network_of_any_operation_can_be_measured(operation):
    activity = measure(derived(2, operation), torch.rand(2, 1, 8, 8))
    assert activity.macs > 0
    assert activity.energy_uj > 0


def test_a_separable_convolution_by_hand():
    operation = SepConv3x3(2, 1, lambda: LIF(1, NeuronSettings(v_th=1e9)), False).eval()
    activity = measure(Spiking(1, operation), torch.ones(1, 2, 4, 4))
    taps_inside = sum((3 - (y in (0, 3))) * (3 - (x in (0, 3))) for y in range(4) for x in range(4))
    assert activity.sops == 2 * taps_inside
    assert activity.macs == 2 * 16 * 4  # two pointwise convolutions; the second depthwise one reads silent neurons

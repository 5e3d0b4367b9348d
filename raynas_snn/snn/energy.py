"""Counts what a spiking network does for one image: spikes, synaptic operations, energy.

The rule, in one place because published spike counts differ by factors of ten:

- **Spikes**: sum of the outputs of all neurons over all time steps, per image, by cell and in total. Neurons that
  serve several operations are one population and count once. The auxiliary head does not run in evaluation.
- **Synaptic operations (SOPs)**: for a layer that reads spikes, every spike counts once per weight that it is
  multiplied by, exactly, with stride, groups and padding. The firing rate enters only through the spikes.
- **MACs**: for a layer that reads real values, outputs x weights per output. The stem runs once per image, not once
  per step. Pointwise convolutions behind depthwise ones, attention and the classifier read real values. Pools count
  one MAC per window element, skips and attention gates one per element (our choice, an upper estimate).
- **Energy**: 4.6 pJ per MAC and 0.9 pJ per SOP (32-bit float, 45 nm; Horowitz, ISSCC 2014). BatchNorm is assumed to be
  folded into the weights. Memory traffic, which can dominate on real hardware, is not included.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas_snn.snn.meter import Meter, Observer
from raynas_snn.snn.neuron import Neuron

PICOJOULE_PER_MAC = 4.6
PICOJOULE_PER_SOP = 0.9

# Keys of a meter's totals, followed by the part of the network; a chance is a neuron at a time step.
SPIKES, CHANCES = "spikes/", "chances/"


@dataclass(frozen=True)
class Activity:
    """Mean activity of a network per image.

    >>> activity = Activity(9.0, {"stem": 9.0}, firing_rate=0.1, firing_rate_per_cell={"stem": 0.1}, sops=1e6, macs=1e6)
    >>> round(activity.energy_uj, 1)
    5.5

    Attributes:
        spikes: Spikes per image, summed over time steps.
        spikes_per_cell: The same by part of the network (``cells.0``, ``cells.1``, ...).
        firing_rate: Spikes per neuron and time step.
        firing_rate_per_cell: The same by part of the network.
        sops: Accumulates triggered by spikes, per image.
        macs: Multiply-accumulates on real values, per image.
    """

    spikes: float
    spikes_per_cell: dict[str, float]
    firing_rate: float
    firing_rate_per_cell: dict[str, float]
    sops: float
    macs: float

    @property
    def energy_uj(self) -> float:
        """Energy per image in microjoule, ``4.6 pJ * macs + 0.9 pJ * sops``."""
        return (PICOJOULE_PER_MAC * self.macs + PICOJOULE_PER_SOP * self.sops) * 1e-6

    @classmethod
    def from_totals(cls, totals: Mapping[str, float]) -> "Activity":
        """Averages the totals of a meter (or their sum over several workers) over the images."""
        images = totals["images"]
        spikes, chances = (
            {key.removeprefix(kind): value for key, value in totals.items() if key.startswith(kind)}
            for kind in (SPIKES, CHANCES)
        )
        return cls(
            spikes=sum(spikes.values()) / images,
            spikes_per_cell={part: count / images for part, count in spikes.items()},
            firing_rate=sum(spikes.values()) / max(1.0, sum(chances.values())),
            firing_rate_per_cell={part: count / chances[part] for part, count in spikes.items()},
            sops=totals["sops"] / images,
            macs=totals["macs"] / images,
        )


class ActivityMeter(Meter):
    """Counts while a network runs inside ``with ActivityMeter(network) as meter:``.

    A layer is taken to read spikes if its input is the output of a neuron or a view of it; the values are not
    examined. Layers are `Conv2d`, `Linear` and the pools of torch; any other module that works on real values
    declares ``macs_per_output``.

    >>> with ActivityMeter(network := nn.Sequential(nn.Linear(3, 2))) as meter:
    ...     out = network(torch.ones(5, 3))
    >>> Activity.from_totals(meter.totals()).macs
    6.0

    Args:
        network: Anything with `Neuron` modules inside.
        synapses: Also count SOPs and MACs; spikes alone are cheaper.
    """

    def __init__(self, network: nn.Module, synapses: bool = True) -> None:
        super().__init__(network)
        self._synapses = synapses
        self._totals: dict[str, Tensor] = {}
        self._images = 0
        self._spike_trains: dict[int, Tensor] = {}  # by address; held so that no address is used twice
        self._fan_outs: dict[tuple[object, ...], Tensor] = {}

    def observer(self, name: str, module: nn.Module) -> Observer | None:
        """Counts the spikes of neurons, and the synaptic operations and MACs of all other layers."""
        if isinstance(module, Neuron):
            return partial(self._count_spikes, part_of(name))
        if not self._synapses:
            return None
        if isinstance(module, nn.Conv2d | nn.Linear):
            return self._count_synapses
        macs = _macs_per_output(module)
        return partial(self._count_macs, macs) if macs > 0 else None

    def __enter__(self) -> Self:
        self._handles.append(self.network.register_forward_pre_hook(self._before_network))
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._spike_trains.clear()

    def totals(self) -> dict[str, float]:
        """Sums over all images so far; add those of several workers key by key."""
        sums: defaultdict[str, float] = defaultdict(float, {"sops": 0.0, "macs": 0.0})
        sums.update({key: float(value) for key, value in self._totals.items()})
        sums["images"] = float(self._images)
        return dict(sums)

    def _add(self, key: str, amount: Tensor | float) -> None:
        amount = torch.as_tensor(amount, dtype=torch.float64)
        self._totals[key] = self._totals[key] + amount if key in self._totals else amount

    def _before_network(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._spike_trains.clear()
        self._images += inputs[0].shape[0]

    def _count_spikes(self, part: str, neuron: Neuron, inputs: object, spikes: Tensor) -> None:
        self._spike_trains[spikes.untyped_storage().data_ptr()] = spikes
        self._add(SPIKES + part, spikes.sum(dtype=torch.float64))
        self._add(CHANCES + part, float(spikes.numel()))

    def _count_macs(self, macs_per_output: int, module: nn.Module, inputs: object, output: Tensor) -> None:
        self._add("macs", float(output.numel() * macs_per_output))

    def _count_synapses(self, layer: nn.Conv2d | nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0]
        if x.untyped_storage().data_ptr() not in self._spike_trains:
            self._add("macs", float(output.numel() * layer.weight[0].numel()))
        elif isinstance(layer, nn.Linear):
            self._add("sops", x.sum(dtype=torch.float64) * layer.out_features)
        else:
            spikes_HW = x.sum(dim=(0, 1), dtype=torch.float64)
            self._add("sops", (spikes_HW * self._fan_out(layer, x, output)).sum())

    def _fan_out(self, conv: nn.Conv2d, x: Tensor, output: Tensor) -> Tensor:
        """How many weights a spike at each position of the input meets, ``[H, W]``."""
        geometry = (
            conv.kernel_size,
            conv.stride,
            conv.padding,
            conv.dilation,
            *x.shape[2:],
            *output.shape[2:],
        )
        if geometry not in self._fan_outs:
            kernel = x.new_ones((1, 1, *conv.kernel_size))
            with torch.enable_grad():
                position = torch.zeros_like(x[:1, :1], requires_grad=True)
                reached = F.conv2d(position, kernel, None, conv.stride, conv.padding, conv.dilation)
                (windows,) = torch.autograd.grad(reached.sum(), position)
            self._fan_outs[geometry] = windows[0, 0].double()
        return self._fan_outs[geometry] * (conv.out_channels // conv.groups)


def part_of(module_name: str) -> str:
    """The part of a network that a module's spikes are reported under: ``cells.2.neurons.0`` is ``cells.2``."""
    first, _, rest = module_name.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first == "cells" else first


def _macs_per_output(module: nn.Module) -> int:
    """Real-valued operations per output element of a module without weights."""
    if isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
        size = module.kernel_size
        return size * size if isinstance(size, int) else size[0] * size[1]
    return int(getattr(module, "macs_per_output", 0))

"""Sparsity-aware Hamming distance (SAHD): scores an untrained network (SNASNet, ECCV 2022).

The score rests on the assumption that a network which separates images before training will train better. The binary
code of an image is the spikes of one population of N_A neurons at one time step. Random codes of sparse populations lie
closer together than those of populations that fire half of the time. A distance is therefore divided by its expectation
for random codes with the same firing rates. With firing rate r_i of image i and Hamming distance d_ij of two codes,

    E_ij = N_A * (r_i * (1 - r_j) + (1 - r_i) * r_j),    K_ij = N_A - alpha_ij * d_ij.

K is averaged over all populations and time steps; the score is ``log |det K|``.

The released code has ``alpha_ij = 0.5 / (E_ij + 1e-3)``. The subtracted term then stays near 0.5 however large N_A is,
so K is almost constant. We take the intended factor to be ``alpha_ij = 0.5 * N_A / E_ij`` (our choice): random codes
then have ``K_ij = N_A / 2`` whatever their sparsity, as half-active random codes have without any correction.
Then log |det K| of N images contains N log N_A, so large populations score high by their size alone. ``normalised``
(ours) divides each K by its N_A, so every population counts equally.
"""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from raynas_snn.snn.meter import Meter, Observer
from raynas_snn.snn.neuron import Neuron

Formula = Literal["corrected", "released", "normalised"]


def sahd_score(network: nn.Module, batches: Iterable[Tensor], formula: Formula) -> float:
    """The score of an untrained network, the mean over batches; more is better.

    BatchNorm uses the statistics of the batch, because an untrained network has no running statistics. Only these
    change in the network.

    Args:
        network: Takes images ``[N, C, H, W]`` and holds neurons.
        batches: Images, at least one batch.
        formula: Which alpha.

    Returns:
        A finite number, or -inf if two images look the same to all neurons.
    """
    network.train()
    scores: list[float] = []
    for images in batches:
        with torch.no_grad(), KernelMeter(network, formula) as meter:
            network(images)
        scores.append(meter.score())
    return sum(scores) / len(scores)


class KernelMeter(Meter):
    """Adds up the kernels of all neurons while a network runs inside ``with KernelMeter(network, formula)``.

    >>> from raynas_snn.snn.neuron import LIF, NeuronSettings
    >>> network = nn.Sequential(LIF(2, NeuronSettings()))
    >>> with KernelMeter(network, "corrected") as meter:
    ...     spikes = network(torch.eye(4).repeat(2, 1))  # four images at two steps, each with a spike of its own
    >>> round(meter.score(), 3)
    5.022
    """

    def __init__(self, network: nn.Module, formula: Formula) -> None:
        super().__init__(network)
        self._formula = formula
        self._sum: Tensor | None = None
        self._calls = 0

    def observer(self, name: str, module: nn.Module) -> Observer | None:
        """Watches the neurons."""
        return self._add if isinstance(module, Neuron) else None

    def score(self) -> float:
        """``log |det K|`` of the mean kernel of all populations and time steps."""
        if self._sum is None:
            raise ValueError("no neuron has fired or could have: the network has not run")
        kernel = self._sum / self._calls
        if int((kernel == kernel.diagonal()[:, None]).sum()) > len(kernel):
            return -math.inf  # two images with the same codes; rounding would make something of the zero
        score = float(torch.linalg.slogdet(kernel).logabsdet)
        return -math.inf if math.isnan(score) else score

    def _add(self, neuron: Neuron, inputs: object, spikes: Tensor) -> None:
        codes_TNA = spikes.unflatten(0, (neuron.num_steps, -1)).flatten(2)
        total = kernels(codes_TNA, self._formula).sum(dim=0)
        self._sum = total if self._sum is None else self._sum + total
        self._calls += neuron.num_steps


def kernels(codes_TNA: Tensor, formula: Formula) -> Tensor:
    """K of every time step, ``[T, N, N]`` in float64, from binary codes ``[T, N, N_A]``.

    If the expected distance is zero, because both images leave all neurons silent or make all of them fire,
    ``K_ij = N_A``.
    """
    size = codes_TNA.shape[2]
    counts = codes_TNA.sum(dim=2, dtype=torch.float64)
    both = (codes_TNA @ codes_TNA.transpose(1, 2)).double()  # of 0 and 1: exact below 2**24 neurons
    row, column = counts.unsqueeze(2), counts.unsqueeze(1)
    distance = row + column - 2 * both
    expected = row + column - 2 * row * column / size
    if formula == "released":
        return size - 0.5 / (expected + 1e-3) * distance
    share = torch.where(expected > 0, distance / expected.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    kernel = 1 - 0.5 * share
    return kernel if formula == "normalised" else size * kernel

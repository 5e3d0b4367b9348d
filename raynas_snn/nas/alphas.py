"""Architecture parameters and their softmax, the weights of the candidates."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from raynas_snn.nas.edges import num_edges


class Mixture(NamedTuple):
    """The softmaxed alphas: how much each candidate weighs on each edge, ``[edges, operations]`` by kind of cell."""

    normal: Tensor
    reduction: Tensor


class Alphas(nn.Module):
    """Architecture parameters: a logit per edge and candidate, one table per kind of cell, shared by all its cells.

    >>> Alphas(num_nodes=4, num_operations=8)().normal.shape
    torch.Size([14, 8])
    """

    def __init__(self, num_nodes: int, num_operations: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        shape = (num_edges(num_nodes), num_operations)
        self.normal = nn.Parameter(1e-3 * torch.randn(shape, generator=generator))
        self.reduction = nn.Parameter(1e-3 * torch.randn(shape, generator=generator))

    def forward(self) -> Mixture:
        """Softmax over the candidates of each edge (MA-DARTS eq. 12)."""
        return Mixture(self.normal.softmax(dim=1), self.reduction.softmax(dim=1))

    @torch.no_grad()
    def entropy(self) -> tuple[float, float]:
        """Mean entropy over edges as a share of its maximum: 1 = undecided, 0 = one candidate per edge."""
        entropies = [-(p * p.clamp_min(1e-12).log()).sum(dim=1).mean() for p in self()]
        most = math.log(self.normal.shape[1])
        return float(entropies[0]) / most, float(entropies[1]) / most

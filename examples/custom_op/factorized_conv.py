"""An operation and a search space of one's own; nothing in raynas_snn knows of them.

A package that many people use would give them short names instead, in its pyproject.toml::

    [project.entry-points."raynas_snn.operations"]
    conv_7x1_1x7 = "my_package.factorized_conv:FactorizedConv"
"""

from dataclasses import replace

import torch
from torch import nn

from raynas_snn import SearchSpace
from raynas_snn.nas.operations import MakeNeuron, Operation
from raynas_snn.snn.normalise import BatchNorm
from search_spaces.darts_snn import darts_snn


class FactorizedConv(Operation):
    """A 7x1 convolution after a 1x7 one, as in AmoebaNet; it starts from the spikes of its source."""

    def __init__(self, channels: int, stride: int, make_neuron: MakeNeuron, searching: bool) -> None:
        super().__init__(channels, stride, make_neuron, searching)
        self.row = nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False)
        self.column = nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False)
        self.norm = BatchNorm(channels, searching)

    def forward(self, x: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        """Maps spikes ``[T*N, C, H, W]``; the scale is the weight of this candidate while searching."""
        out: torch.Tensor = self.norm(self.column(self.row(x)), scale)
        return out


def space() -> SearchSpace:
    """The cell of DARTS with one candidate more."""
    base = darts_snn()
    return replace(
        base,
        name="factorized_conv:space",
        description="darts_snn with a factorized 7x7 convolution",
        operations=(*base.operations, "factorized_conv:FactorizedConv"),
    )

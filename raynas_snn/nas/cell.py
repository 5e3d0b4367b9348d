"""The base class of all cells, and the cell of a derived network.

A cell reads the spikes of the two cells before it and returns the real-valued concatenation of its nodes, weighted by
attention; ``fire`` turns that into the spikes that the next cells read.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn

from raynas_snn.nas.convolutions import PointwiseConv2d
from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.genotype import Node
from raynas_snn.nas.macro import CellPlan, Macro
from raynas_snn.nas.operations import FactorizedReduce, Operation
from raynas_snn.snn.normalise import BatchNorm

MakeOperation = Callable[..., Operation]


class Source:
    """An input of a cell or the output of one of its nodes; its neurons fire once for all operations that read it."""

    def __init__(self, values: Tensor, neuron: nn.Module) -> None:
        self.values = values
        self._neuron = neuron
        self._spikes: Tensor | None = None

    @property
    def spikes(self) -> Tensor:
        """The spikes of the neurons, same shape as the values."""
        if self._spikes is None:  # no cached_property: its lock breaks torch.compile's graph before Python 3.12
            self._spikes = cast(Tensor, self._neuron(self.values))
        return self._spikes

    def read_by(self, operation: Operation) -> Tensor:
        """The input of an operation: spikes or real values."""
        return self.spikes if operation.reads_spikes else self.values


class Cell(nn.Module):
    """Preprocessing of the inputs, a population of neurons per source, attention, output neurons.

    Args:
        plan: Widths and strides.
        macro: The outer shape of the network.
        searching: Whether BatchNorm has no affine weights, as in searches.
    """

    def __init__(self, plan: CellPlan, macro: Macro, searching: bool) -> None:
        super().__init__()
        self.plan = plan
        channels = plan.channels
        self.preprocess_0 = (
            FactorizedReduce(plan.channels_before_previous, channels, searching)
            if plan.reduction_before
            else pointwise(plan.channels_before_previous, channels, searching)
        )
        self.preprocess_1 = pointwise(plan.channels_previous, channels, searching)
        self.neurons = nn.ModuleList(macro.make_neuron() for _ in range(plan.num_nodes + 1))
        self.attention = macro.make_attention(plan)
        self.output_neuron = macro.make_neuron()

    def fire(self, features: Tensor) -> Tensor:
        """The spikes that the next cells read."""
        spikes: Tensor = self.output_neuron(features)
        return spikes

    def inputs(self, before_previous: Tensor, previous: Tensor) -> list[Source]:
        """The sources 0 and 1, from the spikes ``[T*N, C, H, W]`` of the two cells before."""
        return [
            Source(self.preprocess_0(before_previous), self.neurons[0]),
            Source(self.preprocess_1(previous), self.neurons[1]),
        ]

    def output(self, nodes: Sequence[Tensor]) -> Tensor:
        """Concatenates the nodes and applies attention: features ``[T*N, num_nodes * channels, H', W']``."""
        features: Tensor = self.attention(torch.cat(list(nodes), dim=1))
        return features

    def add_up(
        self,
        wiring: Iterable[Iterable[tuple[int, Operation]]],
        before_previous: Tensor,
        previous: Tensor,
        drop_path: DropPath | None,
    ) -> Tensor:
        """Lets each node add up operations, given as pairs of source and operation; returns the cell's features.

        ``drop_path``, if given, drops any operation except identities for some images.
        """
        sources, nodes = self.inputs(before_previous, previous), []
        for pairs in wiring:
            paths = []
            for source, op in pairs:
                path = op(sources[source].read_by(op))
                paths.append(drop_path(path) if drop_path is not None and op.droppable else path)
            nodes.append(reduce(torch.add, paths))
            if len(sources) < len(self.neurons):  # no node reads the last one
                sources.append(Source(nodes[-1], self.neurons[len(sources)]))
        return self.output(nodes)


class DerivedCell(Cell):
    """Each node adds up the operations that the genotype keeps."""

    def __init__(
        self, plan: CellPlan, macro: Macro, nodes: Sequence[Node], operations: Mapping[str, MakeOperation]
    ) -> None:
        super().__init__(plan, macro, searching=False)
        self.sources = [[edge.source for edge in node] for node in nodes]
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                operations[edge.operation](plan.channels, plan.stride(edge.source), macro.make_neuron, False)
                for edge in node
            )
            for node in nodes
        )

    def forward(self, before_previous: Tensor, previous: Tensor, drop_path: DropPath | None = None) -> Tensor:
        """Maps the spikes of the two cells before to features ``[T*N, num_nodes * channels, H', W']``."""
        operations = cast(Iterable[Iterable[Operation]], self.nodes)
        wiring = [zip(sources, node, strict=True) for sources, node in zip(self.sources, operations, strict=True)]
        return self.add_up(wiring, before_previous, previous, drop_path)


def pointwise(channels_in: int, channels_out: int, searching: bool) -> nn.Sequential:
    """A cell's preprocessing of spikes: 1x1 convolution and BatchNorm."""
    return nn.Sequential(PointwiseConv2d(channels_in, channels_out), BatchNorm(channels_out, searching))

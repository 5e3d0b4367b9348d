"""The two kinds of cell: one that holds every candidate (search), one that holds what was chosen (derived).

Both read the spikes of the two cells before them and return the real-valued concatenation of their nodes, weighed by
attention; ``fire`` turns it into the spikes that the next cells read.
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
from raynas_snn.nas.mixture import add_mixtures
from raynas_snn.nas.operations import FactorizedReduce, Operation, Zero
from raynas_snn.snn.normalise import BatchNorm

MakeOperation = Callable[..., Operation]


class Source:
    """A node's output as the operations on its outgoing edges read it; its neurons fire once for all of them."""

    def __init__(self, values: Tensor, neuron: nn.Module) -> None:
        self.values = values
        self._neuron = neuron
        self._spikes: Tensor | None = None

    @property
    def spikes(self) -> Tensor:
        """The spikes of the node's neurons, same shape as its values."""
        if self._spikes is None:  # no cached_property: its lock breaks torch.compile's graph before Python 3.12
            self._spikes = cast(Tensor, self._neuron(self.values))
        return self._spikes

    def read_by(self, operation: Operation) -> Tensor:
        """What an operation starts from."""
        return self.spikes if operation.reads_spikes else self.values


class Cell(nn.Module):
    """What both kinds have in common: preprocessing, neurons of the sources, attention, output neurons."""

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

    def _source(self, index: int, values: Tensor) -> Source:
        return Source(values, self.neurons[index])


class SearchCell(Cell):
    """Every edge carries every candidate, weighed by alpha (MA-DARTS eq. 11-12)."""

    def __init__(self, plan: CellPlan, macro: Macro, operations: Mapping[str, MakeOperation]) -> None:
        super().__init__(plan, macro, searching=True)
        self.columns = {module_key(name): column for column, name in enumerate(operations)}
        self.shared = nn.ModuleList()  # per source: candidates without weights of their own
        self.edges = nn.ModuleList()  # per edge, ordered by node, then by source: the other candidates

        def candidates(source: int) -> dict[str, Operation]:
            built = {
                module_key(name): make(plan.channels, plan.stride(source), macro.make_neuron, True)
                for name, make in operations.items()
            }
            return {key: op for key, op in built.items() if not isinstance(op, Zero)}

        for source in range(plan.num_nodes + 1):
            self.shared.append(nn.ModuleDict({key: op for key, op in candidates(source).items() if op.per_source}))
        for node in range(plan.num_nodes):
            for source in range(node + 2):
                own = {key: op for key, op in candidates(source).items() if not op.per_source}
                self.edges.append(nn.ModuleDict(own))

    def forward(
        self, before_previous: Tensor, previous: Tensor, weights: Tensor, drop_path: DropPath | None = None
    ) -> Tensor:
        """Mixes all candidates.

        Args:
            before_previous: Spikes ``[T*N, C, H, W]`` of the cell before the previous one (or of the stem).
            previous: Spikes of the previous cell.
            weights: Softmaxed alphas ``[edges, operations]``.
            drop_path: Drops candidates that have weights of their own for some images.

        Returns:
            Features ``[T*N, num_nodes * channels, H', W']``.
        """
        weight_of = [row.unbind() for row in weights.unbind()]
        states = [self.preprocess_0(before_previous), self.preprocess_1(previous)]
        totals: list[Tensor | None] = [None] * self.plan.num_nodes  # what has reached each node so far
        for j in range(self.plan.num_nodes + 1):
            source = self._source(j, states[j])
            edges = {node: node * (node + 3) // 2 + j for node in range(max(0, j - 1), self.plan.num_nodes)}
            for node, edge in edges.items():
                for key, op in _operations(self.edges[edge]):
                    x, weight = source.read_by(op), weight_of[edge][self.columns[key]]
                    if drop_path is None:
                        totals[node] = op.add_to(totals[node], x, weight)
                    else:
                        totals[node] = _sum(totals[node], drop_path(op(x, weight)))
            if shared := dict(_operations(self.shared[j])):
                maps = [op(source.read_by(op)) for op in shared.values()]
                mixed = [weight_of[edge][self.columns[key]] for edge in edges.values() for key in shared]
                so_far = [torch.zeros_like(maps[0]) if total is None else total for total in totals[-len(edges) :]]
                totals[-len(edges) :] = add_mixtures(so_far, maps, torch.stack(mixed).view(len(edges), -1))
            if j >= 1:  # node j - 1 reads no source beyond this one
                states.append(cast(Tensor, totals[j - 1]))
        features: Tensor = self.attention(torch.cat(states[2:], dim=1))
        return features


class DerivedCell(Cell):
    """Each node adds up the operations it kept."""

    def __init__(
        self, plan: CellPlan, macro: Macro, nodes: Sequence[Node], operations: Mapping[str, MakeOperation]
    ) -> None:
        super().__init__(plan, macro, searching=False)
        self.wiring = nodes
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                operations[edge.operation](plan.channels, plan.stride(edge.source), macro.make_neuron, False)
                for edge in node
            )
            for node in nodes
        )

    def forward(self, before_previous: Tensor, previous: Tensor, drop_path: DropPath | None = None) -> Tensor:
        """Maps the spikes of the two cells before to features ``[T*N, num_nodes * channels, H', W']``.

        Where there is ``drop_path``, it drops any operation but identities for some images.
        """
        states = [self.preprocess_0(before_previous), self.preprocess_1(previous)]
        sources = [self._source(j, state) for j, state in enumerate(states)]
        for edges, operations in zip(self.wiring, self.nodes, strict=True):
            pairs = zip(edges, cast(Iterable[Operation], operations), strict=True)
            paths = []
            for edge, op in pairs:
                path = op(sources[edge.source].read_by(op))
                paths.append(drop_path(path) if drop_path is not None and op.droppable else path)
            states.append(reduce(torch.add, paths))
            if len(sources) <= self.plan.num_nodes:
                sources.append(self._source(len(sources), states[-1]))
        features: Tensor = self.attention(torch.cat(states[2:], dim=1))
        return features


def module_key(operation: str) -> str:
    """Under which name a cell holds a candidate: an import path has dots, the name of a module must not."""
    return operation.replace(".", "/")


def pointwise(channels_in: int, channels_out: int, searching: bool) -> nn.Sequential:
    """A cell's preprocessing of an input that already spikes: 1x1 convolution and BatchNorm."""
    return nn.Sequential(PointwiseConv2d(channels_in, channels_out), BatchNorm(channels_out, searching))


def _sum(total: Tensor | None, path: Tensor) -> Tensor:
    return path if total is None else total + path


def _operations(named: nn.Module) -> Iterable[tuple[str, Operation]]:
    return cast(nn.ModuleDict, named).items()  # type: ignore[return-value]

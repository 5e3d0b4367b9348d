"""The cells of searches, which hold every candidate on every edge; `SearchCell` mixes them by the alphas."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from raynas_snn.nas.cell import Cell, MakeOperation, Source
from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.edges import edge_index
from raynas_snn.nas.macro import CellPlan, Macro
from raynas_snn.nas.mixed_operation import add_mixtures
from raynas_snn.nas.operations import Operation, Zero


class CandidateCell(Cell):
    """Holds every candidate on every edge.

    Candidates without weights of their own are held once per source (``shared``), the others once per edge
    (``edges``, in the order of `raynas_snn.nas.edges`). ``none`` is not held: it adds nothing.
    """

    def __init__(self, plan: CellPlan, macro: Macro, operations: Mapping[str, MakeOperation]) -> None:
        super().__init__(plan, macro, searching=True)
        self.columns = {module_key(name): column for column, name in enumerate(operations)}

        def candidates(source: int, belongs: Callable[[Operation], bool]) -> nn.ModuleDict:
            built = {
                module_key(name): make(plan.channels, plan.stride(source), macro.make_neuron, True)
                for name, make in operations.items()
            }
            return nn.ModuleDict({key: op for key, op in built.items() if not isinstance(op, Zero) and belongs(op)})

        self.shared = nn.ModuleList(
            candidates(source, lambda op: op.per_source) for source in range(plan.num_nodes + 1)
        )
        self.edges = nn.ModuleList(
            candidates(source, lambda op: not op.per_source)
            for node in range(plan.num_nodes)
            for source in range(node + 2)
        )

    def shared_candidates(self, source: int) -> dict[str, Operation]:
        """The candidates that all edges from a source share."""
        return _operations(self.shared[source])

    def own_candidates(self, node: int, source: int) -> dict[str, Operation]:
        """The candidates that the edge from a source to a node has for itself."""
        return _operations(self.edges[edge_index(node, source)])


class SearchCell(CandidateCell):
    """Each node adds up all candidates of all its edges, weighted by the softmaxed alphas (MA-DARTS eq. 11-12)."""

    def forward(
        self, before_previous: Tensor, previous: Tensor, mixture: Tensor, drop_path: DropPath | None = None
    ) -> Tensor:
        """Mixes all candidates, source by source.

        Args:
            before_previous: Spikes ``[T*N, C, H, W]`` of the cell before the previous one (or of the stem).
            previous: Spikes of the previous cell.
            mixture: Softmaxed alphas ``[edges, operations]``.
            drop_path: Drops candidates that have weights of their own for some images.

        Returns:
            Features ``[T*N, num_nodes * channels, H', W']``.
        """
        num_nodes = self.plan.num_nodes
        weight_of = [row.unbind() for row in mixture.unbind()]  # by edge, by column
        sources = self.inputs(before_previous, previous)
        nodes: list[Tensor | None] = [None] * num_nodes  # what has reached each node so far
        for index in range(num_nodes + 1):
            source, readers = sources[index], range(max(0, index - 1), num_nodes)
            for node in readers:
                weights = weight_of[edge_index(node, index)]
                for key, op in self.own_candidates(node, index).items():
                    x, weight = source.read_by(op), weights[self.columns[key]]
                    if drop_path is None:
                        nodes[node] = op.add_to(nodes[node], x, weight)
                    else:
                        nodes[node] = _sum(nodes[node], drop_path(op(x, weight)))
            if shared := self.shared_candidates(index):
                maps = [op(source.read_by(op)) for op in shared.values()]
                rows = [weight_of[edge_index(node, index)][self.columns[key]] for node in readers for key in shared]
                so_far = [torch.zeros_like(maps[0]) if total is None else total for total in nodes[readers.start :]]
                nodes[readers.start :] = add_mixtures(so_far, maps, torch.stack(rows).view(len(readers), -1))
            if 1 <= index < num_nodes:  # all that node index - 1 reads has reached it; no node reads the last one
                sources.append(Source(cast(Tensor, nodes[index - 1]), self.neurons[index + 1]))
        return self.output(cast(list[Tensor], nodes))


def module_key(operation: str) -> str:
    """The submodule name of a candidate: an import path has dots, which the name of a module must not."""
    return operation.replace(".", "/")


def _sum(total: Tensor | None, path: Tensor) -> Tensor:
    return path if total is None else total + path


def _operations(named: nn.Module) -> dict[str, Operation]:
    return dict(cast(nn.ModuleDict, named).items())  # type: ignore[arg-type]

"""A supernet of which one path runs at a time: each edge that the genotype keeps runs one candidate (SPOS, AutoSNN)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas_snn.nas.bilevel import StepResult, with_auxiliary
from raynas_snn.nas.cell import MakeOperation, SearchCell, Source, module_key
from raynas_snn.nas.genotype import Edge, Genotype, Node
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import CellNetwork
from raynas_snn.nas.operations import Operation


class SinglePathNetwork(CellNetwork):
    """All candidates of a `Supernet`, each with weights and BatchNorm statistics of its own; one path runs.

    A path is the network that its genotype describes, but for BatchNorm as it is in searches: without affine weights,
    and also behind pools.
    """

    def __init__(self, macro: Macro, operations: Mapping[str, MakeOperation], auxiliary: bool = False) -> None:
        super().__init__(macro, lambda plan: SearchCell(plan, macro, operations), auxiliary)

    def forward(self, images: Tensor, genotype: Genotype) -> tuple[Tensor, Tensor | None]:
        """Classifies ``images [N, C, H, W]`` along the path of a genotype.

        Returns:
            Logits ``[N, classes]``, and those of the auxiliary head in training mode if there is one.
        """

        def run_cell(cell: nn.Module, before_previous: Tensor, previous: Tensor) -> Tensor:
            assert isinstance(cell, SearchCell)
            nodes = genotype.reduction if cell.plan.reduction else genotype.normal
            return run_path(cell, nodes, before_previous, previous)

        return self.classify(images, run_cell)


def run_path(cell: SearchCell, nodes: Sequence[Node], before_previous: Tensor, previous: Tensor) -> Tensor:
    """One path through a cell: spikes of the two cells before to features ``[T*N, num_nodes * channels, H', W']``."""
    states = [cell.preprocess_0(before_previous), cell.preprocess_1(previous)]
    sources = [Source(state, cell.neurons[j]) for j, state in enumerate(states)]
    for index, node in enumerate(nodes):
        pairs = [(edge, _candidate(cell, index, edge)) for edge in node]
        states.append(reduce(torch.add, [op(sources[edge.source].read_by(op)) for edge, op in pairs]))
        if len(sources) <= cell.plan.num_nodes:
            sources.append(Source(states[-1], cell.neurons[len(sources)]))
    features: Tensor = cell.attention(torch.cat(states[2:], dim=1))
    return features


def _candidate(cell: SearchCell, node: int, edge: Edge) -> Operation:
    """The module of an operation on the edge from a source to a node."""
    shared = cast(nn.ModuleDict, cell.shared[edge.source])
    own = cast(nn.ModuleDict, cell.edges[node * (node + 3) // 2 + edge.source])
    key = module_key(edge.operation)
    return cast(Operation, (shared if key in shared else own)[key])


def path_step(
    network: SinglePathNetwork,
    genotype: Genotype,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    average: Callable[[Sequence[Tensor]], None],
    grad_clip: float,
    auxiliary_weight: float = 0.0,
) -> StepResult:
    """One step of the weights along a path; the other candidates, their momentum included, stay as they are.

    Args:
        network: The network.
        genotype: The path, the same on all workers.
        optimizer: Of all weights; must leave weights without a gradient alone.
        images: ``[N, C, H, W]``.
        labels: ``[N]``.
        average: Averages the gradients over the workers in place.
        grad_clip: Largest norm of the path's gradient; 0 for no bound.
        auxiliary_weight: Weight of the auxiliary classifier's loss, if the network has one.
    """
    logits, auxiliary_logits = network(images, genotype)
    loss = F.cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    with_auxiliary(loss, auxiliary_logits, labels, auxiliary_weight).backward()
    average([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
    if grad_clip > 0:
        nn.utils.clip_grad_norm_(network.parameters(), grad_clip)
    optimizer.step()
    return StepResult.of(loss, logits, labels)


@torch.no_grad()
def recalibrate(network: SinglePathNetwork, genotype: Genotype, batches: Iterable[Tensor]) -> None:
    """Replaces the BatchNorm statistics of a path by their means over batches of images (SPOS section 3.4).

    What a shared candidate saw while it was trained came from many paths and fits none of them.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a plain mean
    network.train()
    for images in batches:
        network(images, genotype)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum

"""A supernet that runs one path at a time: one candidate on each edge that the genotype keeps (SPOS, AutoSNN)."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from raynas_snn.nas.bilevel import StepResult, losses
from raynas_snn.nas.cell import MakeOperation
from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.genotype import Edge, Genotype, Node
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import CellNetwork
from raynas_snn.nas.operations import Operation
from raynas_snn.nas.search_cell import CandidateCell, module_key


class PathCell(CandidateCell):
    """Each node adds up the candidates on its path."""

    def forward(
        self, before_previous: Tensor, previous: Tensor, path: Sequence[Node], drop_path: DropPath | None = None
    ) -> Tensor:
        """Maps the spikes of the two cells before along a path to features ``[T*N, num_nodes * channels, H', W']``."""
        wiring = [[(edge.source, self._candidate(index, edge)) for edge in node] for index, node in enumerate(path)]
        return self.add_up(wiring, before_previous, previous, drop_path)

    def _candidate(self, node: int, edge: Edge) -> Operation:
        candidates = self.shared_candidates(edge.source) | self.own_candidates(node, edge.source)
        return candidates[module_key(edge.operation)]


class SinglePathNetwork(CellNetwork):
    """All candidates of a `Supernet`, each with weights and BatchNorm statistics of its own; one path runs.

    A path is the network that its genotype describes, except that BatchNorm is that of searches: without affine
    weights, and also after pools.

    >>> from raynas_snn.nas.operations import SepConv3x3, SkipConnect
    >>> operations = {"skip_connect": SkipConnect, "sep_conv_3x3": SepConv3x3}
    >>> network = SinglePathNetwork(Macro(num_classes=10, channels=4, num_nodes=1), operations)
    >>> path = ((Edge("skip_connect", 0), Edge("sep_conv_3x3", 1)),)
    >>> logits, _ = network(torch.rand(2, 3, 32, 32), Genotype(normal=path, reduction=path))
    """

    def __init__(self, macro: Macro, operations: Mapping[str, MakeOperation], auxiliary: bool = False) -> None:
        super().__init__(macro, lambda plan: PathCell(plan, macro, operations), auxiliary)

    def forward(self, images: Tensor, genotype: Genotype) -> tuple[Tensor, Tensor | None]:
        """Classifies ``images [N, C, H, W]`` along the path of a genotype.

        Returns:
            Logits ``[N, classes]``, and those of the auxiliary head in training mode if there is one.
        """
        return self.classify(images, genotype, None)


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
    loss, result = losses(network(images, genotype), labels, auxiliary_weight)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    average([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
    if grad_clip > 0:
        nn.utils.clip_grad_norm_(network.parameters(), grad_clip)
    optimizer.step()
    return result


@torch.no_grad()
def recalibrate(network: SinglePathNetwork, genotype: Genotype, batches: Iterable[Tensor]) -> None:
    """Replaces the BatchNorm statistics of a path by their means over batches of images (SPOS section 3.4).

    The statistics that a shared candidate has collected in training come from many paths.
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

"""The networks around the cells: the supernet that is searched and the derived network that is trained."""

import math
from collections.abc import Callable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas_snn.errors import UserError
from raynas_snn.nas.cell import Cell, DerivedCell, MakeOperation, SearchCell
from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.macro import STEM_MULTIPLIER, CellPlan, Macro
from raynas_snn.nas.recompute import recomputed
from raynas_snn.snn.encoding import mean_over_time, present_static
from raynas_snn.snn.normalise import BatchNorm


class CellNetwork(nn.Module):
    """What all networks are: a stem, cells, a classifier, and an auxiliary head that answers while training.

    Args:
        macro: The outer shape.
        make_cell: Builds one cell.
        auxiliary: Whether there is an auxiliary head, behind the last reduction.

    Attributes:
        recompute: Compute the activations of each cell again in the backward pass, instead of keeping them.
    """

    recompute = False

    def __init__(self, macro: Macro, make_cell: Callable[[CellPlan], Cell], auxiliary: bool) -> None:
        super().__init__()
        self.macro = macro
        self.stem = Stem(macro)
        plans = list(macro.cells())
        self.cells = nn.ModuleList(make_cell(plan) for plan in plans)
        self.classifier = nn.Linear(plans[-1].channels_out, macro.num_classes)
        width = plans[macro.auxiliary_index].channels_out
        self.auxiliary = AuxiliaryHead(width, macro) if auxiliary else None

    def classify(
        self,
        images: Tensor,
        run_cell: Callable[[nn.Module, Tensor, Tensor], Tensor],
        drop_path: DropPath | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Runs the stem, all cells one after the other, and the heads.

        Args:
            images: ``[N, C, H, W]``.
            run_cell: Maps a cell and the spikes of the two cells before it to the cell's features.
            drop_path: What ``run_cell`` drops paths with.

        Returns:
            Logits ``[N, classes]``, the mean over time steps; those of the auxiliary head in training, else None.
        """
        before_previous = previous = self.stem(images)
        features, auxiliary_logits = previous, None
        for index, cell in enumerate(self.cells):
            if self.recompute and torch.is_grad_enabled():
                generator = None if drop_path is None else drop_path.generator
                features = recomputed(run_cell, cell, before_previous, previous, generator=generator)
            else:
                features = run_cell(cell, before_previous, previous)
            if self.training and self.auxiliary is not None and index == self.macro.auxiliary_index:
                auxiliary_logits = self.auxiliary(features)
            if index + 1 < len(self.cells):
                before_previous, previous = previous, cast(Cell, cell).fire(features)
        logits = mean_over_time(self.classifier(features.mean(dim=(2, 3))), self.macro.num_steps)
        return logits, auxiliary_logits


class Supernet(CellNetwork):
    """A network whose cells hold every candidate on every edge (MA-DARTS section 3.4).

    The alphas are not part of it: they come in softmaxed with each batch, so that its weights can be wrapped in
    DistributedDataParallel and trained apart from them.
    """

    def __init__(self, macro: Macro, operations: Mapping[str, MakeOperation], auxiliary: bool = False) -> None:
        super().__init__(macro, lambda plan: SearchCell(plan, macro, operations), auxiliary)

    def forward(
        self, images: Tensor, normal: Tensor, reduction: Tensor, drop_path: DropPath | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Classifies images.

        Args:
            images: ``[N, C, H, W]``.
            normal: Softmaxed alphas ``[edges, operations]`` of the normal cells.
            reduction: Those of the reduction cells.
            drop_path: Drops candidates at random; in training mode only.

        Returns:
            Logits ``[N, classes]``, and those of the auxiliary head in training mode if there is one.
        """

        def run_cell(cell: nn.Module, before_previous: Tensor, previous: Tensor) -> Tensor:
            assert isinstance(cell, SearchCell)
            weights = reduction if cell.plan.reduction else normal
            features: Tensor = cell(before_previous, previous, weights, drop_path if self.training else None)
            return features

        return self.classify(images, run_cell, drop_path)


class DerivedNetwork(CellNetwork):
    """The network that a genotype describes.

    Raises:
        UserError: If the genotype has another number of nodes per cell than the macro.
    """

    def __init__(
        self,
        macro: Macro,
        genotype: Genotype,
        operations: Mapping[str, MakeOperation],
        auxiliary: bool = True,
    ) -> None:
        if genotype.num_nodes != macro.num_nodes:
            raise UserError(f"genotype: {genotype.num_nodes} nodes per cell, but model.num_nodes is {macro.num_nodes}")
        super().__init__(
            macro,
            lambda plan: DerivedCell(
                plan, macro, genotype.reduction if plan.reduction else genotype.normal, operations
            ),
            auxiliary,
        )

    def forward(self, images: Tensor, drop_path: DropPath | None = None) -> tuple[Tensor, Tensor | None]:
        """Classifies ``images [N, C, H, W]``; drops paths at random if told how, in training mode only.

        Returns:
            Logits ``[N, classes]``, and those of the auxiliary head in training mode if there is one.
        """

        def run_cell(cell: nn.Module, before_previous: Tensor, previous: Tensor) -> Tensor:
            features: Tensor = cell(before_previous, previous, drop_path if self.training else None)
            return features

        return self.classify(images, run_cell, drop_path)


class Stem(nn.Module):
    """Convolution and BatchNorm, once per image; then the image is presented at every step and neurons fire.

    For large images the convolution has stride 2, and each further halving is a spiking convolution of stride 2.
    """

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        channels = STEM_MULTIPLIER * macro.channels
        self.num_steps = macro.num_steps
        first_stride = min(2, macro.stem_stride)
        self.conv = nn.Conv2d(macro.image_shape[0], channels, 3, first_stride, padding=1, bias=False)
        self.norm = BatchNorm(channels)
        self.neuron = macro.make_neuron()
        self.halvings = nn.Sequential()
        for _ in range(int(math.log2(macro.stem_stride // first_stride))):
            self.halvings += nn.Sequential(
                nn.Conv2d(channels, channels, 3, 2, padding=1, bias=False), BatchNorm(channels), macro.make_neuron()
            )

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``images [N, C, H, W]`` to spikes ``[T*N, 3 * channels, H / stride, W / stride]``."""
        spikes: Tensor = self.neuron(present_static(self.norm(self.conv(images)), self.num_steps))
        halved: Tensor = self.halvings(spikes)
        return halved


class AuxiliaryHead(nn.Module):
    """A second classifier that shortens the way of the gradient (DARTS; MA-DARTS section 3.4).

    DARTS pools 8x8 maps with windows of 5 at stride 3 to 2x2; maps of other sizes are pooled adaptively to 2x2.
    """

    def __init__(self, channels: int, macro: Macro) -> None:
        super().__init__()
        self.num_steps = macro.num_steps
        self.features = nn.Sequential(
            nn.Conv2d(channels, 128, 1, bias=False),
            BatchNorm(128),
            macro.make_neuron(),
            nn.Conv2d(128, 768, 2, bias=False),
            BatchNorm(768),
            macro.make_neuron(),
        )
        self.neuron = macro.make_neuron()
        self.classifier = nn.Linear(768, macro.num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Classifies a cell's real-valued ``features [T*N, C, H, W]``: logits ``[N, classes]``."""
        spikes = self.neuron(features)
        pooled = F.avg_pool2d(spikes, 5, 3) if spikes.shape[2:] == (8, 8) else F.adaptive_avg_pool2d(spikes, 2)
        return mean_over_time(self.classifier(self.features(pooled).flatten(1)), self.num_steps)


def count_parameters(network: nn.Module, auxiliary: bool = True) -> int:
    """Number of trainable weights, with or without those of the auxiliary head."""
    return sum(p.numel() for name, p in network.named_parameters() if auxiliary or "auxiliary" not in name)


def check_operations(genotype: Genotype, operations: Mapping[str, MakeOperation]) -> None:
    """Holds a genotype against the operations at hand.

    Raises:
        UserError: If it names an operation that the search space does not have, or ``none``.
    """
    usable = [name for name in operations if name != "none"]
    for node in (*genotype.normal, *genotype.reduction):
        for edge in node:
            if edge.operation not in usable:
                known = ", ".join(usable)
                raise UserError(f"genotype: unknown operation {edge.operation!r} (known: {known})")


def channels_last(network: nn.Module) -> nn.Module:
    """Lays the weights out as the convolutions read them fastest; images must come in the same layout.

    Weights of one input channel or one pixel are the same in both layouts and stay as they are: their strides would
    only be called something else, and DDP would find them different from those of their gradients.
    """
    for parameter in network.parameters():
        if parameter.dim() == 4 and parameter.shape[1] > 1 and parameter.shape[2:].numel() > 1:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network

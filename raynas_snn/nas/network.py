"""The supernet that is searched and the derived network that is trained: stem, cells, classifier, auxiliary head."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas_snn.config.schema import Precision
from raynas_snn.core.errors import UserError
from raynas_snn.nas.alphas import Mixture
from raynas_snn.nas.cell import Cell, DerivedCell, MakeOperation
from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.genotype_operations import usable
from raynas_snn.nas.macro import STEM_MULTIPLIER, ByKind, CellPlan, Macro
from raynas_snn.nas.recompute import recomputed
from raynas_snn.nas.search_cell import SearchCell
from raynas_snn.snn.encoding import mean_over_time, present_static
from raynas_snn.snn.normalise import BatchNorm


class CellNetwork(nn.Module):
    """Base class of all networks: a stem, cells, a classifier, and an auxiliary head that is used in training.

    Args:
        macro: The outer shape.
        make_cell: Builds one cell.
        auxiliary: Whether there is an auxiliary head, behind the last reduction.

    Attributes:
        recompute: Compute the activations of each cell again in the backward pass, instead of keeping them.
        precision: With ``bfloat16`` the network runs under autocast, wherever it is called from, and answers in
            float32; see `raynas_snn.training.precision`.
    """

    recompute: bool = False
    precision: Precision = "float32"

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
        self, images: Tensor, choice: ByKind[Any] | None, drop_path: DropPath | None
    ) -> tuple[Tensor, Tensor | None]:
        """Classifies images in the network's precision.

        Args:
            images: ``[N, C, H, W]``.
            choice: A further argument of the cells, one for each kind of cell; None for none.
            drop_path: Drops paths at random, in training mode only.

        Returns:
            Logits ``[N, classes]``, the mean over time steps; those of the auxiliary head in training, else None.
        """
        if self.precision != "bfloat16":
            return self._run(images, choice, drop_path)
        with torch.autocast(images.device.type, torch.bfloat16):
            logits, auxiliary_logits = self._run(images, choice, drop_path)
        return logits.float(), None if auxiliary_logits is None else auxiliary_logits.float()

    def _run(
        self, images: Tensor, choice: ByKind[Any] | None, drop_path: DropPath | None
    ) -> tuple[Tensor, Tensor | None]:
        """The stem, the cells one after the other, and the heads."""
        dropping = drop_path if self.training else None
        before_previous = previous = self.stem(images)
        features, auxiliary_logits = previous, None
        for index, cell in enumerate(cast(Iterable[Cell], self.cells)):
            own = () if choice is None else (cell.plan.of_kind(choice),)
            inputs = (before_previous, previous, *own, dropping)
            if self.recompute and torch.is_grad_enabled():
                features = recomputed(cell, *inputs, generator=None if dropping is None else dropping.generator)
            else:
                features = cell(*inputs)
            if self.training and self.auxiliary is not None and index == self.macro.auxiliary_index:
                auxiliary_logits = self.auxiliary(features)
            if index + 1 < len(self.cells):
                before_previous, previous = previous, cell.fire(features)
        logits = mean_over_time(self.classifier(features.mean(dim=(2, 3))), self.macro.num_steps)
        return logits, auxiliary_logits


class Supernet(CellNetwork):
    """A network whose cells hold every candidate on every edge (MA-DARTS section 3.4).

    The alphas are not part of it: it takes their softmax with each batch, so that its weights can be wrapped in
    DistributedDataParallel and trained apart from them.

    >>> from raynas_snn.nas.alphas import Alphas
    >>> from raynas_snn.nas.operations import SepConv3x3, SkipConnect
    >>> operations = {"skip_connect": SkipConnect, "sep_conv_3x3": SepConv3x3}
    >>> supernet = Supernet(Macro(num_classes=10, channels=4), operations)
    >>> logits, _ = supernet(torch.rand(2, 3, 32, 32), Alphas(num_nodes=4, num_operations=2)())
    """

    def __init__(self, macro: Macro, operations: Mapping[str, MakeOperation], auxiliary: bool = False) -> None:
        super().__init__(macro, lambda plan: SearchCell(plan, macro, operations), auxiliary)

    def forward(
        self, images: Tensor, mixture: Mixture, drop_path: DropPath | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Classifies ``images [N, C, H, W]`` with all candidates mixed; drops some at random while training, if told.

        Returns:
            Logits ``[N, classes]``, and those of the auxiliary head in training mode if there is one.
        """
        return self.classify(images, mixture, drop_path)


class DerivedNetwork(CellNetwork):
    """The network that a genotype describes.

    >>> from raynas_snn.nas.genotype import Edge
    >>> from raynas_snn.nas.operations import SepConv3x3
    >>> cell = ((Edge("sep_conv_3x3", 0), Edge("sep_conv_3x3", 1)),)
    >>> macro = Macro(num_classes=10, channels=4, num_nodes=1)
    >>> network = DerivedNetwork(macro, Genotype(normal=cell, reduction=cell), {"sep_conv_3x3": SepConv3x3})
    >>> logits, auxiliary_logits = network(torch.rand(2, 3, 32, 32))

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
        super().__init__(macro, lambda plan: DerivedCell(plan, macro, plan.of_kind(genotype), operations), auxiliary)

    def forward(self, images: Tensor, drop_path: DropPath | None = None) -> tuple[Tensor, Tensor | None]:
        """Classifies ``images [N, C, H, W]``; drops paths at random while training, if told.

        Returns:
            Logits ``[N, classes]``, and those of the auxiliary head in training mode if there is one.
        """
        return self.classify(images, None, drop_path)


class Stem(nn.Module):
    """Convolution and BatchNorm, once per image; the result is presented to neurons at every step.

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
    """Checks that the operations of a genotype are available.

    Raises:
        UserError: If it names an operation that the search space does not have, or ``none``.
    """
    known = usable(list(operations))
    for node in (*genotype.normal, *genotype.reduction):
        for edge in node:
            if edge.operation not in known:
                raise UserError(f"genotype: unknown operation {edge.operation!r} (known: {', '.join(known)})")


def channels_last(network: nn.Module) -> nn.Module:
    """Converts the weights to channels-last, which convolutions read fastest; images must have the same layout.

    Weights with one input channel or one pixel are identical in both layouts and stay unchanged: only their nominal
    strides would differ, and DDP would report a mismatch with those of their gradients.
    """
    for parameter in network.parameters():
        if parameter.dim() == 4 and parameter.shape[1] > 1 and parameter.shape[2:].numel() > 1:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network

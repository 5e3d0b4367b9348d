"""The networks around the cells: the supernet that is searched and the derived network that is trained."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas_snn.errors import UserError
from raynas_snn.nas.cell import DerivedCell, MakeOperation, SearchCell
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.macro import STEM_MULTIPLIER, Macro
from raynas_snn.nas.operations import BatchNorm
from raynas_snn.snn.encoding import mean_over_time, present_static


class Supernet(nn.Module):
    """A network whose cells hold every candidate on every edge (MA-DARTS section 3.4).

    The alphas are not part of it: they come in softmaxed with each batch, so that its weights can be wrapped in
    DistributedDataParallel and trained apart from them.
    """

    def __init__(self, macro: Macro, operations: Mapping[str, MakeOperation]) -> None:
        super().__init__()
        self.macro = macro
        self.stem = Stem(macro)
        plans = list(macro.cells())
        self.cells = nn.ModuleList(SearchCell(plan, macro, operations) for plan in plans)
        self.classifier = nn.Linear(plans[-1].channels_out, macro.num_classes)

    def forward(self, images: Tensor, normal: Tensor, reduction: Tensor) -> Tensor:
        """Classifies ``images [N, C, H, W]``, given softmaxed alphas ``[edges, operations]`` per kind of cell.

        Returns:
            Logits ``[N, classes]``, the mean over time steps.
        """
        before_previous = previous = self.stem(images)
        features = previous
        for index, cell in enumerate(self.cells):
            assert isinstance(cell, SearchCell)
            features = cell(before_previous, previous, reduction if cell.plan.reduction else normal)
            if index + 1 < len(self.cells):
                before_previous, previous = previous, cell.fire(features)
        return mean_over_time(self.classifier(features.mean(dim=(2, 3))), self.macro.num_steps)


class DerivedNetwork(nn.Module):
    """The network that a genotype describes, with an auxiliary head behind the second reduction while training."""

    def __init__(
        self,
        macro: Macro,
        genotype: Genotype,
        operations: Mapping[str, MakeOperation],
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        self.macro = macro
        self.stem = Stem(macro)
        plans = list(macro.cells())
        self.cells = nn.ModuleList(
            DerivedCell(plan, macro, genotype.reduction if plan.reduction else genotype.normal, operations)
            for plan in plans
        )
        self.classifier = nn.Linear(plans[-1].channels_out, macro.num_classes)
        width = plans[macro.auxiliary_index].channels_out
        self.auxiliary = AuxiliaryHead(width, macro) if auxiliary else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Classifies ``images [N, C, H, W]``.

        Returns:
            Logits ``[N, classes]``, and those of the auxiliary head in training mode if there is one.
        """
        before_previous = previous = self.stem(images)
        features, auxiliary_logits = previous, None
        for index, cell in enumerate(self.cells):
            assert isinstance(cell, DerivedCell)
            features = cell(before_previous, previous)
            if self.training and self.auxiliary is not None and index == self.macro.auxiliary_index:
                auxiliary_logits = self.auxiliary(features)
            if index + 1 < len(self.cells):
                before_previous, previous = previous, cell.fire(features)
        logits = mean_over_time(self.classifier(features.mean(dim=(2, 3))), self.macro.num_steps)
        return logits, auxiliary_logits


class Stem(nn.Module):
    """Convolution and BatchNorm, once per image; then the image is presented at every step and neurons fire."""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        channels = STEM_MULTIPLIER * macro.channels
        self.num_steps = macro.num_steps
        self.conv = nn.Conv2d(macro.image_shape[0], channels, 3, padding=1, bias=False)
        self.norm = BatchNorm(channels)
        self.neuron = macro.make_neuron()

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``images [N, C, H, W]`` to spikes ``[T*N, 3 * channels, H, W]``."""
        spikes: Tensor = self.neuron(present_static(self.norm(self.conv(images)), self.num_steps))
        return spikes


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
    """Lays the weights out as the convolutions read them fastest; images must come in the same layout."""
    return network.to(memory_format=torch.channels_last)

"""The macro architecture that supernet and derived network share: widths, depth, reductions, neurons, attention."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import nn

from raynas_snn.core.errors import UserError
from raynas_snn.core.options import Options
from raynas_snn.snn.attention import NoAttention
from raynas_snn.snn.neuron import LIF, NeuronSettings

Own = TypeVar("Own", covariant=True)

STEM_MULTIPLIER = 3  # DARTS: the stem is three times as wide as the first cell


class ByKind(Protocol[Own]):
    """A protocol for values with one part per kind of cell, such as a genotype or a mixture."""

    @property
    def normal(self) -> Own:
        """For the cells that keep the resolution."""
        ...

    @property
    def reduction(self) -> Own:
        """For the cells that halve it."""
        ...


@dataclass(frozen=True)
class Macro:
    """Everything about a network but its cells' operations.

    >>> [(plan.channels, plan.reduction) for plan in Macro(num_classes=10, channels=16, layers=3).cells()]
    [(16, False), (32, True), (64, True)]

    Attributes:
        num_classes: Number of classes.
        image_shape: Channels, height and width of the images.
        channels: Width C of a node in the first cell; doubled at each reduction.
        layers: Number of cells.
        reductions: Indices of the cells that halve the resolution; None for ``layers // 3`` and ``2 * layers // 3``,
            as in DARTS.
        stem_stride: By how much the stem shrinks the images, a power of two.
        num_steps: Time steps T.
        num_nodes: Intermediate nodes per cell; a cell's output is their concatenation.
        attention: Kind of attention behind a cell's concatenation, built as ``kind(channels, num_steps, options)``.
        attention_options: Its options; None takes the defaults of what the kind declares.
        attention_scope: ``"every_cell"`` or ``"last_cell"``. The paper inserts it "in the concatenation step of
            the searching cell" and deploys it "behind the final cell" in retraining.
        neuron: Settings of all neurons.
        neuron_kind: Kind of neuron, built as ``kind(num_steps, settings)``.

    Raises:
        UserError: If a reduction is said to be where there is no cell.
    """

    num_classes: int
    image_shape: tuple[int, int, int] = (3, 32, 32)
    channels: int = 16
    layers: int = 6
    reductions: tuple[int, ...] | None = None
    stem_stride: int = 1
    num_steps: int = 2
    num_nodes: int = 4
    attention: Callable[[int, int, Any], nn.Module] = NoAttention
    attention_options: Options | None = None
    attention_scope: str = "every_cell"
    neuron: NeuronSettings = field(default_factory=NeuronSettings)
    neuron_kind: Callable[[int, NeuronSettings], nn.Module] = LIF

    def __post_init__(self) -> None:
        beyond = [index for index in self.reduction_cells if not 0 <= index < self.layers]
        if beyond:
            cells = f"{self.layers} layers are the cells 0 to {self.layers - 1}"
            raise UserError(f"reductions: there is no cell {beyond[0]}; {cells}")

    @property
    def reduction_cells(self) -> tuple[int, ...]:
        """Indices of the cells that halve the resolution."""
        return (self.layers // 3, 2 * self.layers // 3) if self.reductions is None else self.reductions

    @property
    def auxiliary_index(self) -> int:
        """The cell that feeds the auxiliary head: the last reduction, the 5th of 6 cells; two thirds if there is none.

        DARTS has it at ``2 * layers // 3``, which is the same for its own reductions.
        """
        return max(self.reduction_cells, default=2 * self.layers // 3)

    def make_neuron(self) -> nn.Module:
        """A population of neurons; it has no weights and fits any shape."""
        return self.neuron_kind(self.num_steps, self.neuron)

    def make_attention(self, cell: "CellPlan") -> nn.Module:
        """The attention behind one cell, or none, according to the scope."""
        if self.attention_scope == "every_cell" or cell.index == self.layers - 1:
            options = self.attention_options or getattr(self.attention, "options", Options)()
            return self.attention(cell.channels_out, self.num_steps, options)
        return NoAttention(cell.channels_out, self.num_steps, Options())

    def cells(self) -> Iterator["CellPlan"]:
        """Widths and strides of all cells, first to last."""
        before_previous = previous = STEM_MULTIPLIER * self.channels
        channels, reduction_before = self.channels, False
        for index in range(self.layers):
            reduction = index in self.reduction_cells
            channels *= 2 if reduction else 1
            plan = CellPlan(index, before_previous, previous, channels, reduction, reduction_before, self.num_nodes)
            yield plan
            before_previous, previous, reduction_before = previous, plan.channels_out, reduction


@dataclass(frozen=True)
class CellPlan:
    """The shape of one cell: its inputs' widths, its own width, and which cells halve the resolution."""

    index: int
    channels_before_previous: int
    channels_previous: int
    channels: int
    reduction: bool
    reduction_before: bool
    num_nodes: int

    @property
    def channels_out(self) -> int:
        """Width of the concatenated nodes."""
        return self.num_nodes * self.channels

    def of_kind(self, choice: ByKind[Own]) -> Own:
        """The part for this kind of cell."""
        return choice.reduction if self.reduction else choice.normal

    def stride(self, source: int) -> int:
        """Stride of the edges that leave a source: 2 for a reduction cell's two inputs."""
        return 2 if self.reduction and source < 2 else 1

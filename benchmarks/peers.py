"""What people use: DARTS networks with spiking neurons, written in the usual ways. Measured against, tested against.

The published DARTS network, operation by operation, every ReLU replaced by a neuron: each operation of each edge fires
neurons of its own, each edge pools for itself, the sum is weighed by alpha. Three ways to run it through time:

- ``loop``: a Python loop over T around the whole network; neurons remember their potential between calls.
- ``folded``: time folded into the batch for all that has no state; only the neurons loop over T.
- ``spikingjelly``: the same with SpikingJelly's multi-step LIF node (torch backend) as the neuron, if it is installed.

Parameters are named as in `raynas_snn.nas`, so that weights can be copied between the two, see `copy_weights`.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from peer_operations import OPERATIONS, FactorizedReduce, SepConv, pointwise
from torch import Tensor, nn

from raynas_snn.nas.alphas import Mixture
from raynas_snn.nas.edges import edge_index
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.macro import CellPlan, Macro
from raynas_snn.nas.network import CellNetwork

WAYS = ("loop", "folded", *(["spikingjelly"] if find_spec("spikingjelly") else []))


class Spike(torch.autograd.Function):
    """A step function with a rectangular surrogate of width 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < 0.5).to(grad.dtype)


class LoopNeuron(nn.Module):
    """Leaky integrate-and-fire by plain autograd, one step per call; the state is kept on the module."""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        self.decay, self.v_th = macro.neuron.decay, macro.neuron.v_th
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self.u = self.o = None

    def forward(self, x: Tensor) -> Tensor:
        """One step for ``x [N, C, H, W]``."""
        self.u = x if self.u is None else self.decay * self.u * (1 - self.o) + x
        self.o = Spike.apply(self.u - self.v_th)
        return self.o


class FoldedNeuron(nn.Module):
    """The same for all steps of ``x [T*N, C, H, W]``."""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        self.num_steps, self.one_step = macro.num_steps, LoopNeuron(macro)

    def forward(self, x: Tensor) -> Tensor:
        """Loops over time."""
        self.one_step.reset()
        return torch.cat([self.one_step(x_t) for x_t in x.chunk(self.num_steps)])


class SpikingJellyNeuron(nn.Module):
    """SpikingJelly's node with the same constants: its tau is ``1 / (1 - decay)``."""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        from spikingjelly.activation_based import functional, neuron, surrogate

        self.num_steps = macro.num_steps
        self._forget = functional.reset_net
        self.node = neuron.LIFNode(
            tau=1 / (1 - macro.neuron.decay),
            decay_input=False,
            v_threshold=macro.neuron.v_th,
            v_reset=0.0,
            surrogate_function=surrogate.Rect(),
            step_mode="m",
        )

    def forward(self, x: Tensor) -> Tensor:
        """Splits ``x [T*N, C, H, W]`` into time and batch, as the node wants it."""
        self._forget(self.node)
        return self.node(x.unflatten(0, (self.num_steps, -1))).flatten(0, 1)


NEURONS: dict[str, type[nn.Module]] = {"loop": LoopNeuron, "folded": FoldedNeuron, "spikingjelly": SpikingJellyNeuron}


MakeNeuron = Callable[[], nn.Module]


class PlainNetwork(nn.Module):
    """Stem, cells and classifier in one of the three `WAYS`."""

    def __init__(self, macro: Macro, way: str, make_cell: Callable[[CellPlan, MakeNeuron], nn.Module]) -> None:
        super().__init__()
        self.macro, self.way = macro, way
        width, plans = 3 * macro.channels, list(macro.cells())
        self.stem = nn.ModuleDict(
            {
                "conv": nn.Conv2d(macro.image_shape[0], width, 3, padding=1, bias=False),
                "norm": nn.BatchNorm2d(width),
            }
        )
        self.cells = nn.ModuleList(make_cell(plan, lambda: NEURONS[way](macro)) for plan in plans)
        self.classifier = nn.Linear(plans[-1].channels_out, macro.num_classes)

    def classify(self, images: Tensor, mixture: Mixture | None) -> tuple[Tensor, None]:
        """Logits ``[N, classes]``, the mean over time."""
        if self.way != "loop":
            logits = self._once(images.repeat(self.macro.num_steps, 1, 1, 1), mixture)
            return logits.unflatten(0, (self.macro.num_steps, -1)).mean(dim=0), None
        for module in self.modules():
            if isinstance(module, LoopNeuron):
                module.reset()
        steps = [self._once(images, mixture) for _ in range(self.macro.num_steps)]
        return torch.stack(steps).mean(dim=0), None

    def _once(self, images: Tensor, mixture: Mixture | None) -> Tensor:
        before_previous = previous = self.stem["norm"](self.stem["conv"](images))
        for cell in self.cells:
            own = () if mixture is None else (cell.plan.of_kind(mixture),)
            before_previous, previous = previous, cell(before_previous, previous, *own)
        return self.classifier(previous.mean(dim=(2, 3)))


class PlainSupernet(PlainNetwork):
    """The supernet; called like `raynas_snn.nas.network.Supernet`."""

    def __init__(self, macro: Macro, way: str) -> None:
        super().__init__(macro, way, lambda plan, make_neuron: PlainSearchCell(plan, macro, make_neuron))

    def forward(self, images: Tensor, mixture: Mixture) -> tuple[Tensor, None]:
        """Logits ``[N, classes]``."""
        return self.classify(images, mixture)


class PlainDerivedNetwork(PlainNetwork):
    """The network of a genotype; called like `raynas_snn.nas.network.DerivedNetwork`."""

    def __init__(self, macro: Macro, way: str, genotype: Genotype) -> None:
        super().__init__(macro, way, lambda plan, make_neuron: PlainDerivedCell(plan, macro, make_neuron, genotype))

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Logits ``[N, classes]``."""
        return self.classify(images, None)


class PlainCell(nn.Module):
    """What both kinds of cell have in common."""

    def __init__(self, plan: CellPlan, macro: Macro, make_neuron: MakeNeuron, affine: bool) -> None:
        super().__init__()
        self.plan = plan
        channels = plan.channels
        self.neuron_0, self.neuron_1 = make_neuron(), make_neuron()
        if plan.reduction_before:
            self.preprocess_0 = FactorizedReduce(plan.channels_before_previous, channels, affine)
        else:
            self.preprocess_0 = pointwise(plan.channels_before_previous, channels, affine)
        self.preprocess_1 = pointwise(plan.channels_previous, channels, affine)
        self.attention = macro.make_attention(plan)

    def preprocess(self, before_previous: Tensor, previous: Tensor) -> list[Tensor]:
        """The two sources that come from outside."""
        return [self.preprocess_0(self.neuron_0(before_previous)), self.preprocess_1(self.neuron_1(previous))]


class PlainSearchCell(PlainCell):
    """Edge by edge, operation by operation."""

    def __init__(self, plan: CellPlan, macro: Macro, make_neuron: MakeNeuron) -> None:
        super().__init__(plan, macro, make_neuron, affine=False)
        self.edges = nn.ModuleList()
        for node in range(plan.num_nodes):
            for source in range(node + 2):
                made = {name: Edge(name, plan, source, make_neuron, affine=False) for name in OPERATIONS}
                self.edges.append(nn.ModuleDict(made))

    def forward(self, before_previous: Tensor, previous: Tensor, weights: Tensor) -> Tensor:
        """Real-valued features of the two cells before to those of this one."""
        states, edge = self.preprocess(before_previous, previous), 0
        for _ in range(self.plan.num_nodes):
            total: Tensor | float = 0.0
            for source, state in enumerate(states):
                total = total + self._mixed(edge, source, state, weights[edge])
                edge += 1
            states.append(total)
        return self.attention(torch.cat(states[2:], dim=1))

    def _mixed(self, edge: int, source: int, x: Tensor, weights: Tensor) -> Tensor:
        stride = self.plan.stride(source)
        outputs = [weights[0] * (x * 0 if stride == 1 else x[:, :, ::stride, ::stride] * 0)]
        for column, operation in enumerate(self.edges[edge].values(), start=1):
            outputs.append(weights[column] * operation(x))
        return sum(outputs)


class PlainDerivedCell(PlainCell):
    """Each node adds up the operations it kept."""

    def __init__(self, plan: CellPlan, macro: Macro, make_neuron: MakeNeuron, genotype: Genotype) -> None:
        super().__init__(plan, macro, make_neuron, affine=True)
        self.wiring = genotype.reduction if plan.reduction else genotype.normal
        self.nodes = nn.ModuleList(
            nn.ModuleList(Edge(edge.operation, plan, edge.source, make_neuron, affine=True) for edge in node)
            for node in self.wiring
        )

    def forward(self, before_previous: Tensor, previous: Tensor) -> Tensor:
        """Real-valued features of the two cells before to those of this one."""
        states = self.preprocess(before_previous, previous)
        for edges, operations in zip(self.wiring, self.nodes, strict=True):
            states.append(sum(op(states[edge.source]) for edge, op in zip(edges, operations, strict=True)))
        return self.attention(torch.cat(states[2:], dim=1))


class Edge(nn.Module):
    """One operation on one edge, behind neurons of its own if it reads spikes."""

    def __init__(self, name: str, plan: CellPlan, source: int, make_neuron: MakeNeuron, affine: bool) -> None:
        super().__init__()
        stride = plan.stride(source)
        real = "pool" in name or (name == "skip_connect" and stride == 1)
        self.first_neuron = nn.Identity() if real else make_neuron()
        self.operation = OPERATIONS[name](plan.channels, stride, affine)
        if isinstance(self.operation, SepConv):
            self.operation.neuron = make_neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Reads a node's real values."""
        return self.operation(self.first_neuron(x))


def copy_weights(network: CellNetwork, plain: PlainNetwork) -> None:
    """Gives a plain network the weights and running statistics of one of ours."""
    ours = network.state_dict()
    plain.load_state_dict({key: ours[name_here(key)] for key in plain.state_dict()})


def name_here(key: str) -> str:
    """How `raynas_snn.nas` calls a weight or a running statistic of a plain network."""
    key = key.replace(".operation.", ".")
    if ".edges." not in key or "_pool_" not in key:
        return key
    cells, index, _, edge, *rest = key.split(".")  # pools belong to the source here
    return ".".join((cells, index, "shared", str(_source_of(int(edge))), *rest))


def _source_of(edge: int) -> int:
    """The source that an edge leaves."""
    node = next(node for node in range(edge + 1) if edge < edge_index(node + 1, 0))
    return edge - edge_index(node, 0)

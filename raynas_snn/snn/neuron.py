"""The leaky integrate-and-fire neuron.

Legend of shapes: T time steps, N images, C channels, H x W space. Activations are ``[T*N, C, H, W]``, time-major:
the first N entries are step 0. Everything without a state treats ``T*N`` as one batch; the neuron splits it.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from raynas_snn.snn.surrogate import Rectangular, Surrogate


@dataclass(frozen=True)
class NeuronSettings:
    """What all neurons of a network share.

    Attributes:
        decay: Share of the membrane potential that survives a step; the paper's tau, not a time constant.
        v_th: Threshold of the membrane potential.
        surrogate: Stands in for the derivative of the spike.
        detach_reset: Keep the gradient from flowing through the reset gate ``1 - o``.
        smooth: Emit the surrogate's primitive instead of spikes, so that the network is differentiable and its
            gradients can be checked against finite differences. Never used in training.
    """

    decay: float = 0.2
    v_th: float = 0.5
    surrogate: Surrogate = field(default_factory=Rectangular)
    detach_reset: bool = False
    smooth: bool = False


class Neuron(nn.Module):
    """What all kinds of neuron are: built as ``kind(num_steps, settings)``, fires 0 or 1, counted by the meters."""

    def __init__(self, num_steps: int, settings: NeuronSettings) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.settings = settings

    def extra_repr(self) -> str:
        """What ``print(network)`` shows of the neuron."""
        return f"num_steps={self.num_steps}, decay={self.settings.decay}, v_th={self.settings.v_th}"


class LIF(Neuron):
    """Leaky integrate-and-fire with hard reset to zero (MA-DARTS eq. 1-3).

    ``u[t] = decay * u[t-1] * (1 - o[t-1]) + x[t]``,  ``o[t] = 1 if u[t] > v_th else 0``,  ``u[-1] = o[-1] = 0``.

    The input is not scaled by the decay. The same neuron in SpikingJelly is ``LIFNode(tau=1 / (1 - decay),
    decay_input=False, v_threshold=v_th, v_reset=0.)``: decay 0.2 is tau 1.25. All state lives inside ``forward``:
    there is nothing to reset, and two passes over the same input give the same spikes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Integrates currents ``x [T*N, ...]`` into spikes of the same shape and memory layout."""
        if self.settings.smooth:
            return _integrate_smooth(x, self.num_steps, self.settings)
        spikes: Tensor = _IntegrateAndFire.apply(x, self.num_steps, self.settings)
        return spikes


class _IntegrateAndFire(torch.autograd.Function):
    """All steps at once, with a hand-written backward that stores nothing but the membrane potentials."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, num_steps: int, settings: NeuronSettings) -> Tensor:
        u, spikes = torch.empty_like(x), torch.empty_like(x)
        carried: Tensor | None = None  # what is left of the previous step's potential
        steps = list(zip(x.chunk(num_steps), u.chunk(num_steps), spikes.chunk(num_steps), strict=True))
        for t, (x_t, u_t, o_t) in enumerate(steps):
            if carried is None:
                u_t.copy_(x_t)
            else:
                torch.add(x_t, carried, alpha=settings.decay, out=u_t)
            torch.gt(u_t, settings.v_th, out=o_t)
            if t + 1 < num_steps:
                carried = u_t * (1 - o_t)
        ctx.save_for_backward(u)
        ctx.num_steps, ctx.settings = num_steps, settings
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        num_steps: int = ctx.num_steps
        settings: NeuronSettings = ctx.settings
        grad_x = torch.empty_like(u)
        grad_carried: Tensor | None = None  # decay * d loss / d u[t+1]
        steps = list(zip(u.chunk(num_steps), grad_spikes.chunk(num_steps), grad_x.chunk(num_steps), strict=True))
        for u_t, grad_o_t, grad_x_t in reversed(steps):
            slope = settings.surrogate.derivative(u_t - settings.v_th)
            if grad_carried is None:
                torch.mul(grad_o_t, slope, out=grad_x_t)
            else:
                if not settings.detach_reset:
                    grad_o_t = grad_o_t - grad_carried * u_t
                torch.mul(grad_o_t, slope, out=grad_x_t)
                grad_x_t.addcmul_(grad_carried, (u_t <= settings.v_th).to(u_t.dtype))
            grad_carried = grad_x_t * settings.decay
        return grad_x, None, None


def _integrate_smooth(x: Tensor, num_steps: int, settings: NeuronSettings) -> Tensor:
    """The same recurrence with the surrogate's primitive for the step; plain autograd."""
    outputs: list[Tensor] = []
    carried: Tensor | None = None
    for x_t in x.chunk(num_steps):
        u_t = x_t if carried is None else x_t + settings.decay * carried
        o_t = settings.surrogate.primitive(u_t - settings.v_th)
        gate = 1 - (o_t.detach() if settings.detach_reset else o_t)
        outputs.append(o_t)
        carried = u_t * gate
    return torch.cat(outputs)

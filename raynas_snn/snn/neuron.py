"""The leaky integrate-and-fire neuron.

Legend of shapes: T time steps, N images, C channels, H x W space. Activations are ``[T*N, C, H, W]``, time-major:
the first N entries are step 0. Modules without state treat ``T*N`` as one batch; the neuron splits it into steps.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from raynas_snn.core.options import Options
from raynas_snn.snn.kernels import kernels_for
from raynas_snn.snn.kernels.normalisation import Normalisation
from raynas_snn.snn.normalise import BatchNorm, for_fields, keep, kept
from raynas_snn.snn.surrogate import Rectangular, Surrogate


@dataclass(frozen=True)
class NeuronSettings:
    """Settings of all neurons of a network.

    Attributes:
        decay: Fraction of the membrane potential kept from one step to the next; the paper's tau, not a time constant.
        v_th: Threshold of the membrane potential.
        surrogate: Surrogate gradient, which replaces the derivative of the spike.
        detach_reset: Stop the gradient through the reset gate ``1 - o``.
        smooth: Emit the surrogate's primitive instead of spikes, so that the network is differentiable and its
            gradients can be checked against finite differences. Never used in training.
        options: Those that this kind of neuron declares.
    """

    decay: float = 0.2
    v_th: float = 0.5
    surrogate: Surrogate = field(default_factory=Rectangular)
    detach_reset: bool = False
    smooth: bool = False
    options: Options = Options()


class Neuron(nn.Module):
    """Base class of all neurons: built as ``kind(num_steps, settings)``, emits 0 or 1, counted by the meters.

    Attributes:
        normalises: ``forward`` takes a second argument, a BatchNorm that it applies to its input.
        binary: Emits only 0 or 1, so that spikes may be stored as bytes.
    """

    normalises = False
    binary = False

    def __init__(self, num_steps: int, settings: NeuronSettings) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.settings = settings

    def extra_repr(self) -> str:
        """What ``print(network)`` shows of the neuron."""
        return f"num_steps={self.num_steps}, decay={self.settings.decay}, v_th={self.settings.v_th}"


def normalise_and_fire(norm: nn.Module, neuron: nn.Module, x: Tensor) -> Tensor:
    """``neuron(norm(x))``, fused if the neuron supports it."""
    spikes: Tensor = neuron(x, norm) if getattr(neuron, "normalises", False) else neuron(norm(x))
    return spikes


class LIF(Neuron):
    """Leaky integrate-and-fire with hard reset to zero (MA-DARTS eq. 1-3).

    ``u[t] = decay * u[t-1] * (1 - o[t-1]) + x[t]``,  ``o[t] = 1 if u[t] > v_th else 0``,  ``u[-1] = o[-1] = 0``.

    The input is not scaled by the decay. The same neuron in SpikingJelly is ``LIFNode(tau=1 / (1 - decay),
    decay_input=False, v_threshold=v_th, v_reset=0.)``: decay 0.2 is tau 1.25. All state lives inside ``forward``:
    there is nothing to reset, and two passes over the same input give the same spikes.

    >>> neuron = LIF(4, NeuronSettings(decay=0.5, v_th=0.9))
    >>> neuron(torch.tensor([[0.8], [0.6], [0.8], [0.8]])).flatten()  # one image at four steps: u = 0.8, 1.0, 0.8, 1.2
    tensor([0., 1., 0., 1.])
    """

    normalises = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Sets ``normalises`` to False in a derived class with its own ``forward``, unless it declares it."""
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls):
            cls.normalises = vars(cls).get("normalises", False)

    def __init__(self, num_steps: int, settings: NeuronSettings) -> None:
        super().__init__(num_steps, settings)
        self.binary = type(self).forward is LIF.forward and not settings.smooth

    def forward(self, x: Tensor, norm: BatchNorm | None = None) -> Tensor:
        """Integrates currents ``x [T*N, ...]``, normalised by ``norm`` if there is one, into spikes ``[T*N, ...]``."""
        if len(x) % self.num_steps:
            raise ValueError(f"{len(x)} maps are not {self.num_steps} steps of as many images each")
        if self.settings.smooth:
            return _integrate_smooth(x if norm is None else norm(x), self.num_steps, self.settings)
        if norm is not None:
            spikes: Tensor = _IntegrateAndFire.apply(x, self.num_steps, self.settings, *norm.normalisation(x))
            return spikes
        maps = x if x.dim() == 4 else x.reshape(len(x), -1)
        spikes = _IntegrateAndFire.apply(maps, self.num_steps, self.settings)
        return spikes.view_as(x)


class _IntegrateAndFire(torch.autograd.Function):
    """All steps at once, with a hand-written backward that keeps nothing but the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, num_steps: int, settings: NeuronSettings, *normalisation: Any) -> Tensor:
        norm = Normalisation(*normalisation) if normalisation else None
        keep(ctx, x, norm)
        ctx.num_steps, ctx.settings = num_steps, settings
        spikes: Tensor = kernels_for(x).fire(x, norm, num_steps, settings.decay, settings.v_th)
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Any, ...]:
        x, norm = kept(ctx)
        settings: NeuronSettings = ctx.settings
        kernels = kernels_for(x)
        grad, *of_parameters = kernels.fire_backward(
            grad_spikes,
            x,
            norm,
            ctx.num_steps,
            settings.decay,
            settings.v_th,
            settings.detach_reset,
            settings.surrogate,
        )
        if norm is None:
            return grad, None, None
        grad_x = kernels.input_gradient(grad, x, norm, *of_parameters, overwrite=True)
        return grad_x, None, None, *for_fields(norm, *of_parameters)


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

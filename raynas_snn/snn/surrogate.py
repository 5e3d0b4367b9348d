"""Surrogate gradients: what stands in for the derivative of the spike, a step function.

A surrogate is a pair of functions of the distance to threshold ``x = u - v_th``: the ``derivative`` that the
backward pass uses, and its ``primitive``, a smooth step from 0 to 1 that a neuron in smooth mode emits instead
of spikes. The primitive is what makes finite differences meaningful in tests. It is built as ``kind(options)``.

MA-DARTS does not state its surrogate; the rectangular window is our default because the decay 0.2, threshold
0.5 and width 1 of STBP and SpikeDHS are the constants that MA-DARTS uses otherwise.
"""

import math
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from raynas_snn.snn.surrogate_options import ATanOptions, DspikeOptions, RectangularOptions, SigmoidOptions


class Surrogate(Protocol):
    """A derivative and its primitive, both elementwise in the distance to threshold."""

    def derivative(self, x: Tensor) -> Tensor:
        """Stands for d spike / d u at distance ``x`` from the threshold."""
        ...

    def primitive(self, x: Tensor) -> Tensor:
        """A smooth step whose derivative is ``derivative``."""
        ...


class _Shape:
    """What the built-in surrogates have in common."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value:g}' for name, value in vars(self).items())})"


class Rectangular(_Shape):
    """``1 / width`` for ``|x| < width / 2``, else 0 (STBP, Wu et al. 2018).

    >>> Rectangular().derivative(torch.tensor([-0.6, 0.0, 0.4]))
    tensor([0., 1., 1.])
    """

    options: ClassVar = RectangularOptions

    def __init__(self, options: RectangularOptions = RectangularOptions()) -> None:
        self.width = options.width

    def derivative(self, x: Tensor) -> Tensor:
        """A window of area 1 around the threshold."""
        return (x.abs() < self.width / 2).to(x.dtype).div_(self.width)

    def primitive(self, x: Tensor) -> Tensor:
        """A ramp from 0 to 1 over ``width``."""
        return (x / self.width + 0.5).clamp(0.0, 1.0)


class Dspike(_Shape):
    """``b / (2 tanh(b/2)) * (1 - tanh(b x)^2)`` for ``|x| < 1/2``, else 0, b the temperature (Li et al. 2021).

    A small ``b`` gives a wide, a large ``b`` a narrow window; the support is one wide whatever the threshold.

    >>> Dspike().derivative(torch.tensor([-0.6, 0.0, 0.6]))
    tensor([0.0000, 1.6572, 0.0000])
    """

    options: ClassVar = DspikeOptions

    def __init__(self, options: DspikeOptions = DspikeOptions()) -> None:
        self.temperature = options.temperature

    def derivative(self, x: Tensor) -> Tensor:
        """A bell cut off at half a unit from the threshold."""
        bell = (1 - torch.tanh(self.temperature * x).square()) * (
            self.temperature / (2 * math.tanh(self.temperature / 2))
        )
        return bell * (x.abs() < 0.5)

    def primitive(self, x: Tensor) -> Tensor:
        """A scaled tanh that reaches 0 and 1 at half a unit from the threshold."""
        return torch.tanh(self.temperature * x.clamp(-0.5, 0.5)) / (2 * math.tanh(self.temperature / 2)) + 0.5


class ATan(_Shape):
    """``alpha / 2 / (1 + (pi/2 alpha x)^2)`` (Fang et al. 2021; SpikingJelly's ATan).

    >>> ATan().derivative(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.0920])
    """

    options: ClassVar = ATanOptions

    def __init__(self, options: ATanOptions = ATanOptions()) -> None:
        self.alpha = options.alpha

    def derivative(self, x: Tensor) -> Tensor:
        """A bell with long tails."""
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * x).square())

    def primitive(self, x: Tensor) -> Tensor:
        """A shifted arctangent."""
        return torch.atan(math.pi / 2 * self.alpha * x) / math.pi + 0.5


class Sigmoid(_Shape):
    """``slope s (1 - s)`` with ``s = sigmoid(slope x)`` (SpikingJelly's Sigmoid, whose alpha it is).

    >>> Sigmoid().derivative(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.0707])
    """

    options: ClassVar = SigmoidOptions

    def __init__(self, options: SigmoidOptions = SigmoidOptions()) -> None:
        self.slope = options.slope

    def derivative(self, x: Tensor) -> Tensor:
        """The logistic bell."""
        s = torch.sigmoid(self.slope * x)
        return s * (1 - s) * self.slope

    def primitive(self, x: Tensor) -> Tensor:
        """The logistic function."""
        return torch.sigmoid(self.slope * x)

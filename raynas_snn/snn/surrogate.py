"""Surrogate gradients: what stands in for the derivative of the spike, a step function.

A surrogate is a pair of functions of the distance to threshold ``x = u - v_th``: the ``derivative`` that the
backward pass uses, and its ``primitive``, a smooth step from 0 to 1 that a neuron in smooth mode emits instead
of spikes. The primitive is what makes finite differences meaningful in tests.

MA-DARTS does not state its surrogate; the rectangular window is our default because the decay 0.2, threshold
0.5 and width 1 of STBP and SpikeDHS are the constants that MA-DARTS uses otherwise.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Surrogate(Protocol):
    """A derivative and its primitive, both elementwise in the distance to threshold."""

    def derivative(self, x: Tensor) -> Tensor:
        """Stands for d spike / d u at distance ``x`` from the threshold."""
        ...

    def primitive(self, x: Tensor) -> Tensor:
        """A smooth step whose derivative is ``derivative``."""
        ...


@dataclass(frozen=True)
class Rectangular:
    """``1 / width`` for ``|x| < width / 2``, else 0 (STBP, Wu et al. 2018)."""

    width: float = 1.0

    def derivative(self, x: Tensor) -> Tensor:
        """A window of area 1 around the threshold."""
        return (x.abs() < self.width / 2).to(x.dtype).div_(self.width)

    def primitive(self, x: Tensor) -> Tensor:
        """A ramp from 0 to 1 over ``width``."""
        return (x / self.width + 0.5).clamp(0.0, 1.0)


@dataclass(frozen=True)
class Dspike:
    """``b / (2 tanh(b/2)) * (1 - tanh(b x)^2)`` for ``|x| < 1/2``, else 0 (Dspike, Li et al. 2021; SpikeDHS).

    A small ``b`` gives a wide, a large ``b`` a narrow window; the support is one wide whatever the threshold.
    """

    b: float = 3.0

    def derivative(self, x: Tensor) -> Tensor:
        """A bell cut off at half a unit from the threshold."""
        bell = (1 - torch.tanh(self.b * x).square()) * (self.b / (2 * math.tanh(self.b / 2)))
        return bell * (x.abs() < 0.5)

    def primitive(self, x: Tensor) -> Tensor:
        """A scaled tanh that reaches 0 and 1 at half a unit from the threshold."""
        return torch.tanh(self.b * x.clamp(-0.5, 0.5)) / (2 * math.tanh(self.b / 2)) + 0.5


@dataclass(frozen=True)
class ATan:
    """``alpha / 2 / (1 + (pi/2 alpha x)^2)`` (Fang et al. 2021; SpikingJelly's ATan)."""

    alpha: float = 2.0

    def derivative(self, x: Tensor) -> Tensor:
        """A bell with long tails."""
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * x).square())

    def primitive(self, x: Tensor) -> Tensor:
        """A shifted arctangent."""
        return torch.atan(math.pi / 2 * self.alpha * x) / math.pi + 0.5


@dataclass(frozen=True)
class Sigmoid:
    """``alpha s (1 - s)`` with ``s = sigmoid(alpha x)`` (SpikingJelly's Sigmoid)."""

    alpha: float = 4.0

    def derivative(self, x: Tensor) -> Tensor:
        """The logistic bell."""
        s = torch.sigmoid(self.alpha * x)
        return s * (1 - s) * self.alpha

    def primitive(self, x: Tensor) -> Tensor:
        """The logistic function."""
        return torch.sigmoid(self.alpha * x)

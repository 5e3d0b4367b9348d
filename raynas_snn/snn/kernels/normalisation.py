"""The parameters and running statistics of a BatchNorm, as the kernels take them."""

from typing import NamedTuple

from torch import Tensor


class Normalisation(NamedTuple):
    """A normalisation of a map, by channel: ``(x - mean) / sqrt(variance + eps) * weight + bias``.

    Attributes:
        weight: ``[C]``, or one number ``[]`` for all channels, or None for 1.
        bias: ``[C]``, or None for 0.
        mean: ``[C]``.
        variance: ``[C]``, biased if it is of the batch.
        eps: Keeps the root away from zero.
        of_batch: Mean and variance are those of the map itself, so that gradients flow through them.
    """

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    variance: Tensor
    eps: float
    of_batch: bool

    def inverse_deviation(self) -> Tensor:
        """``1 / sqrt(variance + eps)``."""
        return (self.variance + self.eps).rsqrt()

    def affine(self) -> tuple[Tensor, Tensor]:
        """The same as ``scale * x + shift``."""
        scale = self.inverse_deviation() if self.weight is None else self.inverse_deviation() * self.weight
        shift = -self.mean * scale
        return scale, shift if self.bias is None else shift + self.bias


class RunningStatistics(NamedTuple):
    """Running statistics of a BatchNorm; tensors that are updated in place.

    Attributes:
        mean: ``[C]``.
        variance: ``[C]``, unbiased.
        num_batches: Number of maps, ``[]``.
        momentum: Weight of a new map; None for the plain mean over all maps.
    """

    mean: Tensor
    variance: Tensor
    num_batches: Tensor
    momentum: float | None

    def copy(self) -> "RunningStatistics":
        """A copy in new tensors."""
        return RunningStatistics(self.mean.clone(), self.variance.clone(), self.num_batches.clone(), self.momentum)

    def remember(self, mean: Tensor, variance: Tensor, number: int) -> None:
        """Updates them with a map's mean and biased variance over ``number`` values per channel."""
        self.num_batches.add_(1)
        rate = self.num_batches.to(mean.dtype).reciprocal() if self.momentum is None else self.momentum
        self.mean.lerp_(mean.to(self.mean.dtype), rate)
        self.variance.lerp_(variance.to(self.variance.dtype) * (number / (number - 1)), rate)

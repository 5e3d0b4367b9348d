"""BatchNorm for spiking networks: over all time steps together, and fused with the operation that follows.

Statistics are taken over ``T*N, H, W`` (as in tdBN); statistics per step would give a different function. Where a
neuron follows, it normalises while it integrates, so the normalised map is never written to memory. Where a sum
follows, as in the cells of a search, the map is normalised while it is added.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from raynas_snn.snn.kernels import kernels_for
from raynas_snn.snn.kernels.normalisation import Normalisation, RunningStatistics

_at_rest = ContextVar("statistics at rest", default=False)


@contextmanager
def statistics_at_rest() -> Iterator[None]:
    """Freezes running statistics in the body, for a pass that repeats another."""
    token = _at_rest.set(True)
    try:
        yield
    finally:
        _at_rest.reset(token)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation, optionally with one scalar in place of the affine weights.

    Parameters, running statistics and their names are those of ``nn.BatchNorm2d``.

    >>> BatchNorm(1, searching=True)(torch.tensor([[-1.0], [1.0]]), scale=torch.tensor(3.0)).round().flatten()
    tensor([-3.,  3.])
    """

    def __init__(self, channels: int, searching: bool = False) -> None:
        super().__init__(channels, affine=not searching)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Normalises ``x [T*N, C, H, W]``; ``scale`` multiplies the result (only without affine weights)."""
        out: Tensor = _AddNormalised.apply(None, x, *self.normalisation(x, scale))
        return out

    def add_to(self, total: Tensor | None, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Adds what `forward` would return to ``total`` in place; returns it alone where there is no total yet."""
        out: Tensor = _AddNormalised.apply(total, x, *self.normalisation(x, scale))
        return out

    def normalisation(self, x: Tensor, scale: Tensor | None = None) -> Normalisation:
        """What this layer does to ``x``; while training it keeps the running statistics up to date.

        Raises:
            ValueError: If ``x`` has other channels or dimensions, or a training batch has a single value per channel.
        """
        if x.dim() not in (2, 4) or x.shape[1] != self.num_features:
            raise ValueError(f"BatchNorm expects [T*N, {self.num_features}, H, W], not {list(x.shape)}")
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        weight: Tensor | None = self.weight
        if scale is not None:
            weight = scale.reshape(()) if scale.numel() == 1 else scale
        mean, variance = self.running_mean, self.running_var
        if self.training:
            if x.numel() == self.num_features:
                raise ValueError("BatchNorm needs more than one value per channel when training")
            running = RunningStatistics(mean, variance, self.num_batches_tracked, self.momentum)
            mean, variance = kernels_for(x).observe(x.detach(), running.copy() if _at_rest.get() else running)
        return Normalisation(weight, self.bias, mean, variance, self.eps, of_batch=self.training)


class _AddNormalised(torch.autograd.Function):
    """``total + normalised x``, written over ``total`` where there is one."""

    @staticmethod
    def forward(ctx: Any, total: Tensor | None, x: Tensor, *normalisation: Any) -> Tensor:
        norm = Normalisation(*normalisation)
        keep(ctx, x, norm)
        if total is not None:
            ctx.mark_dirty(total)
        out: Tensor = kernels_for(x).normalise(x, norm, total)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, norm = kept(ctx)
        assert norm is not None
        kernels = kernels_for(x)
        if grad.dim() == 4:  # a slice of a concatenation is laid out once, and handed on to the rest of the sum so
            grad = grad.contiguous(memory_format=torch.channels_last)
        of_parameters = kernels.gradients(grad, x, norm)
        grad_x = kernels.input_gradient(grad, x, norm, *of_parameters, overwrite=False)
        return grad if ctx.needs_input_grad[0] else None, grad_x, *for_fields(norm, *of_parameters)


def keep(ctx: Any, x: Tensor, norm: Normalisation | None) -> None:
    """Saves a map and its normalisation for the backward pass of an autograd function."""
    tensors, ctx.constants = ((), None) if norm is None else (norm[:4], norm[4:])
    ctx.save_for_backward(x, *tensors)


def kept(ctx: Any) -> tuple[Tensor, Normalisation | None]:
    """What `keep` has saved."""
    x, *tensors = ctx.saved_tensors
    return x, None if ctx.constants is None else Normalisation(*tensors, *ctx.constants)


def for_fields(norm: Normalisation, grad_weight: Tensor, grad_bias: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients in the order of a normalisation's fields, for an autograd function to return."""
    if norm.weight is not None and norm.weight.dim() == 0:
        grad_weight = grad_weight.sum()
    return (
        None if norm.weight is None else grad_weight,
        None if norm.bias is None else grad_bias,
        *(None,) * (len(norm) - 2),
    )

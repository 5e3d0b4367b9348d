"""Adds the candidates without weights of their own to all nodes that read a source, in one pass over memory."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from raynas_snn.snn.kernels import kernels_for


def add_mixtures(totals: Sequence[Tensor], maps: Sequence[Tensor], weights: Tensor) -> list[Tensor]:
    """Adds ``sum_k weights[e, k] * maps[k]`` to the sum of each node ``e``, in place.

    Args:
        totals: A sum for each node that reads the source, ``[T*N, C, H, W]``.
        maps: The output of each candidate on the source, of the same shape.
        weights: The weight of each candidate on the edge to each node, ``[nodes, candidates]``.
    """
    return list(_AddMixtures.apply(weights, len(totals), *totals, *(one.to(totals[0].dtype) for one in maps)))


class _AddMixtures(torch.autograd.Function):
    """All totals and maps at once, so that a map is read once for all nodes, and its gradient written once."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, num_totals: int, *totals_and_maps: Tensor) -> tuple[Tensor, ...]:
        totals, maps = totals_and_maps[:num_totals], totals_and_maps[num_totals:]
        ctx.save_for_backward(weights, *maps)
        ctx.mark_dirty(*totals)
        kernels_for(totals[0]).mix(totals, maps, weights)
        return totals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        weights, *maps = ctx.saved_tensors
        grads = tuple(grad.contiguous(memory_format=torch.channels_last) for grad in grads)
        grad_maps, grad_weights = kernels_for(grads[0]).mix_backward(grads, maps, weights)
        return grad_weights, None, *grads, *grad_maps

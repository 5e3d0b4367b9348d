"""Launches the kernels for CUDA devices, which are in `device_normalise`, `device_fire` and `device_mix`.

Values per channel (scale, shift, coefficients, running statistics) are computed inside the kernels, so a map takes one
launch, or two where something is summed. Nothing synchronises with the device, and all sizes follow from shapes, so a
CUDA graph can capture every function. The order of summation depends on the shapes alone.
"""

from collections.abc import Sequence

import torch
import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
from torch import Tensor

from raynas_snn.snn.kernels import device_fire, device_mix, device_normalise, eager
from raynas_snn.snn.kernels.cuda_launch import (
    COMPUTE,
    FINISH,
    PARTS,
    Tiles,
    arithmetic,
    block_of,
    finishers,
    launch,
    norm_arguments,
    shape_of,
    shares,
    usable,
)
from raynas_snn.snn.kernels.layout import alike, rows_of
from raynas_snn.snn.kernels.normalisation import Normalisation, RunningStatistics
from raynas_snn.snn.surrogate import Surrogate

__all__ = [
    "fire",
    "fire_backward",
    "gradients",
    "input_gradient",
    "mix",
    "mix_backward",
    "normalise",
    "observe",
    "usable",
]

MOST_STEPS = 16  # their potentials are kept in registers
MOST_MAPS = 8  # that `mix` reads at once, and as many totals


def observe(x: Tensor, running: RunningStatistics) -> tuple[Tensor, Tensor]:
    """See `eager.observe`."""
    x, (rows, channels) = rows_of(x)
    tiles = Tiles.of(x, rows, channels)
    partial = tiles.partial_sums(x)
    mean, variance = partial.new_empty(2, channels)
    launch(
        x,
        device_normalise.observe_parts,
        tiles.grid,
        x,
        partial,
        running.num_batches,
        rows,
        tiles.each,
        **tiles.shape(),
    )
    launch(
        x,
        device_normalise.observe_finish,
        finishers(channels),
        x,
        partial,
        mean,
        variance,
        running.mean,
        running.variance,
        running.num_batches,
        len(partial),
        rows,
        float(running.momentum or 0.0),
        PLAIN_MEAN=running.momentum is None,
        CHANNELS=channels,
        **FINISH,
    )
    return mean, variance


def normalise(x: Tensor, norm: Normalisation, total: Tensor | None = None) -> Tensor:
    """See `eager.normalise`."""
    x, (rows, channels) = rows_of(x)
    out = torch.empty_like(x) if total is None else rows_of(total)[0]
    tiles = Tiles.of(x, rows, channels, one_each=True)
    launch(
        x,
        device_normalise.normalise,
        tiles.grid,
        x,
        out,
        **norm_arguments(norm),
        rows=rows,
        ADD=total is not None,
        **tiles.shape(),
    )
    return out if total is None or out is total else total.copy_(out)


def gradients(grad: Tensor, x: Tensor, norm: Normalisation) -> tuple[Tensor, Tensor]:
    """See `eager.gradients`."""
    (grad, (rows, channels)), (x, _) = rows_of(grad), rows_of(x)
    tiles = Tiles.of(x, rows, channels)
    partial = tiles.partial_sums(x)
    launch(
        x, device_normalise.gradient_parts, tiles.grid, grad, x, norm.mean, partial, rows, tiles.each, **tiles.shape()
    )
    return _finish(partial, norm)


def input_gradient(
    grad: Tensor, x: Tensor, norm: Normalisation, grad_weight: Tensor, grad_bias: Tensor, overwrite: bool
) -> Tensor:
    """See `eager.input_gradient`."""
    (grad, (rows, channels)), (x, _) = rows_of(grad), rows_of(x)
    out = grad if overwrite else torch.empty_like(x)
    tiles = Tiles.of(x, rows, channels, one_each=True)
    launch(
        x,
        device_normalise.input_gradient,
        tiles.grid,
        grad,
        x,
        out,
        **norm_arguments(norm),
        grad_weight=grad_weight,
        grad_bias=grad_bias,
        rows=rows,
        OF_BATCH=norm.of_batch,
        **tiles.shape(),
    )
    return out


def fire(x: Tensor, norm: Normalisation | None, num_steps: int, decay: float, v_th: float) -> Tensor:
    """See `eager.fire`, which longer times are left to."""
    if num_steps > MOST_STEPS:
        return eager.fire(x, norm, num_steps, decay, v_th)
    x, (rows, channels) = rows_of(x)
    spikes = torch.empty_like(x)
    tiles = Tiles.of(x, rows // num_steps, channels, num_steps, one_each=True)
    launch(
        x,
        device_fire.fire,
        tiles.grid,
        x,
        spikes,
        **norm_arguments(norm),
        decay=float(decay),
        v_th=float(v_th),
        rows=rows // num_steps,
        STEPS=num_steps,
        **tiles.shape(),
    )
    return spikes


def fire_backward(
    grad: Tensor,
    x: Tensor,
    norm: Normalisation | None,
    num_steps: int,
    decay: float,
    v_th: float,
    detach_reset: bool,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """See `eager.fire_backward`, which other surrogates and longer times are left to."""
    shape = shape_of(surrogate)
    if shape is None or num_steps > MOST_STEPS:
        return eager.fire_backward(grad, x, norm, num_steps, decay, v_th, detach_reset, surrogate)
    (grad, (rows, channels)), (x, _) = rows_of(grad), rows_of(x)
    grad_in = torch.empty_like(x)
    tiles = Tiles.of(x, rows // num_steps, channels, num_steps)
    partial = None if norm is None else tiles.partial_sums(x)
    kind, sharpness, height = shape
    launch(
        x,
        device_fire.fire_backward,
        tiles.grid,
        grad,
        x,
        grad_in,
        partial,
        **norm_arguments(norm),
        decay=float(decay),
        v_th=float(v_th),
        sharpness=sharpness,
        height=height,
        rows=rows // num_steps,
        tiles=tiles.each,
        STEPS=num_steps,
        DETACH_RESET=detach_reset,
        SURROGATE=kind,
        **tiles.shape(),
    )
    return (grad_in, None, None) if norm is None or partial is None else (grad_in, *_finish(partial, norm))


def mix(totals: Sequence[Tensor], maps: Sequence[Tensor], weights: Tensor) -> None:
    """See `eager.mix`, which larger numbers of maps are left to."""
    if max(weights.shape) > MOST_MAPS:
        eager.mix(totals, maps, weights)
        return
    sums, maps = alike(totals), alike(maps)
    block, numbers = block_of(maps[0], len(maps)), maps[0].numel()
    sizes = {"numbers": numbers, "EDGES": len(sums), "KINDS": len(maps), "BLOCK": block, "COMPUTE": arithmetic(maps[0])}
    grid = (triton.cdiv(numbers, block),)
    launch(weights, device_mix.mix, grid, sums, maps, weights, *weights.stride(), **sizes)
    for total, summed in zip(totals, sums, strict=True):
        if summed is not total:
            total.copy_(summed)


def mix_backward(grads: Sequence[Tensor], maps: Sequence[Tensor], weights: Tensor) -> tuple[list[Tensor], Tensor]:
    """See `eager.mix_backward`, which larger numbers of maps are left to."""
    if max(weights.shape) > MOST_MAPS:
        return eager.mix_backward(grads, maps, weights)
    grads, maps = alike(grads), alike(maps)
    grad_maps = tuple(torch.empty_like(one) for one in maps)
    block, numbers = block_of(maps[0], len(maps)), maps[0].numel()
    tiles, parts = shares(triton.cdiv(numbers, block), PARTS)
    partial = maps[0].new_empty(weights.numel(), parts, dtype=COMPUTE[maps[0].dtype])
    grad_weights = torch.empty(weights.shape, dtype=weights.dtype, device=weights.device)
    launch(
        weights,
        device_mix.mix_backward,
        (parts,),
        grads,
        maps,
        grad_maps,
        weights,
        partial,
        *weights.stride(),
        numbers,
        tiles,
        parts,
        EDGES=len(grads),
        KINDS=len(maps),
        PRODUCTS=triton.next_power_of_2(weights.numel()),
        BLOCK=block,
        COMPUTE=arithmetic(maps[0]),
    )
    launch(weights, device_mix.mix_finish, (weights.numel(),), partial, grad_weights, parts, AT_ONCE=PARTS)
    return list(grad_maps), grad_weights


def _finish(partial: Tensor, norm: Normalisation) -> tuple[Tensor, Tensor]:
    """Gradients of weight and bias from partial sums."""
    channels = partial.shape[2]
    grad_weight, grad_bias = partial.new_empty(2, channels)
    arguments = (partial, norm.variance, grad_weight, grad_bias, float(norm.eps), len(partial))
    launch(partial, device_normalise.gradient_finish, finishers(channels), *arguments, CHANNELS=channels, **FINISH)
    return grad_weight, grad_bias

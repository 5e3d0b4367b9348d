# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
"""Triton kernels for neurons, launched by `cuda`; `device_normalise` explains the memory layout and constants.

The loop over STEPS is unrolled, and the state of a neuron stays in registers between steps.
"""

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

from raynas_snn.snn.kernels.device_normalise import affine, currents, keep_sums, tile_at

RECTANGULAR = tl.constexpr(0)
DSPIKE = tl.constexpr(1)
ATAN = tl.constexpr(2)
SIGMOID = tl.constexpr(3)


@triton.jit
def slope_at(distance, sharpness, height, SURROGATE: tl.constexpr, COMPUTE: tl.constexpr):
    """A surrogate's derivative at a distance from the threshold; see `cuda_launch.shape_of` for the two numbers."""
    sharpness = tl.full((1, 1), sharpness, COMPUTE)
    height = tl.full((1, 1), height, COMPUTE)
    away = tl.abs(distance)
    if SURROGATE == RECTANGULAR:
        return tl.where(away < sharpness, height, 0.0)
    if SURROGATE == ATAN:
        scaled = distance * sharpness
        return height / (1.0 + scaled * scaled)
    bell = tl.exp(-away * sharpness)  # s (1 - s) and 1 - tanh^2, free of overflow and cancellation
    slope = height * bell / ((1.0 + bell) * (1.0 + bell))
    if SURROGATE == DSPIKE:
        slope = tl.where(away < 0.5, slope, 0.0)
    return slope


@triton.jit(do_not_specialize=["rows"])
def fire(
    x,
    spikes,
    mean,
    variance,
    weight,
    bias,
    eps: tl.float64,
    decay: tl.float64,
    v_th: tl.float64,
    rows,
    STEPS: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """u[t] = decay * u[t-1] * (1 - o[t-1]) + currents[t], o[t] = u[t] > v_th; a step is so many rows."""
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    scale = None
    shift = None
    if mean is not None:
        scale, shift, _, _ = affine(mean, variance, weight, bias, eps, channel, PER_CHANNEL, CHANNELS, COMPUTE)
    row = tl.program_id(0) * HEIGHT
    offsets, inside = tile_at(row, rows, channel, CHANNELS, HEIGHT)
    x += row.to(tl.int64) * CHANNELS
    spikes += row.to(tl.int64) * CHANNELS
    decay = tl.full((1, 1), decay, COMPUTE)
    v_th = tl.full((1, 1), v_th, COMPUTE)
    carried = tl.zeros((HEIGHT, WIDTH), COMPUTE)
    for _step in tl.static_range(STEPS):
        values = tl.load(x + offsets, mask=inside, other=0)
        u = tl.fma(decay, carried, currents(values, scale, shift, mean is not None, COMPUTE))
        tl.store(spikes + offsets, tl.where(u > v_th, 1.0, 0.0), mask=inside)
        carried = tl.where(u > v_th, 0.0, u)
        x += rows * CHANNELS
        spikes += rows * CHANNELS


@triton.jit(do_not_specialize=["rows", "tiles"])
def fire_backward(
    grad,
    x,
    out,
    partial,
    mean,
    variance,
    weight,
    bias,
    eps: tl.float64,
    decay: tl.float64,
    v_th: tl.float64,
    sharpness: tl.float64,
    height: tl.float64,
    rows,
    tiles,
    STEPS: tl.constexpr,
    DETACH_RESET: tl.constexpr,
    SURROGATE: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Gradient of `fire` with respect to the currents; the potentials are recomputed and kept in registers.

    With a normalisation also the sums of `gradient_parts`.
    """
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    scale = None
    shift = None
    centre = None
    if mean is not None:
        scale, shift, centre, _inverse = affine(
            mean, variance, weight, bias, eps, channel, PER_CHANNEL, CHANNELS, COMPUTE
        )
    decay = tl.full((1, 1), decay, COMPUTE)
    v_th = tl.full((1, 1), v_th, COMPUTE)
    sums = tl.zeros((HEIGHT, WIDTH), COMPUTE)
    products = tl.zeros((HEIGHT, WIDTH), COMPUTE)
    for tile in range(tiles):
        row = (tl.program_id(0) * tiles + tile) * HEIGHT
        offsets, inside = tile_at(row, rows, channel, CHANNELS, HEIGHT)
        start = row.to(tl.int64) * CHANNELS
        x_t = x + start
        maps = ()
        potentials = ()
        carried = tl.zeros((HEIGHT, WIDTH), COMPUTE)
        for _step in tl.static_range(STEPS):
            values = tl.load(x_t + offsets, mask=inside, other=0)
            u = tl.fma(decay, carried, currents(values, scale, shift, mean is not None, COMPUTE))
            carried = tl.where(u > v_th, 0.0, u)
            maps += (values,)
            potentials += (u,)
            x_t += rows * CHANNELS
        carried = tl.zeros((HEIGHT, WIDTH), COMPUTE)  # from here on decay * d loss / d u[t+1]
        last = start + (STEPS - 1) * (tl.zeros((), tl.int64) + rows * CHANNELS)
        grad_t = grad + last
        out_t = out + last
        for back in tl.static_range(STEPS):
            u = potentials[STEPS - 1 - back]
            through_spike = tl.load(grad_t + offsets, mask=inside, other=0).to(COMPUTE)
            if not DETACH_RESET:
                through_spike -= carried * u
            slope = slope_at(u - v_th, sharpness, height, SURROGATE, COMPUTE)
            grad_u = through_spike * slope + tl.where(u > v_th, 0.0, carried)
            tl.store(out_t + offsets, grad_u, mask=inside)
            if mean is not None:
                counted = tl.where(inside, grad_u, 0.0)
                sums += counted
                products += counted * (maps[STEPS - 1 - back].to(COMPUTE) - centre)
            carried = decay * grad_u
            grad_t -= rows * CHANNELS
            out_t -= rows * CHANNELS
    if mean is not None:
        keep_sums(partial, sums, products, channel, CHANNELS)

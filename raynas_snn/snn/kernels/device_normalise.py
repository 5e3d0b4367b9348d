# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
"""Triton kernels for normalisations, launched by `cuda`; `eager` defines in plain torch what they compute.

Maps are rows of C channels in memory: row ((t * N + n) * H + h) * W + w. A program works on tiles of HEIGHT rows by
WIDTH channels. Arithmetic is in COMPUTE, float32 or wider, whatever type the maps have. Each program computes partial
sums, which one program per channel then adds in a fixed order, so results are deterministic.
"""

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]


@triton.jit
def tile_at(row, rows, channel, CHANNELS: tl.constexpr, HEIGHT: tl.constexpr):
    """Offsets of a tile's numbers from the start of its first row, and which of them belong to the map."""
    down = tl.arange(0, HEIGHT)
    offsets = down[:, None] * CHANNELS + channel[None, :]
    return offsets, (row + down < rows)[:, None] & (channel < CHANNELS)[None, :]


@triton.jit
def by_channel(numbers, channel, inside, COMPUTE: tl.constexpr):
    """One number for each channel of a tile, ``[1, WIDTH]``."""
    return tl.load(numbers + channel, mask=inside, other=0).to(COMPUTE)[None, :]


@triton.jit
def affine(
    mean, variance, weight, bias, eps, channel, PER_CHANNEL: tl.constexpr, CHANNELS: tl.constexpr, COMPUTE: tl.constexpr
):
    """Scale and shift of a normalisation, and the mean and inverse deviation; each ``[1, WIDTH]``."""
    inside = channel < CHANNELS
    centre = by_channel(mean, channel, inside, COMPUTE)
    inverse = tl.rsqrt(by_channel(variance, channel, inside, COMPUTE) + tl.full((1, 1), eps, COMPUTE))
    scale = inverse
    if weight is not None:
        if PER_CHANNEL:
            scale = inverse * by_channel(weight, channel, inside, COMPUTE)
        else:
            scale = inverse * tl.load(weight).to(COMPUTE)
    shift = -centre * scale
    if bias is not None:
        shift += by_channel(bias, channel, inside, COMPUTE)
    return scale, shift, centre, inverse


@triton.jit
def currents(values, scale, shift, NORMALISED: tl.constexpr, COMPUTE: tl.constexpr):
    """A map's numbers as currents; multiplied and added at once, so that both passes over a map get the same bits."""
    values = values.to(COMPUTE)
    if NORMALISED:
        values = tl.fma(values, scale, shift)
    return values


@triton.jit
def keep_sums(partial, first, second, channel, CHANNELS: tl.constexpr):
    """Stores the sums over the rows of two tiles as this program's row of ``partial [parts, 2, C]``."""
    row = partial + tl.program_id(0) * 2 * CHANNELS + channel
    tl.store(row, tl.sum(first, axis=0), mask=channel < CHANNELS)
    tl.store(row + CHANNELS, tl.sum(second, axis=0), mask=channel < CHANNELS)


@triton.jit
def add_parts(partial, parts, channel, CHANNELS: tl.constexpr, WIDTH: tl.constexpr, AT_ONCE: tl.constexpr):
    """Both sums over all parts, in float64."""
    first = tl.zeros((WIDTH,), tl.float64)
    second = tl.zeros((WIDTH,), tl.float64)
    for start in range(0, parts, AT_ONCE):
        part = start + tl.arange(0, AT_ONCE)
        rows = partial + part[:, None] * (2 * CHANNELS) + channel[None, :]
        inside = (part < parts)[:, None] & (channel < CHANNELS)[None, :]
        first += tl.sum(tl.load(rows, mask=inside, other=0).to(tl.float64), axis=0)
        second += tl.sum(tl.load(rows + CHANNELS, mask=inside, other=0).to(tl.float64), axis=0)
    return first, second


@triton.jit(do_not_specialize=["rows", "tiles"])
def observe_parts(
    x,
    partial,
    num_batches,
    rows,
    tiles,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Sums of the numbers and of their squares, less the first of each channel, so that digits survive a large mean."""
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    pivot = by_channel(x, channel, channel < CHANNELS, COMPUTE)
    sums = tl.zeros((HEIGHT, WIDTH), COMPUTE)
    squares = tl.zeros((HEIGHT, WIDTH), COMPUTE)
    for tile in range(tiles):
        row = (tl.program_id(0) * tiles + tile) * HEIGHT
        offsets, inside = tile_at(row, rows, channel, CHANNELS, HEIGHT)
        values = tl.load(x + row.to(tl.int64) * CHANNELS + offsets, mask=inside, other=0).to(COMPUTE)
        shifted = tl.where(inside, values - pivot, 0.0)
        sums += shifted
        squares += shifted * shifted
    keep_sums(partial, sums, squares, channel, CHANNELS)
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):  # here, because all programs of the next kernel read it
        tl.store(num_batches, tl.load(num_batches) + 1)


@triton.jit(do_not_specialize=["parts", "rows"])
def observe_finish(
    x,
    partial,
    mean,
    variance,
    running_mean,
    running_variance,
    num_batches,
    parts,
    rows,
    momentum: tl.float64,
    PLAIN_MEAN: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """Mean and variance from the sums; moves the running statistics."""
    channel = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    inside = channel < CHANNELS
    sums, squares = add_parts(partial, parts, channel, CHANNELS, WIDTH, AT_ONCE)
    number = tl.full((WIDTH,), rows, tl.float64)
    shifted = sums / number
    new_mean = tl.load(x + channel, mask=inside, other=0).to(tl.float64) + shifted
    new_variance = tl.maximum(squares / number - shifted * shifted, 0.0)
    tl.store(mean + channel, new_mean, mask=inside)
    tl.store(variance + channel, new_variance, mask=inside)
    rate = tl.full((WIDTH,), momentum, tl.float64)
    if PLAIN_MEAN:
        rate = 1.0 / tl.full((WIDTH,), tl.load(num_batches), tl.float64)
    old_mean = tl.load(running_mean + channel, mask=inside, other=0).to(tl.float64)
    old_variance = tl.load(running_variance + channel, mask=inside, other=0).to(tl.float64)
    unbiased = new_variance * (number / (number - 1.0))
    tl.store(running_mean + channel, old_mean + rate * (new_mean - old_mean), mask=inside)
    tl.store(running_variance + channel, old_variance + rate * (unbiased - old_variance), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def normalise(
    x,
    out,
    mean,
    variance,
    weight,
    bias,
    eps: tl.float64,
    rows,
    PER_CHANNEL: tl.constexpr,
    ADD: tl.constexpr,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """The normalised map, in place of what ``out`` holds or added to it."""
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    scale, shift, _, _ = affine(mean, variance, weight, bias, eps, channel, PER_CHANNEL, CHANNELS, COMPUTE)
    row = tl.program_id(0) * HEIGHT
    offsets, inside = tile_at(row, rows, channel, CHANNELS, HEIGHT)
    start = row.to(tl.int64) * CHANNELS
    normalised = currents(tl.load(x + start + offsets, mask=inside, other=0), scale, shift, True, COMPUTE)
    if ADD:
        normalised += tl.load(out + start + offsets, mask=inside, other=0).to(COMPUTE)
    tl.store(out + start + offsets, normalised, mask=inside)


@triton.jit(do_not_specialize=["rows", "tiles"])
def gradient_parts(
    grad,
    x,
    mean,
    partial,
    rows,
    tiles,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Sums of the gradient, and of its products with the centred map."""
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    centre = by_channel(mean, channel, channel < CHANNELS, COMPUTE)
    sums = tl.zeros((HEIGHT, WIDTH), COMPUTE)
    products = tl.zeros((HEIGHT, WIDTH), COMPUTE)
    for tile in range(tiles):
        row = (tl.program_id(0) * tiles + tile) * HEIGHT
        offsets, inside = tile_at(row, rows, channel, CHANNELS, HEIGHT)
        start = row.to(tl.int64) * CHANNELS
        values = tl.load(x + start + offsets, mask=inside, other=0).to(COMPUTE)
        grads = tl.load(grad + start + offsets, mask=inside, other=0).to(COMPUTE)
        sums += grads
        products += grads * (values - centre)
    keep_sums(partial, sums, products, channel, CHANNELS)


@triton.jit(do_not_specialize=["parts"])
def gradient_finish(
    partial,
    variance,
    grad_weight,
    grad_bias,
    eps: tl.float64,
    parts,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """Gradients of a normalisation's weight and bias from the sums."""
    channel = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    inside = channel < CHANNELS
    sums, products = add_parts(partial, parts, channel, CHANNELS, WIDTH, AT_ONCE)
    spread = tl.load(variance + channel, mask=inside, other=1).to(tl.float64) + tl.full((WIDTH,), eps, tl.float64)
    tl.store(grad_weight + channel, products / tl.sqrt(spread), mask=inside)
    tl.store(grad_bias + channel, sums, mask=inside)


@triton.jit(do_not_specialize=["rows"])
def input_gradient(
    grad,
    x,
    out,
    mean,
    variance,
    weight,
    bias,
    grad_weight,
    grad_bias,
    eps: tl.float64,
    rows,
    PER_CHANNEL: tl.constexpr,
    OF_BATCH: tl.constexpr,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Gradient of a normalisation with respect to the map; ``out`` may be ``grad``."""
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    scale, _, centre, inverse = affine(mean, variance, weight, bias, eps, channel, PER_CHANNEL, CHANNELS, COMPUTE)
    row = tl.program_id(0) * HEIGHT
    offsets, inside = tile_at(row, rows, channel, CHANNELS, HEIGHT)
    start = row.to(tl.int64) * CHANNELS
    grads = tl.load(grad + start + offsets, mask=inside, other=0).to(COMPUTE)
    if OF_BATCH:
        values = tl.load(x + start + offsets, mask=inside, other=0).to(COMPUTE)
        number = tl.full((1, 1), rows, COMPUTE)
        grads -= by_channel(grad_bias, channel, channel < CHANNELS, COMPUTE) / number
        grads -= (values - centre) * (inverse * by_channel(grad_weight, channel, channel < CHANNELS, COMPUTE) / number)
    tl.store(out + start + offsets, grads * scale, mask=inside)

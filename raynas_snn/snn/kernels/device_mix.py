# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
"""Triton kernels for weighted sums of maps, launched by `cuda`: every map and every total is read once.

Maps are treated as flat arrays, BLOCK elements at a time; loops over tuples of maps are unrolled.
"""

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]


@triton.jit
def mix(
    totals,
    maps,
    weights,
    edge_stride,
    kind_stride,
    numbers,
    EDGES: tl.constexpr,
    KINDS: tl.constexpr,
    BLOCK: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """totals[e] += sum over k of weights[e, k] * maps[k]; all maps have so many numbers."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = start + tl.arange(0, BLOCK)
    inside = offsets < numbers
    loaded = ()
    for k in tl.static_range(KINDS):
        loaded += (tl.load(maps[k] + offsets, mask=inside, other=0).to(COMPUTE),)
    for e in tl.static_range(EDGES):
        total = tl.load(totals[e] + offsets, mask=inside, other=0).to(COMPUTE)
        for k in tl.static_range(KINDS):
            total += loaded[k] * tl.load(weights + e * edge_stride + k * kind_stride).to(COMPUTE)
        tl.store(totals[e] + offsets, total, mask=inside)


@triton.jit(do_not_specialize=["tiles", "parts"])
def mix_backward(
    grads,
    maps,
    grad_maps,
    weights,
    partial,
    edge_stride,
    kind_stride,
    numbers,
    tiles,
    parts,
    EDGES: tl.constexpr,
    KINDS: tl.constexpr,
    PRODUCTS: tl.constexpr,
    BLOCK: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Gradients of the maps, and sums ``[EDGES * KINDS, parts]`` of the products of every gradient with every map."""
    product = tl.arange(0, PRODUCTS)
    sums = tl.zeros((PRODUCTS,), COMPUTE)
    for tile in range(tiles):
        offsets = (tl.program_id(0) * tiles + tile).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = offsets < numbers
        loaded = ()
        for e in tl.static_range(EDGES):
            loaded += (tl.load(grads[e] + offsets, mask=inside, other=0).to(COMPUTE),)
        for k in tl.static_range(KINDS):
            values = tl.load(maps[k] + offsets, mask=inside, other=0).to(COMPUTE)
            grad_map = tl.zeros((BLOCK,), COMPUTE)
            for e in tl.static_range(EDGES):
                grad_map += loaded[e] * tl.load(weights + e * edge_stride + k * kind_stride).to(COMPUTE)
                sums += tl.where(product == e * KINDS + k, tl.sum(loaded[e] * values, axis=0), 0.0)
            tl.store(grad_maps[k] + offsets, grad_map, mask=inside)
    tl.store(partial + product * parts + tl.program_id(0), sums, mask=product < EDGES * KINDS)


@triton.jit(do_not_specialize=["parts"])
def mix_finish(partial, grad_weights, parts, AT_ONCE: tl.constexpr):
    """Adds up one product's parts."""
    total = tl.zeros((1,), tl.float64)
    for start in range(0, parts, AT_ONCE):
        part = start + tl.arange(0, AT_ONCE)
        values = tl.load(partial + tl.program_id(0) * parts + part, mask=part < parts, other=0)
        total += tl.sum(values.to(tl.float64), axis=0)
    tl.store(grad_weights + tl.program_id(0) + tl.arange(0, 1), total)

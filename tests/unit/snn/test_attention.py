"""Attention against slow references written from the equations, one image, channel and time step at a time."""

import math

import pytest
import torch

from raynas_snn.core.options import Options
from raynas_snn.core.registry import options_of, resolve
from raynas_snn.snn.attention import (
    ChannelAttention,
    ChannelTemporalAttention,
    MultiDimensionalAttention,
    PooledGate,
    SpatialAttention,
    TemporalAttention,
    adaptive_kernel_size,
)
from raynas_snn.snn.attention_options import ChannelOptions, CTOptions, MAOptions, SpatialOptions, TemporalOptions
from raynas_snn.snn.energy import Activity, ActivityMeter

CAUSAL, PER_STEP = CTOptions(window="causal"), CTOptions(window="per_step")
FOLDED = MAOptions(fold_time=True)
KINDS = [(name, options_of("attentions", name)()) for name in ("none", "temporal", "channel", "spatial", "ct", "ma")]
KINDS += [("ct", CAUSAL), ("ct", PER_STEP), ("ma", FOLDED)]
GATED = KINDS[1:]


def build(name: str, channels: int, num_steps: int, options: Options) -> torch.nn.Module:
    """With positive weights, so that no hidden neuron of an MLP is silent."""
    attention = resolve("attentions", name)(channels, num_steps, options).double()
    torch.manual_seed(0)
    for weight in attention.parameters():
        torch.nn.init.uniform_(weight, 0.1, 0.5)
    return attention


def features(num_steps: int, channels: int, number: int = 2) -> torch.Tensor:
    torch.manual_seed(channels + num_steps)
    return torch.randn(num_steps * number, channels, 5, 4, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def gates(gate: PooledGate, average: torch.Tensor, largest: torch.Tensor) -> list[float]:
    """``sigmoid(MLP(average) + MLP(largest))`` of one example."""
    down, up = gate.mlp[0].weight.detach(), gate.mlp[2].weight.detach()
    return [sigmoid(float(z)) for z in up @ (down @ average).clamp_min(0) + up @ (down @ largest).clamp_min(0)]


def spatially_weighed(conv: torch.nn.Conv2d, image: torch.Tensor) -> torch.Tensor:
    kernel = conv.weight[0].detach()
    size, middle = kernel.shape[1], kernel.shape[1] // 2
    summary = torch.stack([image.max(dim=0).values, image.mean(dim=0)])
    height, width = image.shape[1:]
    expected = torch.zeros_like(image)
    for y in range(height):
        for z in range(width):
            total = 0.0
            for i in range(size):
                for j in range(size):
                    if 0 <= y + i - middle < height and 0 <= z + j - middle < width:
                        total += float((kernel[:, i, j] * summary[:, y + i - middle, z + j - middle]).sum())
            expected[:, y, z] = image[:, y, z] * sigmoid(total)
    return expected


def channels_weighed(gate: PooledGate, image: torch.Tensor) -> torch.Tensor:
    factors = gates(gate, image.mean(dim=(1, 2)), image.flatten(1).max(dim=1).values)
    return torch.stack([channel * factor for channel, factor in zip(image, factors, strict=True)])


@pytest.mark.parametrize(
    ("num_steps", "channels", "options"),
    [
        (1, 8, CTOptions()),
        (2, 64, CTOptions()),
        (3, 130, CTOptions()),
        (3, 8, CTOptions(channel_kernel=7, time_kernel=5)),
        (2, 1, CTOptions(time_kernel=1)),
        (4, 8, CAUSAL),
        (1, 8, CAUSAL),
        (4, 8, PER_STEP),
    ],
)
def test_ct_equals_equations_5_and_6(num_steps, channels, options):
    attention = ChannelTemporalAttention(channels, num_steps, options).double()
    x = features(num_steps, channels)
    weight = attention.conv.weight[0, 0].detach()
    rows, columns = weight.shape
    now = columns - 1 if options.window == "causal" else columns // 2
    expected = torch.zeros_like(x)
    for n in range(2):
        pooled = {(c, t): float(x[t * 2 + n, c].mean()) for c in range(channels) for t in range(num_steps)}
        for c, t in pooled:
            total = 0.0
            for i in range(rows):
                for j in range(columns):
                    total += float(weight[i, j]) * pooled.get((c + i - rows // 2, t + j - now), 0.0)
            expected[t * 2 + n, c] = x[t * 2 + n, c] * sigmoid(total)
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("num_steps", "options", "shape"),
    [
        (1, CTOptions(), (5, 1)),
        (2, CTOptions(), (5, 3)),
        (8, CTOptions(channel_kernel=9, time_kernel=5), (9, 5)),
        (2, CTOptions(time_kernel=31), (5, 3)),  # no step is further away
        (8, CAUSAL, (5, 3)),
        (2, CAUSAL, (5, 2)),
        (8, PER_STEP, (5, 1)),
    ],
)
def test_the_kernel_of_ct_is_what_was_asked_for_and_the_steps_can_use(num_steps, options, shape):
    assert ChannelTemporalAttention(128, num_steps, options).conv.weight.shape == (1, 1, *shape)


@pytest.mark.parametrize(("num_steps", "channels"), [(1, 16), (2, 32), (3, 5)])
def test_channel_spatial_and_both_of_them_equal_equations_7_to_10(num_steps, channels):
    both = MultiDimensionalAttention(channels, num_steps, MAOptions(reduction=4, spatial_kernel=5)).double()
    first = ChannelAttention(channels, num_steps, ChannelOptions())
    second = SpatialAttention(channels, num_steps, SpatialOptions())
    first, second = first.double(), second.double()
    x = features(num_steps, channels)

    def slowly(channel: ChannelAttention | None, spatial: SpatialAttention | None) -> torch.Tensor:
        images = [image if channel is None else channels_weighed(channel.gate, image) for image in x]
        return torch.stack([image if spatial is None else spatially_weighed(spatial.conv, image) for image in images])

    torch.testing.assert_close(first(x), slowly(first, None), rtol=0, atol=1e-12)
    torch.testing.assert_close(second(x), slowly(None, second), rtol=0, atol=1e-12)
    torch.testing.assert_close(both(x), slowly(both[0], both[1]), rtol=0, atol=1e-12)


def test_ma_can_weigh_the_channels_of_all_steps_at_once():
    num_steps, channels = 3, 4
    attention = MultiDimensionalAttention(channels, num_steps, MAOptions(reduction=2, fold_time=True)).double()
    x = features(num_steps, channels)
    expected = torch.zeros_like(x)
    for n in range(2):
        film = x[n::2]  # one image at all steps, [T, C, H, W]
        factors = gates(attention[0].gate, film.mean(dim=(2, 3)).flatten(), film.amax(dim=(2, 3)).flatten())
        for t in range(num_steps):
            weighed = torch.stack([film[t, c] * factors[t * channels + c] for c in range(channels)])
            expected[2 * t + n] = spatially_weighed(attention[1].conv, weighed)
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("num_steps", "reduction"), [(1, 16), (3, 16), (6, 2)])
def test_temporal_equals_equation_7_along_time(num_steps, reduction):
    attention = TemporalAttention(4, num_steps, TemporalOptions(reduction=reduction)).double()
    x = features(num_steps, 4)
    expected = torch.zeros_like(x)
    for n in range(2):
        film = x[n::2].flatten(1)
        factors = gates(attention.gate, film.mean(dim=1), film.max(dim=1).values)
        for t, factor in enumerate(factors):
            expected[2 * t + n] = x[2 * t + n] * factor
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), GATED)
def test_gates_lie_between_0_and_1(name, options):
    for num_steps, channels in ((2, 16), (1, 1), (3, 2)):
        x = features(num_steps, channels)
        share = build(name, channels, num_steps, options)(x) / x
        assert 0 < share.min() <= share.max() < 1


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_images_do_not_see_each_other(name, options):
    attention = build(name, 8, 3, options)
    x = features(3, 8, number=4)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = x.unflatten(0, (3, 4))[:, order].flatten(0, 1)
    expected = attention(x).unflatten(0, (3, 4))[:, order].flatten(0, 1)
    torch.testing.assert_close(attention(shuffled), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "seen_from"),
    [
        ("none", Options(), "0 1 2"),
        ("temporal", TemporalOptions(), "012 012 012"),
        ("channel", ChannelOptions(), "0 1 2"),
        ("spatial", SpatialOptions(), "0 1 2"),
        ("ct", CTOptions(), "01 012 12"),
        ("ct", CAUSAL, "012 12 2"),
        ("ct", PER_STEP, "0 1 2"),
        ("ma", MAOptions(), "0 1 2"),
        ("ma", FOLDED, "012 012 012"),
    ],
)
def test_which_steps_a_step_is_seen_from(name, options, seen_from):
    """Causal is what lets a step's output leave before the next step comes."""
    attention = build(name, 8, 3, options)
    x = features(3, 8, number=1)
    before = attention(x)
    for step, expected in enumerate(seen_from.split()):
        other = x.clone()
        other[step] += 1
        changed = [str(t) for t, (a, b) in enumerate(zip(before, attention(other), strict=True)) if not a.equal(b)]
        assert "".join(changed) == expected


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("none", Options(), 0),
        ("temporal", TemporalOptions(reduction=2), 2 * 4 * 2),
        ("channel", ChannelOptions(), 2 * 64 * 4),
        ("spatial", SpatialOptions(spatial_kernel=3), 2 * 9),
        ("ct", CTOptions(), 3 * 3),
        ("ma", MAOptions(), 2 * 64 * 4 + 98),
        ("ma", FOLDED, 2 * 256 * 16 + 98),
    ],
)
def test_numbers_of_weights(name, options, expected):
    attention = resolve("attentions", name)(64, 4, options)
    assert sum(weight.numel() for weight in attention.parameters()) == expected


def test_the_energy_meter_bills_each_gate_once():
    features_numel, pixels = 2 * 32 * 36, 2 * 36
    products = {
        "none": 0,
        "temporal": features_numel + 2 * (2 + 2),  # two poolings, MLP 2 -> 1 -> 2
        "channel": features_numel + 2 * (2 * 2 * 32 * 2),  # at each of two steps, MLP 32 -> 2 -> 32
        "spatial": features_numel + pixels * 2 * 49,
        "ct": features_numel + 2 * 32 * 3 * 3,  # ECA: 3 of 32 channels
    }
    products["ma"] = products["channel"] + products["spatial"]
    for name, expected in products.items():
        network = torch.nn.Sequential(resolve("attentions", name)(32, 2, options_of("attentions", name)()))
        with ActivityMeter(network) as meter:
            network(torch.ones(2, 32, 6, 6))
        assert Activity.from_totals(meter.totals() | {"images": 1.0}).macs == expected, name


def test_kernel_sizes_follow_eca():
    assert [adaptive_kernel_size(c) for c in (1, 4, 64, 128, 256, 512, 1024)] == [1, 1, 3, 5, 5, 5, 5]

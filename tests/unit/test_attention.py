"""Attention against slow references written from the equations, one image, channel and time step at a time."""

import math

import pytest
import torch

from raynas_snn.snn.attention import (
    ChannelTemporalAttention,
    MultiDimensionalAttention,
    NoAttention,
    adaptive_kernel_size,
)


def features(num_steps: int, channels: int, number: int = 2) -> torch.Tensor:
    torch.manual_seed(channels + num_steps)
    return torch.randn(num_steps * number, channels, 5, 4, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("num_steps", "channels"), [(1, 8), (2, 64), (3, 130)])
def test_ct_equals_equations_5_and_6(num_steps, channels):
    attention = ChannelTemporalAttention(channels, num_steps).double()
    x = features(num_steps, channels)
    weight = attention.conv.weight[0, 0].detach()
    rows, columns = weight.shape
    expected = torch.zeros_like(x)
    for n in range(2):
        pooled = {(c, t): float(x[t * 2 + n, c].mean()) for c in range(channels) for t in range(num_steps)}
        for c, t in pooled:
            total = 0.0
            for i in range(rows):
                for j in range(columns):
                    total += float(weight[i, j]) * pooled.get((c + i - rows // 2, t + j - columns // 2), 0.0)
            expected[t * 2 + n, c] = x[t * 2 + n, c] * sigmoid(total)
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("num_steps", "channels"), [(1, 16), (2, 32), (3, 5)])
def test_ma_equals_equations_7_to_10(num_steps, channels):
    attention = MultiDimensionalAttention(channels, num_steps).double()
    x = features(num_steps, channels)
    down, up = attention.mlp[0].weight.detach(), attention.mlp[2].weight.detach()
    kernel = attention.conv.weight[0].detach()
    expected = torch.zeros_like(x)
    for index, image in enumerate(x):  # one image at one time step
        average = image.mean(dim=(1, 2))
        largest = image.flatten(1).max(dim=1).values
        logits = up @ (down @ average).clamp_min(0) + up @ (down @ largest).clamp_min(0)
        gated = torch.stack([image[c] * sigmoid(float(logits[c])) for c in range(channels)])
        summary = torch.stack([gated.max(dim=0).values, gated.mean(dim=0)])
        for y in range(5):
            for z in range(4):
                total = 0.0
                for i in range(7):
                    for j in range(7):
                        if 0 <= y + i - 3 < 5 and 0 <= z + j - 3 < 4:
                            total += float((kernel[:, i, j] * summary[:, y + i - 3, z + j - 3]).sum())
                expected[index, :, y, z] = gated[:, y, z] * sigmoid(total)
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [ChannelTemporalAttention, MultiDimensionalAttention])
def test_gates_lie_between_0_and_1(kind):
    x = 10 * features(2, 16)
    share = kind(16, 2).double()(x) / x
    assert 0 < share.min() < share.max() < 1


@pytest.mark.parametrize("kind", [NoAttention, ChannelTemporalAttention, MultiDimensionalAttention])
def test_images_do_not_see_each_other(kind):
    attention = kind(8, 3).double()
    x = features(3, 8, number=4)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = x.unflatten(0, (3, 4))[:, order].flatten(0, 1)
    expected = attention(x).unflatten(0, (3, 4))[:, order].flatten(0, 1)
    torch.testing.assert_close(attention(shuffled), expected, rtol=0, atol=1e-12)


def test_ct_sees_other_time_steps_and_ma_does_not():
    x = features(3, 8, number=1)
    other_end = x.clone()
    other_end[2] += 1
    for kind, changed in (
        (ChannelTemporalAttention, [False, True, True]),
        (MultiDimensionalAttention, [False, False, True]),
    ):
        attention = kind(8, 3).double()
        before, after = attention(x), attention(other_end)
        assert [not torch.equal(a, b) for a, b in zip(before, after, strict=True)] == changed


def test_kernel_sizes_follow_eca():
    assert [adaptive_kernel_size(c) for c in (64, 128, 256, 512, 1024)] == [3, 5, 5, 5, 5]

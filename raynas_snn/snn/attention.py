"""Attention over the features of a cell (MA-DARTS section 3.3), by one dimension or by several.

All kinds map ``x [T*N, C, H, W]`` to the same shape by multiplying it with gates between 0 and 1. The features are
real-valued (sums of BatchNorm outputs), so the gates do not break binary communication: the next operation starts
with a neuron. A kind is a module built as ``kind(channels, num_steps, options)``; ``macs_per_output`` is the product
with its gate, for `raynas_snn.snn.energy`, which counts the layers inside by itself.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas_snn.core.options import Options
from raynas_snn.snn.attention_options import ChannelOptions, CTOptions, MAOptions, SpatialOptions, TemporalOptions


class NoAttention(nn.Identity):
    """Leaves the features as they are (the paper's DARTS rows).

    >>> NoAttention(8, 2, Options())(x := torch.rand(6, 8, 4, 4)) is x
    True
    """

    def __init__(self, channels: int, num_steps: int, options: Options) -> None:
        super().__init__()


class TemporalAttention(nn.Module):
    """Weighs time steps: ``A = sigmoid(MLP(AvgPool_{C,S} X) + MLP(MaxPool_{C,S} X))``, ``X' = A * X``.

    Eq. 7 of the paper along time alone, with one MLP ``T -> T / r -> T`` (our reading of "one dimension at a time").
    Every gate depends on all steps.

    >>> TemporalAttention(8, 2, TemporalOptions())(torch.rand(6, 8, 4, 4)).shape  # three images at two steps
    torch.Size([6, 8, 4, 4])
    """

    options: ClassVar = TemporalOptions
    macs_per_output = 1

    def __init__(self, channels: int, num_steps: int, options: TemporalOptions) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.gate = PooledGate(num_steps, options.reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs ``x [T*N, C, H, W]`` by a gate ``[T*N, 1, 1, 1]``."""
        average_NT, largest_NT = (
            pooled.view(self.num_steps, -1).t() for pooled in (x.mean(dim=(1, 2, 3)), x.amax(dim=(1, 2, 3)))
        )
        gate_NT: Tensor = self.gate(average_NT, largest_NT)
        return x * gate_NT.t().flatten()[:, None, None, None]


class ChannelAttention(nn.Module):
    """Weighs channels: ``A = sigmoid(MLP(AvgPool_S X) + MLP(MaxPool_S X))``, ``X' = A * X``, after CBAM (in eq. 7-10).

    One MLP ``C -> C / r -> C`` serves every step by itself. Our choice where the paper is silent: CBAM's r = 16,
    no biases.

    >>> ChannelAttention(8, 2, ChannelOptions())(torch.rand(6, 8, 4, 4)).shape  # three images at two steps
    torch.Size([6, 8, 4, 4])

    Args:
        channels: C.
        num_steps: T.
        options: Its options.
        joint_steps: 1, or T for one MLP ``C*T -> C*T / r -> C*T`` that sees all steps at once.
    """

    options: ClassVar = ChannelOptions
    macs_per_output = 1

    def __init__(self, channels: int, num_steps: int, options: ChannelOptions, joint_steps: int = 1) -> None:
        super().__init__()
        self.joint_steps = joint_steps
        self.gate = PooledGate(channels * joint_steps, options.reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs ``x [T*N, C, H, W]`` by a gate ``[T*N, C, 1, 1]``."""
        steps, channels = self.joint_steps, x.shape[1]
        average, largest = (
            pooled.view(steps, -1, channels).transpose(0, 1).flatten(1)
            for pooled in (x.mean(dim=(2, 3)), x.amax(dim=(2, 3)))
        )
        gate: Tensor = self.gate(average, largest)
        return x * gate.view(-1, steps, channels).transpose(0, 1).flatten(0, 1)[:, :, None, None]


class SpatialAttention(nn.Module):
    """Weighs pixels at each step: ``A = sigmoid(Conv_S([MaxPool_C X; AvgPool_C X]))``, ``X' = A * X`` (in eq. 7-10).

    The paper's "2x1 convolution" has two input channels and one output channel. Our choice where it is silent: CBAM's
    7x7 kernel, no bias.

    >>> SpatialAttention(8, 2, SpatialOptions())(torch.rand(6, 8, 4, 4)).shape  # three images at two steps
    torch.Size([6, 8, 4, 4])
    """

    options: ClassVar = SpatialOptions
    macs_per_output = 1

    def __init__(self, channels: int, num_steps: int, options: SpatialOptions) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, options.spatial_kernel, padding=options.spatial_kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs ``x [T*N, C, H, W]`` by a gate ``[T*N, 1, H, W]``."""
        summary = torch.stack((x.amax(dim=1), x.mean(dim=1)), dim=1)
        return x * torch.sigmoid(self.conv(summary))


class ChannelTemporalAttention(nn.Module):
    """CT, after ECA (eq. 5-6): ``A = sigmoid(Conv_{C,T}(AvgPool_S(X)))``, ``X' = A * X``.

    The spatial mean of X is an image of C rows and T columns per example; one convolution with one input and one
    output channel slides over it. Its height follows ECA's rule for C. Our choice where the paper is silent: width
    3 over time, no bias, zero padding. No wider than what T steps can reach, so 1 when there is one step.

    >>> ChannelTemporalAttention(8, 2, CTOptions())(torch.rand(6, 8, 4, 4)).shape  # three images at two steps
    torch.Size([6, 8, 4, 4])
    """

    options: ClassVar = CTOptions
    macs_per_output = 1

    def __init__(self, channels: int, num_steps: int, options: CTOptions) -> None:
        super().__init__()
        self.num_steps = num_steps
        height = options.channel_kernel or adaptive_kernel_size(channels)
        past = future = min(options.time_kernel // 2, num_steps - 1)
        if options.window == "causal":
            past, future = min(options.time_kernel, num_steps) - 1, 0
        elif options.window == "per_step":
            past = future = 0
        self.padding = (past, future)  # steps before the first and after the last, all zero
        self.conv = nn.Conv2d(1, 1, (height, past + 1 + future), padding=(height // 2, 0), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs ``x [T*N, C, H, W]`` by a gate ``[T*N, C, 1, 1]``."""
        pooled_TNC = x.mean(dim=(2, 3)).view(self.num_steps, -1, x.shape[1])
        padded_N1CT = F.pad(pooled_TNC.permute(1, 2, 0).unsqueeze(1), self.padding)
        gate_N1CT = torch.sigmoid(self.conv(padded_N1CT))
        gate = gate_N1CT.squeeze(1).permute(2, 0, 1).flatten(0, 1)
        return x * gate[:, :, None, None]


class MultiDimensionalAttention(nn.Sequential):
    """MA, after CBAM (eq. 7-10): a channel-temporal gate, then a spatial gate at each time step.

    Whether the first gate sees one step or all of them at once is left open; ``fold_time`` chooses.

    >>> MultiDimensionalAttention(8, 2, MAOptions())(torch.rand(6, 8, 4, 4)).shape  # three images at two steps
    torch.Size([6, 8, 4, 4])
    """

    options: ClassVar = MAOptions

    def __init__(self, channels: int, num_steps: int, options: MAOptions) -> None:
        super().__init__(
            ChannelAttention(channels, num_steps, options, num_steps if options.fold_time else 1),
            SpatialAttention(channels, num_steps, options),
        )


class PooledGate(nn.Module):
    """``sigmoid(MLP(average) + MLP(largest))`` with one MLP ``width -> width / r -> width`` without biases."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, width // reduction)
        self.mlp = nn.Sequential(nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False))

    def forward(self, average: Tensor, largest: Tensor) -> Tensor:
        """Maps what the two poolings left, ``[examples, width]`` each, to gates of that shape."""
        return torch.sigmoid(self.mlp(average) + self.mlp(largest))


def adaptive_kernel_size(channels: int, gamma: int = 2, b: int = 1) -> int:
    """ECA's odd kernel size for so many channels: 3 for 64, 5 for 128 to 1024 (Wang et al. 2020, eq. 12)."""
    size = int(abs((math.log2(channels) + b) / gamma))
    return size if size % 2 else size + 1

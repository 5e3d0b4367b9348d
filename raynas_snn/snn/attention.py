"""Attention over the features of a cell (MA-DARTS section 3.3).

All kinds map ``x [T*N, C, H, W]`` to the same shape by multiplying it with gates between 0 and 1. The features are
real-valued (sums of BatchNorm outputs), so the gates do not break binary communication: the next operation starts
with a neuron. A kind is a module built as ``kind(channels, num_steps, settings)``.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Window = Literal["centred", "causal", "per_step"]


@dataclass(frozen=True)
class AttentionSettings:
    """What all attention of a network shares; each kind reads what concerns it. All of it is left open by the paper.

    Attributes:
        reduction: The hidden layer of an MLP is so many times narrower than its input.
        spatial_kernel: Side of the convolution over space.
        channel_kernel: Height over channels of the convolution of CT; None follows ECA's rule.
        time_kernel: Width over time of the convolution of CT.
        window: Which steps the convolution of CT sees: around a step, up to a step, or each step by itself.
        fold_time: Whether the MLP of MA sees the channels of all steps at once.
    """

    reduction: int = 16
    spatial_kernel: int = 7
    channel_kernel: int | None = None
    time_kernel: int = 3
    window: Window = "centred"
    fold_time: bool = False


DEFAULTS = AttentionSettings()


class NoAttention(nn.Identity):
    """Leaves the features as they are (the paper's DARTS rows)."""

    def __init__(self, channels: int, num_steps: int, settings: AttentionSettings = DEFAULTS) -> None:
        super().__init__()


class ChannelTemporalAttention(nn.Module):
    """CT, after ECA (eq. 5-6): ``A = sigmoid(Conv_{C,T}(AvgPool_S(X)))``, ``X' = A * X``.

    The spatial mean of X is an image of C rows and T columns per example; one convolution with one input and one
    output channel slides over it. Its height follows ECA's rule for C. Our choice where the paper is silent: width
    3 over time (1 when there is one step), no bias, zero padding.
    """

    macs_per_output = 1  # the product with the gate

    def __init__(self, channels: int, num_steps: int, settings: AttentionSettings = DEFAULTS) -> None:
        super().__init__()
        self.num_steps = num_steps
        kernel = (adaptive_kernel_size(channels), 1 if num_steps == 1 else 3)
        self.conv = nn.Conv2d(1, 1, kernel, padding=(kernel[0] // 2, kernel[1] // 2), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs ``x [T*N, C, H, W]`` by a gate ``[T*N, C, 1, 1]``."""
        pooled_TNC = x.mean(dim=(2, 3)).view(self.num_steps, -1, x.shape[1])
        gate_N1CT = torch.sigmoid(self.conv(pooled_TNC.permute(1, 2, 0).unsqueeze(1)))
        gate = gate_N1CT.squeeze(1).permute(2, 0, 1).flatten(0, 1)
        return x * gate[:, :, None, None]


class MultiDimensionalAttention(nn.Module):
    """MA, after CBAM (eq. 7-10): a channel-temporal gate, then a spatial gate at each time step.

    ``A_CT = sigmoid(MLP(AvgPool_S X) + MLP(MaxPool_S X))`` with one MLP ``C -> C / 16 -> C`` shared over the steps,
    ``X' = A_CT * X``; ``A_S = sigmoid(Conv_S([MaxPool_C X'; AvgPool_C X']))``, ``X'' = A_S * X'``.
    Our choice where the paper is silent: CBAM's reduction 16 and 7x7 kernel, no biases.
    """

    macs_per_output = 2  # the products with the two gates

    def __init__(self, channels: int, num_steps: int, settings: AttentionSettings = DEFAULTS) -> None:
        super().__init__()
        hidden, kernel_size = max(1, channels // settings.reduction), settings.spatial_kernel
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        )
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs ``x [T*N, C, H, W]`` by gates ``[T*N, C, 1, 1]`` and ``[T*N, 1, H, W]``."""
        gate = torch.sigmoid(self.mlp(x.mean(dim=(2, 3))) + self.mlp(x.amax(dim=(2, 3))))
        x = x * gate[:, :, None, None]
        summary = torch.stack((x.amax(dim=1), x.mean(dim=1)), dim=1)
        return x * torch.sigmoid(self.conv(summary))


def adaptive_kernel_size(channels: int, gamma: int = 2, b: int = 1) -> int:
    """ECA's odd kernel size for so many channels: 3 for 64, 5 for 128 to 1024 (Wang et al. 2020, eq. 12)."""
    size = int(abs((math.log2(channels) + b) / gamma))
    return size if size % 2 else size + 1

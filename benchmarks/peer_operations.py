"""The operations of DARTS as they are usually written; see ``peers.py``. Their neurons are put in from outside."""

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FactorizedReduce(nn.Module):
    """Two pointwise convolutions of stride 2, one shifted by a pixel (even sizes)."""

    def __init__(self, channels_in: int, channels_out: int, affine: bool) -> None:
        super().__init__()
        self.even = nn.Conv2d(channels_in, channels_out // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels_in, channels_out - channels_out // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Halves the resolution; an odd map is padded by one pixel first, as its shifted half must be."""
        border = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
        odd = self.odd(F.pad(x, border)[:, :, 1:, 1:])
        even = self.even(x)
        odd = F.pad(odd, (0, even.shape[3] - odd.shape[3], 0, even.shape[2] - odd.shape[2]))
        return self.norm(torch.cat((even, odd), dim=1))


class SepConv(nn.Module):
    """Depthwise, pointwise, BatchNorm, neuron, and once more."""

    def __init__(self, channels: int, stride: int, affine: bool, kernel_size: int) -> None:
        super().__init__()
        self.depthwise_1 = depthwise(channels, kernel_size, stride)
        self.pointwise_1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm_1 = nn.BatchNorm2d(channels, affine=affine)
        self.neuron: nn.Module = nn.Identity()
        self.depthwise_2 = depthwise(channels, kernel_size, 1)
        self.pointwise_2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm_2 = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Reads spikes."""
        x = self.neuron(self.norm_1(self.pointwise_1(self.depthwise_1(x))))
        return self.norm_2(self.pointwise_2(self.depthwise_2(x)))


class DilConv(nn.Module):
    """Dilated depthwise, pointwise, BatchNorm."""

    def __init__(self, channels: int, stride: int, affine: bool, kernel_size: int) -> None:
        super().__init__()
        self.depthwise = depthwise(channels, kernel_size, stride, dilation=2)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Reads spikes."""
        return self.norm(self.pointwise(self.depthwise(x)))


class Pool(nn.Module):
    """Pooling, and BatchNorm while searching."""

    def __init__(self, channels: int, affine: bool, pool: nn.Module) -> None:
        super().__init__()
        self.pool, self.norm = pool, nn.Identity() if affine else nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Reads real values."""
        return self.norm(self.pool(x))


OPERATIONS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "max_pool_3x3": lambda channels, stride, affine: Pool(channels, affine, nn.MaxPool2d(3, stride, padding=1)),
    "avg_pool_3x3": lambda channels, stride, affine: Pool(
        channels, affine, nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    ),
    "skip_connect": lambda channels, stride, affine: (
        nn.Identity()
        if stride == 1
        else nn.Sequential(OrderedDict(reduce=FactorizedReduce(channels, channels, affine)))
    ),
    "sep_conv_3x3": lambda channels, stride, affine: SepConv(channels, stride, affine, 3),
    "sep_conv_5x5": lambda channels, stride, affine: SepConv(channels, stride, affine, 5),
    "dil_conv_3x3": lambda channels, stride, affine: DilConv(channels, stride, affine, 3),
    "dil_conv_5x5": lambda channels, stride, affine: DilConv(channels, stride, affine, 5),
}


def depthwise(channels: int, kernel_size: int, stride: int, dilation: int = 1) -> nn.Conv2d:
    """A convolution of each channel by itself."""
    padding = dilation * (kernel_size - 1) // 2
    return nn.Conv2d(channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=False)


def pointwise(channels_in: int, channels_out: int, affine: bool) -> nn.Sequential:
    """A 1x1 convolution and BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out, affine=affine)
    )

"""The candidate operations of DARTS with spiking activations: every ReLU becomes a neuron, LIF - conv - BN.

An operation is built as ``kind(channels, stride, make_neuron, searching)`` and maps a *source* (an input of the cell or
the output of a node) to ``[T*N, channels, H / stride, W / stride]``. The first LIF of an operation depends on the
source alone. It therefore belongs to the source and is computed once for all operations that read its spikes;
``reads_spikes`` says whether an operation reads these spikes or the source's real values.

During the search, BatchNorm has no affine weights (as in DARTS), and ``scale`` is the weight of the candidate on its
edge: ``scale * BN(x)`` is BatchNorm with that scale, so weighting costs nothing extra.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas_snn.nas.convolutions import DepthwiseConv2d, PointwiseConv2d
from raynas_snn.snn.neuron import normalise_and_fire
from raynas_snn.snn.normalise import BatchNorm

MakeNeuron = Callable[[], nn.Module]


class Operation(nn.Module):
    """Base class of all candidates.

    >>> class Halved(Operation):
    ...     reads_spikes = False
    ...     def forward(self, x, scale=None):
    ...         return 0.5 * x if scale is None else 0.5 * scale * x
    >>> Halved(8, 1, make_neuron=nn.Identity, searching=True)(torch.ones(1)).item()
    0.5

    Attributes:
        reads_spikes: Reads the source's spikes rather than its real values.
        per_source: Has no weights of its own, so all edges that leave a source can share its unscaled output.
        droppable: Whether drop path may drop it from a derived network: all but the identity, as in DARTS.
    """

    reads_spikes: bool = True
    per_source: bool = False
    droppable: bool = True

    def __init__(self, channels: int, stride: int, make_neuron: MakeNeuron, searching: bool) -> None:
        super().__init__()

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Contribution of a source ``x [T*N, C, H, W]``, times the scalar ``scale`` if there is one."""
        raise AssertionError(f"{type(self).__name__} must define forward")

    def add_to(self, total: Tensor | None, x: Tensor, scale: Tensor) -> Tensor:
        """Adds the contribution to ``total`` in place; returns it alone where there is no total yet."""
        contribution: Tensor = self(x, scale)
        # The first one is copied: others are added to it, and its own backward pass may need it as it is.
        return contribution.clone() if total is None else total.add_(contribution)


class Zero(Operation):
    """``none``: no connection. It takes part in the softmax of the candidates and is never derived.

    >>> Zero(8, 2, make_neuron=nn.Identity, searching=True)(torch.ones(4, 8, 6, 6)).shape
    torch.Size([4, 8, 3, 3])
    """

    reads_spikes = False
    per_source = True

    def __init__(self, channels: int, stride: int, make_neuron: MakeNeuron, searching: bool) -> None:
        super().__init__(channels, stride, make_neuron, searching)
        self.stride = stride

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Nothing, in the right shape."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class _Pool(Operation):
    """Pools real values over 3x3; parameter-free, normalised only while searching (DARTS)."""

    reads_spikes = False
    per_source = True

    def __init__(self, pool: nn.Module, channels: int, stride: int, make_neuron: MakeNeuron, searching: bool) -> None:
        super().__init__(channels, stride, make_neuron, searching)
        self.pool = pool
        self.norm = BatchNorm(channels, searching) if searching else nn.Identity()

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """The pooled map."""
        pooled: Tensor = self.norm(self.pool(x))
        return pooled if scale is None else pooled * scale


class MaxPool3x3(_Pool):
    """``max_pool_3x3``.

    >>> MaxPool3x3(1, 1, make_neuron=nn.Identity, searching=False)(torch.tensor([[[[1.0, 5.0, 2.0, 0.0]]]]))
    tensor([[[[5., 5., 5., 2.]]]])
    """

    def __init__(self, channels: int, stride: int, make_neuron: MakeNeuron, searching: bool) -> None:
        super().__init__(nn.MaxPool2d(3, stride, padding=1), channels, stride, make_neuron, searching)


class AvgPool3x3(_Pool):
    """``avg_pool_3x3``; at the border the average is over the pixels that exist.

    >>> AvgPool3x3(1, 1, make_neuron=nn.Identity, searching=False)(torch.tensor([[[[1.0, 5.0, 3.0]]]]))
    tensor([[[[3., 3., 4.]]]])
    """

    def __init__(self, channels: int, stride: int, make_neuron: MakeNeuron, searching: bool) -> None:
        pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        super().__init__(pool, channels, stride, make_neuron, searching)


class SkipConnect(Operation):
    """``skip_connect``: the real values themselves, or a factorised reduction of spikes at stride 2.

    >>> SkipConnect(8, 1, make_neuron=nn.Identity, searching=False)(x := torch.rand(4, 8, 6, 6)) is x
    True
    """

    def __init__(self, channels: int, stride: int, make_neuron: MakeNeuron, searching: bool) -> None:
        super().__init__(channels, stride, make_neuron, searching)
        self.reads_spikes = stride > 1
        self.per_source = stride == 1
        self.droppable = stride > 1
        self.macs_per_output = 1 if stride == 1 else 0  # see snn/energy.py
        self.reduce = FactorizedReduce(channels, channels, searching) if stride > 1 else None

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """The source; at stride 2 with half the resolution."""
        if self.reduce is not None:
            reduced: Tensor = self.reduce(x, scale)
            return reduced
        return x if scale is None else x * scale


class FactorizedReduce(nn.Module):
    """Halves the resolution of spikes with two pointwise convolutions, one shifted by a pixel, and BatchNorm.

    >>> FactorizedReduce(8, 16)(torch.ones(4, 8, 7, 7)).shape
    torch.Size([4, 16, 4, 4])
    """

    def __init__(self, channels_in: int, channels_out: int, searching: bool = False) -> None:
        super().__init__()
        self.even = PointwiseConv2d(channels_in, channels_out // 2, stride=2)
        self.odd = PointwiseConv2d(channels_in, channels_out - channels_out // 2, stride=2)
        self.norm = BatchNorm(channels_out, searching)

    def forward(self, spikes: Tensor, scale: Tensor | None = None) -> Tensor:
        """``[T*N, C_in, H, W]`` to ``[T*N, C_out, ceil(H/2), ceil(W/2)]``; pixels beyond the border are zero."""
        height, width = spikes.shape[2:]
        border = (0, width % 2, 0, height % 2)
        if min(height, width) > 1:
            odd = F.pad(self.odd(spikes[:, :, 1:, 1:]), border)
        else:  # all odd pixels lie beyond the border; not called as a layer, because no spike meets a weight
            odd = F.conv2d(F.pad(spikes, border)[:, :, 1:, 1:], self.odd.weight, None, stride=2)
        reduced: Tensor = self.norm(torch.cat((self.even(spikes), odd), dim=1), scale)
        return reduced


class _Convolution(Operation):
    """Convolutions that end in a BatchNorm, which can add to the sum of a node in place."""

    def convolve(self, x: Tensor) -> tuple[Tensor, BatchNorm]:
        """The input of the last BatchNorm, and that BatchNorm."""
        raise AssertionError(f"{type(self).__name__} must define convolve")

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Convolves and normalises spikes."""
        convolved, norm = self.convolve(x)
        contribution: Tensor = norm(convolved, scale)
        return contribution

    def add_to(self, total: Tensor | None, x: Tensor, scale: Tensor) -> Tensor:
        """Adds what `forward` would return to ``total`` in place."""
        if type(self).forward is not _Convolution.forward:  # a derived class computes something else
            return super().add_to(total, x, scale)
        convolved, norm = self.convolve(x)
        return norm.add_to(total, convolved, scale)


class _SepConv(_Convolution):
    """Depthwise and pointwise convolution and BatchNorm, twice, with a neuron before each."""

    kernel_size: ClassVar[int]

    def __init__(self, channels: int, stride: int, make_neuron: MakeNeuron, searching: bool) -> None:
        super().__init__(channels, stride, make_neuron, searching)
        self.depthwise_1 = DepthwiseConv2d(channels, self.kernel_size, stride)
        self.pointwise_1 = PointwiseConv2d(channels, channels)
        self.norm_1 = BatchNorm(channels, searching)
        self.neuron = make_neuron()
        binary = getattr(self.neuron, "binary", False)
        self.depthwise_2 = DepthwiseConv2d(channels, self.kernel_size, 1, own_spikes=binary)
        self.pointwise_2 = PointwiseConv2d(channels, channels)
        self.norm_2 = BatchNorm(channels, searching)

    def convolve(self, x: Tensor) -> tuple[Tensor, BatchNorm]:
        """Applies both halves, with the second neuron between them."""
        x = normalise_and_fire(self.norm_1, self.neuron, self.pointwise_1(self.depthwise_1(x)))
        return self.pointwise_2(self.depthwise_2(x)), self.norm_2


class SepConv3x3(_SepConv):
    """``sep_conv_3x3``.

    >>> sum(weight.numel() for weight in SepConv3x3(8, 1, make_neuron=nn.Identity, searching=True).parameters())
    272
    """

    kernel_size = 3


class SepConv5x5(_SepConv):
    """``sep_conv_5x5``.

    >>> sum(weight.numel() for weight in SepConv5x5(8, 1, make_neuron=nn.Identity, searching=True).parameters())
    528
    """

    kernel_size = 5


class _DilConv(_Convolution):
    """Dilated depthwise and pointwise convolution and BatchNorm."""

    kernel_size: ClassVar[int]

    def __init__(self, channels: int, stride: int, make_neuron: MakeNeuron, searching: bool) -> None:
        super().__init__(channels, stride, make_neuron, searching)
        self.depthwise = DepthwiseConv2d(channels, self.kernel_size, stride, dilation=2)
        self.pointwise = PointwiseConv2d(channels, channels)
        self.norm = BatchNorm(channels, searching)

    def convolve(self, x: Tensor) -> tuple[Tensor, BatchNorm]:
        """Applies the depthwise and the pointwise convolution."""
        return self.pointwise(self.depthwise(x)), self.norm


class DilConv3x3(_DilConv):
    """``dil_conv_3x3``, dilation 2.

    >>> sum(weight.numel() for weight in DilConv3x3(8, 1, make_neuron=nn.Identity, searching=True).parameters())
    136
    """

    kernel_size = 3


class DilConv5x5(_DilConv):
    """``dil_conv_5x5``, dilation 2.

    >>> sum(weight.numel() for weight in DilConv5x5(8, 1, make_neuron=nn.Identity, searching=True).parameters())
    264
    """

    kernel_size = 5

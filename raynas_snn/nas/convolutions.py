"""The two halves of a depthwise separable convolution, in the forms that run fastest; the results are PyTorch's.

A pointwise convolution of channels-last maps is a matrix product, which BLAS computes faster. On a CPU, the backward
pass of PyTorch's depthwise convolution takes several times as long as the forward pass for the kernels of DARTS. Here
the gradient with respect to the input is a convolution with the flipped kernel, and the gradient with respect to the
kernel is computed by our own C code.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from raynas_snn.snn.kernels import kernels_for


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution, every ``stride`` pixels; no bias.

    >>> PointwiseConv2d(8, 16, stride=2)(torch.ones(4, 8, 7, 7)).shape
    torch.Size([4, 16, 4, 4])
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C_in, H, W]`` to ``[N, C_out, ceil(H / stride), ceil(W / stride)]``."""
        stride = self.stride[0]
        pixels = x if stride == 1 else x[:, :, ::stride, ::stride]
        return F.linear(pixels.permute(0, 2, 3, 1), self.weight.flatten(1)).permute(0, 3, 1, 2)


class DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel by itself, padded so that it keeps the size at stride 1; no bias.

    >>> DepthwiseConv2d(8, kernel_size=5, stride=1, dilation=2)(torch.ones(4, 8, 7, 7)).shape
    torch.Size([4, 8, 7, 7])

    Args:
        channels: C.
        kernel_size: Side of the kernel, odd.
        stride: Every so many pixels.
        dilation: Pixels from one tap of the kernel to the next.
        own_spikes: Its input is 0 or 1 and read by no other layer, so it is stored as bytes for the backward pass.
    """

    def __init__(
        self, channels: int, kernel_size: int, stride: int, dilation: int = 1, own_spikes: bool = False
    ) -> None:
        padding = dilation * (kernel_size - 1) // 2
        super().__init__(channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=False)
        self.own_spikes = own_spikes

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C, H, W]`` to ``[N, C, ceil(H / stride), ceil(W / stride)]``."""
        stride, dilation = self.stride[0], self.dilation[0]
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(x)
        if stride == dilation > 1:  # reads every other pixel only: a dense convolution of those
            x = x[:, :, ::stride, ::stride].contiguous(memory_format=torch.channels_last)
            stride = dilation = 1
        out: Tensor = _Depthwise.apply(x, self.weight, stride, dilation, self.own_spikes)
        return out


class _Depthwise(torch.autograd.Function):
    """Padded so that it keeps the size at stride 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int, spikes: bool) -> Tensor:
        ctx.save_for_backward(x.to(torch.uint8) if spikes else x, weight)
        ctx.geometry = stride, dilation
        return _convolve(x, weight, stride, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        stride, dilation = ctx.geometry
        grad_x = grad_weight = None
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        if needs_weight:
            kernels = kernels_for(grad)
            computed = kernels.depthwise_weight_gradient(grad, x.to(grad.dtype), weight.shape[2], stride, dilation)
            grad_weight = torch.empty_like(weight).copy_(computed)  # in its own strides, as DDP expects it
        if needs_x:
            if stride > 1:  # as if the pixels between had been computed and not used
                sparse = torch.zeros_like(x, dtype=grad.dtype)
                sparse[:, :, ::stride, ::stride] = grad
                grad = sparse
            grad_x = _convolve(grad, weight.to(grad.dtype).flip(2, 3), 1, dilation)
        return grad_x, grad_weight, None, None, None


def _convolve(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    padding = dilation * (weight.shape[2] - 1) // 2
    return F.conv2d(x, weight, None, stride, padding, dilation, x.shape[1])

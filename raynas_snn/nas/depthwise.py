"""Depthwise convolution whose backward pass does not dominate a search on a CPU.

PyTorch's own is used everywhere but in training on the CPU, where its backward takes several times as long as the
forward for the kernels of DARTS. The mathematics is the same: the gradient with respect to the input is a
convolution with the flipped kernel, the gradient with respect to a tap of the kernel is a sum of products.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel by itself, square and odd, that keeps the size at stride 1; no bias."""

    def __init__(self, channels: int, kernel_size: int, stride: int, dilation: int = 1) -> None:
        padding = dilation * (kernel_size - 1) // 2
        super().__init__(channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C, H, W]`` to ``[N, C, ceil(H / stride), ceil(W / stride)]``."""
        stride, dilation = self.stride[0], self.dilation[0]
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(x)
        if stride == dilation > 1:  # reads every other pixel only: a dense convolution of those
            x, stride, dilation = (
                x[:, :, ::stride, ::stride].contiguous(memory_format=torch.channels_last),
                1,
                1,
            )
        if stride > 1:
            return F.conv2d(x, self.weight, None, stride, self.padding[0], dilation, x.shape[1])
        out: Tensor = _Depthwise.apply(x, self.weight, dilation)
        return out


class _Depthwise(torch.autograd.Function):
    """Stride 1, same size."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return _same_size(x, weight, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        dilation: int = ctx.dilation
        grad_x = grad_weight = None
        needs_x, needs_weight, _ = ctx.needs_input_grad
        if needs_x:
            grad_x = _same_size(grad, weight.flip(2, 3), dilation)
        if needs_weight:
            grad_weight = _weight_gradient(grad, x, weight, dilation)
        return grad_x, grad_weight, None


def _same_size(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    padding = dilation * (weight.shape[2] - 1) // 2
    return F.conv2d(x, weight, None, 1, padding, dilation, x.shape[1])


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    kernel_size = weight.shape[2]
    padding = dilation * (kernel_size - 1) // 2
    if dilation == 1:
        _, grad_weight, _ = torch.ops.aten.convolution_backward(
            grad,
            x,
            weight,
            None,
            [1, 1],
            [padding] * 2,
            [1, 1],
            False,
            [0, 0],
            x.shape[1],
            [False, True, False],
        )
        return grad_weight  # type: ignore[no-any-return]
    height, width = grad.shape[2:]
    padded = F.pad(x, (padding,) * 4)
    steps = range(0, kernel_size * dilation, dilation)
    taps = [
        (padded[:, :, row : row + height, column : column + width] * grad).sum(dim=(0, 2, 3))
        for row in steps
        for column in steps
    ]
    return torch.stack(taps, dim=1).view_as(weight)

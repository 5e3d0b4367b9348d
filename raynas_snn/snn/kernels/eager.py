"""The kernels in plain torch: for any device and type, and the reference in the tests of the other implementations.

Maps are ``[T*N, C, H, W]`` or ``[T*N, C]``, time-major. Sums of half-precision numbers are taken in float32.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from raynas_snn.snn.kernels.normalisation import Normalisation, RunningStatistics
from raynas_snn.snn.surrogate import Surrogate


def observe(x: Tensor, running: RunningStatistics) -> tuple[Tensor, Tensor]:
    """Mean and biased variance ``[C]`` of a map; updates the running statistics."""
    variance, mean = torch.var_mean(widened(x), dim=_all_but_channels(x), correction=0)
    running.remember(mean, variance, x.numel() // x.shape[1])
    return mean, variance


def normalise(x: Tensor, norm: Normalisation, total: Tensor | None = None) -> Tensor:
    """The normalised map; added to ``total`` in place where there is one."""
    scale, shift = norm.affine()
    normalised = torch.addcmul(_by_channel(shift, x), widened(x), _by_channel(scale, x))
    return normalised.to(x.dtype) if total is None else total.add_(normalised)


def gradients(grad: Tensor, x: Tensor, norm: Normalisation) -> tuple[Tensor, Tensor]:
    """Gradients ``[C]`` of `normalise` with respect to the weight and the bias."""
    grad, x = widened(grad), widened(x)
    dims = _all_but_channels(x)
    sum_grad, sum_product = grad.sum(dims), (grad * x).sum(dims)
    return (sum_product - norm.mean * sum_grad) * norm.inverse_deviation(), sum_grad


def input_gradient(
    grad: Tensor, x: Tensor, norm: Normalisation, grad_weight: Tensor, grad_bias: Tensor, overwrite: bool
) -> Tensor:
    """Gradient of `normalise` with respect to the map, given those of `gradients`; may be told to overwrite ``grad``.

    Mean and variance of the batch depend on the map too:
    ``scale * (grad - mean(grad) - normalised * mean(grad * normalised))``.
    """
    scale, _ = norm.affine()
    grad_x = widened(grad) * _by_channel(scale, x)
    if norm.of_batch:
        number = x.numel() // x.shape[1]
        of_x = -scale * norm.inverse_deviation() * grad_weight / number
        constant = -scale * grad_bias / number - of_x * norm.mean
        grad_x.addcmul_(widened(x), _by_channel(of_x, x)).add_(_by_channel(constant, x))
    return grad.copy_(grad_x) if overwrite else grad_x.to(x.dtype)


def fire(x: Tensor, norm: Normalisation | None, num_steps: int, decay: float, v_th: float) -> Tensor:
    """Spikes of leaky integrate-and-fire neurons whose currents are the normalised map, all steps at once."""
    return (_potentials(x, norm, num_steps, decay, v_th) > v_th).to(x.dtype)


def fire_backward(
    grad: Tensor,
    x: Tensor,
    norm: Normalisation | None,
    num_steps: int,
    decay: float,
    v_th: float,
    detach_reset: bool,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradient of `fire` with respect to the currents, and `gradients` of it if they are normalised.

    The potentials are recomputed, so that the forward pass need not save them.
    """
    u = _potentials(x, norm, num_steps, decay, v_th)
    slopes = surrogate.derivative(u - v_th)
    silent = (u <= v_th).to(u.dtype)
    grad_in = torch.empty_like(u)
    maps = (one.chunk(num_steps) for one in (u, slopes, silent, widened(grad), grad_in))
    carried: Tensor | None = None  # decay * d loss / d u[t+1]
    for u_t, slope_t, silent_t, grad_t, grad_in_t in reversed(list(zip(*maps, strict=True))):
        if carried is None:
            torch.mul(grad_t, slope_t, out=grad_in_t)
        else:
            through_spike = grad_t if detach_reset else grad_t - carried * u_t
            torch.mul(through_spike, slope_t, out=grad_in_t)
            grad_in_t.addcmul_(carried, silent_t)
        carried = grad_in_t * decay
    if norm is None:
        return grad_in.to(x.dtype), None, None
    return grad_in.to(x.dtype), *gradients(grad_in, x, norm)


def mix(totals: Sequence[Tensor], maps: Sequence[Tensor], weights: Tensor) -> None:
    """Adds ``sum_k weights[e, k] * maps[k]`` to each of ``totals[e]``, in place."""
    for total, row in zip(totals, weights.unbind(), strict=True):
        for one, weight in zip(maps, row.unbind(), strict=True):
            total.addcmul_(one.to(total.dtype), weight.to(total.dtype))


def mix_backward(grads: Sequence[Tensor], maps: Sequence[Tensor], weights: Tensor) -> tuple[list[Tensor], Tensor]:
    """Gradients of `mix` with respect to the maps and the weights, given those of the totals."""
    grad_maps = []
    for column in weights.t().unbind():
        grad_map = torch.zeros_like(grads[0])
        for grad, weight in zip(grads, column.unbind(), strict=True):
            grad_map.addcmul_(grad, weight.to(grad.dtype))
        grad_maps.append(grad_map)
    products = [(widened(grad) * widened(one)).sum() for grad in grads for one in maps]
    return grad_maps, torch.stack(products).view_as(weights)


def depthwise_weight_gradient(grad: Tensor, x: Tensor, kernel_size: int, stride: int, dilation: int) -> Tensor:
    """Gradient of a padded depthwise convolution's weight ``[C, 1, K, K]``, given that of its output."""
    channels, padding = x.shape[1], dilation * (kernel_size - 1) // 2
    _, gradient, _ = torch.ops.aten.convolution_backward(
        grad,
        x,
        x.new_empty(channels, 1, kernel_size, kernel_size),
        None,
        [stride] * 2,
        [padding] * 2,
        [dilation] * 2,
        False,
        [0, 0],
        channels,
        [False, True, False],
    )
    return gradient  # type: ignore[no-any-return]


def widened(x: Tensor) -> Tensor:
    """At least float32."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _by_channel(numbers: Tensor, x: Tensor) -> Tensor:
    return numbers.view(-1, *(1,) * (x.dim() - 2))


def _all_but_channels(x: Tensor) -> list[int]:
    return [dim for dim in range(x.dim()) if dim != 1]


def _potentials(x: Tensor, norm: Normalisation | None, num_steps: int, decay: float, v_th: float) -> Tensor:
    """Membrane potentials before the reset."""
    u = widened(x).clone() if norm is None else normalise(widened(x), norm)
    for before, u_t in pairwise(u.chunk(num_steps)):
        u_t.add_(before - F.threshold(before, v_th, 0.0), alpha=decay)  # before, or 0 where it has fired
    return u

"""Encodes images as the input of a spiking network, and averages its outputs over time to logits."""

import torch
from torch import Tensor


def present_static(x: Tensor, num_steps: int) -> Tensor:
    """Presents features ``[N, C, H, W]`` of a static image at every step: ``[T*N, C, H, W]``, time-major.

    The stem runs once per image, before this, because its input is the same at each step (direct coding).
    """
    return torch.cat([x] * num_steps) if num_steps > 1 else x


def mean_over_time(x: Tensor, num_steps: int) -> Tensor:
    """Reads the answer out: the mean of ``[T*N, K]`` over the steps, ``[N, K]``."""
    return x.view(num_steps, -1, x.shape[1]).mean(dim=0)

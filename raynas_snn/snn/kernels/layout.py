"""The memory layout of maps, for kernels that access memory directly."""

from collections.abc import Sequence

import torch
from torch import Tensor


def rows_of(x: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """A map whose channels lie next to each other in memory, and how many rows of how many channels these are."""
    x = x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.contiguous()
    return x, (x.numel() // x.shape[1], x.shape[1])


def alike(maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Maps whose numbers lie in memory in the same order."""
    return tuple(rows_of(one)[0] for one in maps)

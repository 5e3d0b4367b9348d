"""Dropping whole paths at random while weights are trained (DARTS' retraining; Larsson et al. 2017, FractalNet)."""

import torch
from torch import Tensor


class DropPath:
    """Sets the output of an operation to zero for some images, at all their time steps, and scales up the others.

    An image's steps share their fate, else a dropped path would be noise in time rather than a smaller network.

    Args:
        probability: Share of the images for which a path is dropped, in [0, 1).
        num_steps: Time steps T.
        generator: On the device of the paths; decides which.
    """

    def __init__(self, probability: float, num_steps: int, generator: torch.Generator) -> None:
        self._keep = 1 - probability
        self._num_steps = num_steps
        self.generator = generator

    def __call__(self, path: Tensor) -> Tensor:
        """Maps ``path [T*N, C, H, W]`` to a path of the same shape and expectation."""
        number = len(path) // self._num_steps
        chances = torch.rand(number, generator=self.generator, device=path.device)
        mask = (chances < self._keep).to(path.dtype) / self._keep
        return path * mask.repeat(self._num_steps)[:, None, None, None]


def drop_probability(last: float, epoch: int, epochs: int) -> float:
    """The probability in an epoch (from 0): rises linearly from 0 in the first to ``last`` in the last."""
    return last if epochs == 1 else last * epoch / (epochs - 1)

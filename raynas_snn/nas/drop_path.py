"""Drop path: drops whole operations at random while weights are trained (DARTS; Larsson et al. 2017, FractalNet)."""

import torch
from torch import Tensor


class DropPath:
    """Sets the output of an operation to zero for some images, at all their time steps, and scales up the others.

    A path is dropped at all steps of an image or at none, so that an image sees a smaller network, not noise in time.

    >>> drop_path = DropPath(0.5, num_steps=2, generator=torch.Generator().manual_seed(0))
    >>> drop_path(torch.ones(6, 1, 1, 1)).flatten()  # the second of three images keeps its path, scaled up
    tensor([2., 0., 2., 2., 0., 2.])

    Args:
        probability: Share of the images for which a path is dropped, in [0, 1).
        num_steps: Time steps T.
        generator: Random number generator on the device of the paths.
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

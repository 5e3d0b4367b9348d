"""Training that does not count: to warm up what is about to be captured or compiled."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer


@contextmanager
def rehearsal(networks: Sequence[nn.Module], optimizer: Optimizer | None = None) -> Iterator[None]:
    """Whatever is trained inside is as before afterwards, in the same memory; gradients are dropped.

    What an optimiser began to remember inside is set to zero and kept. For SGD without dampening and for Adam, memory
    of zeros is the same as none.
    """
    tensors = [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]
    before = [tensor.detach().clone() for tensor in tensors]
    remembered = {id(tensor): tensor.clone() for tensor in _memory(optimizer)}
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
                tensor.grad = None
            for tensor in _memory(optimizer):
                if id(tensor) in remembered:
                    tensor.copy_(remembered[id(tensor)])
                else:
                    tensor.zero_()


def _memory(optimizer: Optimizer | None) -> list[Tensor]:
    """The tensors of an optimiser's state, of all parameters."""
    states = [] if optimizer is None else optimizer.state.values()
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]

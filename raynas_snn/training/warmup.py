"""Restores weights and optimiser state after warm-up steps, which capture and compilation need."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer


@contextmanager
def warmup(networks: Sequence[nn.Module], optimizer: Optimizer | None = None) -> Iterator[None]:
    """Restores networks and optimiser in place after the body; gradients are dropped.

    Optimiser state that did not exist before is set to zero and kept. For SGD without dampening and for Adam, this is
    equivalent to having no state.
    """
    tensors = [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]
    before = [tensor.detach().clone() for tensor in tensors]
    states = {id(tensor): tensor.clone() for tensor in _state_of(optimizer)}
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
                tensor.grad = None
            for tensor in _state_of(optimizer):
                if id(tensor) in states:
                    tensor.copy_(states[id(tensor)])
                else:
                    tensor.zero_()


def _state_of(optimizer: Optimizer | None) -> list[Tensor]:
    """The tensors of an optimiser's state, of all parameters."""
    states = [] if optimizer is None else optimizer.state.values()
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]

"""Base class for forward hooks that observe the outputs of a network's modules without changing the network."""

from collections.abc import Callable
from typing import Self

from torch import nn
from torch.utils.hooks import RemovableHandle

Observer = Callable[..., None]  # called with a module, its inputs and its output


class Meter:
    """Observes modules of a network inside ``with meter:``; derived classes define which ones and how.

    >>> class Sizes(Meter):
    ...     def observer(self, name, module):
    ...         return lambda module, inputs, output: print(name or "network", tuple(output.shape))
    >>> with Sizes(network := nn.Sequential(nn.Flatten())):
    ...     out = network(torch.zeros(2, 3, 4))
    0 (2, 12)
    network (2, 12)
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._handles: list[RemovableHandle] = []

    def observer(self, name: str, module: nn.Module) -> Observer | None:
        """The forward hook of a module of the network; None if the module is not observed."""
        raise AssertionError(f"{type(self).__name__} must define observer")

    def __enter__(self) -> Self:
        for name, module in self.network.named_modules():
            if (observer := self.observer(name, module)) is not None:
                self._handles.append(module.register_forward_hook(observer))
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

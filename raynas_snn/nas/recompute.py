"""Activation checkpointing: saves memory by recomputing the activations of a module in the backward pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from raynas_snn.snn.normalise import statistics_at_rest


def recomputed(module: nn.Module, *inputs: object, generator: torch.Generator | None) -> Tensor:
    """Calls a module and saves only its inputs for the backward pass, which repeats the forward pass.

    Neurons keep no state between passes, so they emit the same spikes. `snn.normalise.BatchNorm` updates its running
    statistics in the first pass only; other modules with running statistics would update them twice.

    Args:
        module: Maps its inputs to a tensor.
        inputs: Its inputs.
        generator: Source of its random numbers, which is rewound for the second pass; None if it draws none.
    """
    state = None if generator is None else generator.get_state()

    @contextmanager
    def again() -> Iterator[None]:
        with statistics_at_rest():
            if generator is None or state is None:
                yield
                return
            later = generator.get_state()
            generator.set_state(state)
            try:
                yield
            finally:  # the second pass is broken off as soon as it has all that is needed
                generator.set_state(later)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), again()

    result: Tensor = checkpoint(
        module,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=not _is_capturing(),
        determinism_check="none",
        context_fn=contexts,
    )
    return result


def _is_capturing() -> bool:
    """Whether a CUDA graph is being recorded; it cannot set random numbers back."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()

"""Trading time for memory: a cell's activations are computed again when the backward pass needs them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from raynas_snn.snn.normalise import statistics_at_rest


def _is_capturing() -> bool:
    """Whether a CUDA graph is being recorded; it cannot set random numbers back."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def recomputed(run: Callable[..., Tensor], *arguments: object, generator: torch.Generator | None) -> Tensor:
    """Calls ``run``, keeping its inputs alone; the second pass does what the first has done.

    Neurons have no state beyond a pass, so they fire alike. Running statistics of `snn.normalise.BatchNorm` move in the
    first pass only; those of other modules that keep some would move twice.

    Args:
        run: Maps tensors to a tensor.
        arguments: What it is called with.
        generator: Of the random numbers that it draws, to be drawn again; None if it draws none.
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
        run,
        *arguments,
        use_reentrant=False,
        preserve_rng_state=not _is_capturing(),
        determinism_check="none",
        context_fn=contexts,
    )
    return result

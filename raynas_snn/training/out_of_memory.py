"""Recognises out-of-memory errors of Python, NumPy and torch, and adds advice. Imports no torch."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from raynas_snn.interfaces.trial import TrialCrash

FEWER_TRIALS = "fewer trials at a time on a machine (resources.max_concurrent)"
_SAID_BY_TORCH = ("can't allocate memory", "out of memory", "std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED")
_LONGEST = 160  # characters of what torch says


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python, NumPy or torch says that there is not enough memory, on a CPU or a GPU."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID_BY_TORCH)
    )


@contextmanager
def memory_advice(where: str, section: str) -> Iterator[None]:
    """Converts an out-of-memory exception of the body to one line with advice.

    Args:
        where: Where in the trial the body is, ``epoch 3 of search``.
        section: Section of the sweep file with the settings that matter there.

    Raises:
        TrialCrash: In place of such an exception.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        device = "GPU" if "CUDA" in str(error) or "CUBLAS" in str(error) else "CPU"
        said = " ".join(str(error).split())[:_LONGEST]
        raise TrialCrash(
            f"out of memory on the {device} in {where}: a smaller {section}.batch_size, {section}.recompute=true or "
            f"{FEWER_TRIALS} may help{f' ({said})' if said else ''}"
        ) from error

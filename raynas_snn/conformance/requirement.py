"""The error for an unmet requirement, and helpers that raise it."""

from collections.abc import Iterator
from contextlib import contextmanager

from raynas_snn.core.errors import UserError


class ConformanceError(AssertionError):
    """A component does not meet a requirement of its kind; the message is one line."""


def require(kept: bool, name: str, text: str) -> None:
    """Raises if a requirement is not met.

    Raises:
        ConformanceError: ``NAME: TEXT``.
    """
    if not kept:
        raise ConformanceError(f"{name}: {text}")


@contextmanager
def requiring(name: str, text: str) -> Iterator[None]:
    """Converts any exception in the body to a `ConformanceError`."""
    try:
        yield
    except ConformanceError:
        raise
    except Exception as error:
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        raise ConformanceError(" ".join(f"{name}: {text}, but: {kind}{error}".split())) from error

"""How a broken promise is told."""

from collections.abc import Iterator
from contextlib import contextmanager


class ConformanceError(AssertionError):
    """A thing does not do what its kind promises; the message is one line."""


def promise(kept: bool, name: str, text: str) -> None:
    """Raises if a promise is not kept.

    Raises:
        ConformanceError: ``NAME: TEXT``.
    """
    if not kept:
        raise ConformanceError(f"{name}: {text}")


@contextmanager
def promised(name: str, text: str) -> Iterator[None]:
    """Turns whatever goes wrong inside into a broken promise."""
    try:
        yield
    except ConformanceError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConformanceError(f"{name}: {text}, but: {reason}") from error

"""Keeps the terminal for the sweep's own words: whatever Ray prints goes to a file."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def own_stream(stderr: bool) -> TextIO:
    """A stream to where stdout or stderr goes now; it still goes there inside `output_to`."""
    return os.fdopen(os.dup(2 if stderr else 1), "w", encoding="utf-8", errors="backslashreplace", buffering=1)


@contextmanager
def output_to(path: str | Path) -> Iterator[None]:
    """Sends all that this process prints to the end of a file, by Python and by C++ alike."""
    sys.stdout.flush()
    sys.stderr.flush()
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    saved = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), saved, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
        os.close(log)

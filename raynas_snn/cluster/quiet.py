"""Keeps the terminal for the sweep's own words: whatever Ray prints goes to a file."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from raynas_snn.errors import writing_to


class _PatientFile(io.FileIO):
    """Where nobody reads any more - a closed terminal, a pipe whose reader has left - a write is lost, and that is all.

    A sweep of days must not end because somebody closed a window.
    """

    def write(self, data: object) -> int:
        """Writes, or pretends to."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            return len(data)  # type: ignore[arg-type]


def own_stream(stderr: bool) -> TextIO:
    """A stream to where stdout or stderr goes now; it still goes there inside `output_to`."""
    raw = _PatientFile(os.dup(2 if stderr else 1), "w")
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


@contextmanager
def output_to(path: str | Path) -> Iterator[None]:
    """Sends all that this process prints to the end of a file, by Python and by C++ alike."""
    _flush()
    with writing_to(Path(path)):
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    saved = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        yield
    finally:
        _flush()
        for descriptor, original in zip((1, 2), saved, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
        os.close(log)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # of a disk that is full
            stream.flush()

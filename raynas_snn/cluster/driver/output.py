"""Redirects Ray's own output to a file, so that only the sweep's messages reach the terminal."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from raynas_snn.core.errors import writing_to


class _PatientFile(io.FileIO):
    """Ignores failed writes: to a closed terminal, or to a pipe whose reader has ended.

    A sweep of several days must not end because a terminal window was closed.
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
    """A stream to the current target of stdout or stderr; it keeps this target inside `output_to`."""
    raw = _PatientFile(os.dup(2 if stderr else 1), "w")
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


@contextmanager
def output_to(path: str | Path) -> Iterator[None]:
    """Appends everything that this process prints, from Python and from C++, to a file."""
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

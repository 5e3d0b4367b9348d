"""Errors with a one-line message for the user and an exit code for scripts."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raynas_snn.core.text import visible

EXIT_DONE = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_TRIALS_FAILED = 3
EXIT_INTERRUPTED = 130

# Error numbers of a disk that cannot be written; some of them have other causes, too.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FAULTS = (*_FULL, errno.EROFS)
_FAULTS_IN_WRITING = (errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM)


class UserError(Exception):
    """A mistake that the user can correct; the message is one line that says what, where, and what would be right.

    Args:
        message: May quote untrusted names and values; it is reduced to one line without control characters.

    Attributes:
        exit_code: Exit code of the verb.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


class ClusterError(UserError):
    """Ray failed, not through a mistake of the user; the message is one line that says how."""

    exit_code = EXIT_FAILURE


class StorageFault(UserError):  # noqa: N818 - not an error of the program
    """The run directory's disk is full or cannot be written. It ends the sweep; no trial is marked as failed.

    What was written so far is kept; when the disk is repaired, the same command resumes.
    """

    exit_code = EXIT_FAILURE


def storage_fault(error: BaseException, where: Path | str, writing: bool = False) -> StorageFault | None:
    """Returns an exception as a `StorageFault` if it is about the disk, else None.

    Args:
        error: Any exception; its causes are examined too, because libraries wrap errors of the system.
        where: The file to name if the exception names none.
        writing: Whether it was raised while ``where`` was written, which is then named in any case.
    """
    known = (*_FAULTS, *_FAULTS_IN_WRITING) if writing else _FAULTS
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StorageFault):
            return cause
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in known:
            mend = "free some" if cause.errno in _FULL else "mend that"
            name = where if writing else cause.filename or where
            return StorageFault(f"{name}: {os.strerror(cause.errno)}; {mend} and run the same command again")
        cause = cause.__cause__ or cause.__context__
    return None


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Converts errors of the disk, raised while the body writes ``path``, to a `StorageFault`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        fault = storage_fault(error, path, writing=True)
        if fault is None:
            raise
        raise fault from error

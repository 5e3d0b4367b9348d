"""What a user sees when something is wrong: one line, and an exit code that scripts can rely on."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raynas_snn.visible import visible

EXIT_DONE = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_TRIALS_FAILED = 3
EXIT_INTERRUPTED = 130

# What the system says of a disk that takes no more; some of it is said of other things, too.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FAULTS = (*_FULL, errno.EROFS)
_FAULTS_IN_WRITING = (errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM)


class UserError(Exception):
    """A mistake the user can mend; the message is one line that says what, where, and what would be right.

    Args:
        message: May quote names and values from outside; it becomes one line without control characters.

    Attributes:
        exit_code: What a verb ends with.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


class ClusterError(UserError):
    """Ray fails for no fault of the user; the message is one line that says how."""

    exit_code = EXIT_FAILURE


class StorageFault(UserError):  # noqa: N818 - nobody's error
    """The disk under the run directory takes no more: nobody's mistake, and no reason to call a trial failed.

    What was written so far is kept; when the disk is mended, the same command goes on.
    """

    exit_code = EXIT_FAILURE


def storage_fault(error: BaseException, where: Path | str, writing: bool = False) -> StorageFault | None:
    """What an exception says about the disk, or None if that is not what it is about.

    Args:
        error: Any exception; what it came of is looked at, too, because libraries wrap what the system said.
        where: What to name if the exception names no file.
        writing: Whether it came of writing ``where``, which is named in any case.
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
    """Turns what the system says of the disk while ``path`` is written in the body into a `StorageFault`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        fault = storage_fault(error, path, writing=True)
        if fault is None:
            raise
        raise fault from error

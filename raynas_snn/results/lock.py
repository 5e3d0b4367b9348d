"""One driver at a time: a lock that the kernel releases when its holder dies, even by ``kill -9``."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raynas_snn.errors import UserError
from raynas_snn.results.files import read_text
from raynas_snn.results.records import now

# Asking for the holder takes the lock for an instant; a driver that starts just then must not give up.
_PATIENCE_SECONDS = 0.5


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock; a field is ``"unknown"`` while the process is still writing it down."""

    host: str = "unknown"
    pid: int | str = "unknown"
    since: str = "unknown"

    def as_dict(self) -> dict[str, Any]:
        """The fields for programs."""
        return asdict(self)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Holds the lock file ``path``, which is made if needed and never removed.

    The lock belongs to the open file: programs that the holder starts do not share it, bare forks do.

    Raises:
        UserError: If another process holds it, or the file system knows no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _try_lock(descriptor, fcntl.LOCK_EX, path):
            if time.monotonic() > deadline:
                raise UserError(f"{path.parent}: another driver is at work here: {_read_holder(path)}")
            time.sleep(0.02)
        text = json.dumps(Holder(socket.gethostname(), os.getpid(), now()).as_dict())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def find_holder(path: Path) -> Holder | None:
    """Returns who holds the lock file ``path`` now, or None. Needs no permission to write.

    Raises:
        UserError: If the file cannot be read, or the file system knows no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    try:
        return None if _try_lock(descriptor, fcntl.LOCK_SH, path) else _read_holder(path)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(f"{path}: this file system cannot lock files ({error.strerror})") from None
    return True


def _read_holder(path: Path) -> Holder:
    try:
        return Holder(**json.loads(read_text(path) or "{}"))
    except (ValueError, TypeError):
        return Holder()

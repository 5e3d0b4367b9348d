"""One driver at a time: a lock that the kernel releases when its holder dies, even by ``kill -9``.

Some file systems keep such locks on each host by itself (NFS with ``nolock``, Lustre with ``localflock``): there, two
hosts would not see each other. A holder therefore signs the file and touches it every few seconds, and who finds the
signature of another host in a file that is free first watches whether it is still touched. No clocks are compared.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from raynas_snn.errors import UserError, writing_to
from raynas_snn.outside import LARGEST_TEXT, open_regular, parse_json
from raynas_snn.repeating import repeating
from raynas_snn.results.files import read_text
from raynas_snn.results.records import now

# Asking for the holder takes the lock for an instant; a driver that starts just then must not give up.
_PATIENCE_SECONDS = 0.5
BEAT_SECONDS = 3.0
BEATS_OF_SILENCE = 3  # after which a holder on another host is dead


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
def hold(path: Path) -> Iterator[Holder | None]:
    """Holds the lock file ``path``, which is made if needed and never removed.

    The lock belongs to the open file: programs that the holder starts do not share it, bare forks do.

    Yields:
        The holder on another host that has died without letting go, if there was one.

    Raises:
        UserError: If another process holds it, or the file system knows no locks.
        StorageFault: If the disk does not take the holder's name.
    """
    with writing_to(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _try_lock(descriptor, fcntl.LOCK_EX, path):
            if time.monotonic() > deadline:
                raise _taken(path, _read_holder(path))
            time.sleep(0.02)
        elsewhere = _find_elsewhere(path)
        if elsewhere is not None and _is_touched(path):
            raise _taken(path, elsewhere)
        text = json.dumps(Holder(socket.gethostname(), os.getpid(), now()).as_dict())
        with writing_to(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text.encode(), 0)
        try:
            with repeating(BEAT_SECONDS, partial(_touch, path), "lock"):
                yield elsewhere
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def find_holder(path: Path) -> Holder | None:
    """Returns who holds the lock file ``path`` now, or None. Needs no permission to write.

    A holder on another host whose lock cannot be seen here is told by when it has touched the file; to answer at once,
    this compares the clocks of the two hosts.

    Raises:
        UserError: If the file cannot be read, or the file system knows no locks.
    """
    try:
        file = open_regular(path, LARGEST_TEXT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    with file:
        if not _try_lock(file.fileno(), fcntl.LOCK_SH, path):
            return _read_holder(path)
        age = abs(time.time() - os.fstat(file.fileno()).st_mtime)
        return _find_elsewhere(path) if age < BEATS_OF_SILENCE * BEAT_SECONDS else None


def _try_lock(descriptor: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(f"{path}: this file system cannot lock files ({error.strerror})") from None
    return True


def _taken(path: Path, holder: Holder) -> UserError:
    return UserError(f"{path.parent}: another driver is at work here: {holder}")


def _read_holder(path: Path) -> Holder:
    try:
        return Holder(**parse_json(read_text(path) or "{}"))
    except (ValueError, TypeError):
        return Holder()


def _find_elsewhere(path: Path) -> Holder | None:
    """Who has signed the file on another host and not let go; for one on this host the lock itself tells."""
    holder = _read_holder(path)
    return None if holder.host in ("unknown", socket.gethostname()) else holder


def _is_touched(path: Path) -> bool:
    """Whether the file changes within a few beats."""
    first = _stamp(path)
    for _ in range(4 * BEATS_OF_SILENCE):
        time.sleep(BEAT_SECONDS / 4)
        if _stamp(path) != first:
            return True
    return False


def _stamp(path: Path) -> tuple[int, bytes]:
    try:
        with open_regular(path, LARGEST_TEXT) as file:  # opening is what makes NFS ask its server
            return os.fstat(file.fileno()).st_mtime_ns, file.read()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)

"""A run's lease in a file of its directory. A brief lock on the file excludes drivers that start at the same moment."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from raynas_snn.core.errors import UserError, writing_to
from raynas_snn.core.untrusted_files import read_bytes
from raynas_snn.run.holder import Holder
from raynas_snn.run.lease import LARGEST_LEASE, RENEWALS_MISSED

_PATIENCE_SECONDS = 1.0  # for others that look at the lease or renew it
_SIZE = 512  # bytes; written in place, so that it stays the file that is locked, and a full disk takes a renewal


class LeaseFile:
    """A `raynas_snn.run.lease.LeaseStore`: a file that is created if needed, empty without a holder, never deleted.

    Args:
        path: The file.
    """

    renewal_seconds = 3.0
    settling_seconds = 0.0

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path.parent)

    def read(self) -> bytes | None:
        """Returns its content; raises `UserError` if it cannot be read. Needs no write permission."""
        try:
            return read_bytes(self._path, LARGEST_LEASE)  # opening is what makes NFS ask its server
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror}") from None

    def write(self, data: bytes) -> None:
        """Replaces its content; raises `StorageFault` if the disk cannot be written."""
        with self._opened() as descriptor, writing_to(self._path):
            os.ftruncate(descriptor, os.pwrite(descriptor, data.ljust(_SIZE), 0))

    def delete(self) -> None:
        """Empties the file."""
        with self._opened() as descriptor:
            os.ftruncate(descriptor, 0)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Locks the file in the body.

        Raises:
            UserError: If another process keeps it locked, or the file system does not support locks.
        """
        with self._opened() as descriptor:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not self._try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise UserError(f"{self}: another driver is starting here at this moment")
                time.sleep(0.02)
            yield

    def holder(self) -> Holder | None:
        """Returns who holds the lease now, or None.

        A holder on another machine counts if it has renewed the lease recently; this compares clocks to answer at once.
        """
        holder = Holder.parse(self.read())
        if holder is None:
            return None
        alive = holder.is_alive()
        if alive is None:
            age = abs(time.time() - self._path.stat().st_mtime)
            alive = age < RENEWALS_MISSED * self.renewal_seconds
        return holder if alive else None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        with writing_to(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _try_lock(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise UserError(f"{self._path}: this file system cannot lock files ({error.strerror})") from None
        return True

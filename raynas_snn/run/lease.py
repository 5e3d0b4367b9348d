"""The lease by which only one driver works on a run at a time; its driver renews it.

The same rules apply wherever a lease is kept, in a file (`raynas_snn.run.lease_file`) or in a storage
(`raynas_snn.remote.storage_lease`). If the holder is a process on this machine that no longer exists, its lease is
stale and is taken over at once. Any other holder is watched for a few renewal periods. No clocks are compared.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, replace
from typing import Protocol

from raynas_snn.core.errors import StorageFault, UserError
from raynas_snn.core.periodic import periodically
from raynas_snn.run.holder import Holder

LARGEST_LEASE = 2**14  # bytes
RENEWALS_MISSED = 3  # after which a holder on another machine counts as dead


class LeaseLostError(StorageFault):
    """Another driver has taken the run over."""


class LeaseStore(Protocol):
    """The file or object that holds a lease. Its name identifies the run.

    Attributes:
        renewal_seconds: Time between renewals.
        settling_seconds: Time after which two drivers that write the lease at once both read the later one; 0 where
            `exclusive` excludes this.
    """

    renewal_seconds: float
    settling_seconds: float

    def read(self) -> bytes | None:
        """Returns its content; None or empty if no driver holds the lease."""

    def write(self, data: bytes) -> None:
        """Replaces its content."""

    def delete(self) -> None:
        """Deletes it."""

    def exclusive(self) -> AbstractContextManager[object]:
        """Prevents other processes from changing it during the body, if that is possible."""


class Lease:
    """A driver's right to work on a run.

    Args:
        store: Where it is kept.
    """

    def __init__(self, store: LeaseStore) -> None:
        self._store = store
        self._holder = Holder.of_this_process()
        self._lost: LeaseLostError | None = None

    @property
    def id(self) -> str:
        """Identifies this start of the driver."""
        return self._holder.lease

    @contextmanager
    def held(self, say: Callable[[str], None]) -> Iterator["Lease"]:
        """Holds the lease in the body, and renews it in a thread.

        Args:
            say: Shows one line: that a driver elsewhere is watched, that a dead one is replaced.

        Raises:
            UserError: Names the driver that already works on the run.
            OSError: If the storage cannot be reached.
            StorageFault: If the disk cannot be written.
        """
        self._take(say)
        try:
            with periodically(self._store.renewal_seconds, self._renew, "lease"):
                yield self
        finally:
            with suppress(OSError, UserError):
                self._release()

    def confirm(self) -> None:
        """Checks that this driver still holds the lease; to be called right before any upload.

        Raises:
            LeaseLostError: If another driver has taken over, even if that driver has ended since.
            OSError: If the storage cannot be reached.
        """
        self.check()
        try:
            confirm(self._store, self.id)
        except LeaseLostError as error:
            self._lost = error
            raise

    def check(self) -> None:
        """Raises `LeaseLostError` if another driver is known to have taken over; does not read the lease."""
        if self._lost is not None:
            raise LeaseLostError(str(self._lost))

    def _take(self, say: Callable[[str], None]) -> None:
        found = Holder.parse(self._store.read())
        if found is not None:
            found = self._outlive(found, say)
        with self._store.exclusive():
            if (other := Holder.parse(self._store.read())) is not None and other != found:
                raise self._taken(other)
            self._write()
        if self._store.settling_seconds:
            time.sleep(self._store.settling_seconds)
            if (other := Holder.parse(self._store.read())) is not None and other.lease != self.id:
                raise self._taken(other)

    def _outlive(self, found: Holder, say: Callable[[str], None]) -> Holder | None:
        """Returns the holder if it is dead, None if it has let go meanwhile."""
        later: Holder | None = found
        alive = found.is_alive()
        if alive is None:
            seconds = RENEWALS_MISSED * self._store.renewal_seconds
            say(f"{found} has worked on {self._store}: looking for up to {seconds:g} s whether it still does")
            deadline = time.monotonic() + seconds
            while later == found and time.monotonic() < deadline:
                time.sleep(self._store.renewal_seconds / 10)
                later = Holder.parse(self._store.read())
            alive = later != found
        if later is None:
            return None
        if alive:
            raise self._taken(later)
        say(f"takes over from {found}, which is gone")
        return found

    def _renew(self) -> None:
        if self._lost is None:
            with suppress(OSError, UserError), self._store.exclusive():  # tried again at the next renewal
                self.confirm()
                self._holder = replace(self._holder, renewals=self._holder.renewals + 1)
                self._write()

    def _write(self) -> None:
        self._store.write(json.dumps(asdict(self._holder)).encode())

    def _release(self) -> None:
        with self._store.exclusive():
            self.confirm()
            self._store.delete()

    def _taken(self, holder: Holder) -> UserError:
        return UserError(f"{self._store}: another driver is at work here: {holder}")


def confirm(store: LeaseStore, lease: str) -> None:
    """Checks that the driver with this lease still holds it; raises as `Lease.confirm` does."""
    found = Holder.parse(store.read())
    if found is None or found.lease != lease:
        other = "another driver, which has ended since" if found is None else found
        raise LeaseLostError(f"{store} was taken over by {other}: this driver was not heard of for too long")

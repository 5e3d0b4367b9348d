"""A run's lease in its folder of a storage, where no kernel watches over locks."""

from contextlib import AbstractContextManager, nullcontext

from raynas_snn.remote.storage import Storage
from raynas_snn.run.lease import LARGEST_LEASE

_NAME = "driver.json"


class StorageLease:
    """A `raynas_snn.run.lease.LeaseStore`.

    Args:
        storage: The folder of the run.
    """

    renewal_seconds = 10.0
    settling_seconds = 0.5

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __str__(self) -> str:
        return str(self._storage)

    def read(self) -> bytes | None:
        """What lies there; raises OSError if the storage cannot be reached. Likewise the other methods."""
        return self._storage.read(_NAME, LARGEST_LEASE)

    def write(self, data: bytes) -> None:
        """Replaces it."""
        self._storage.write(_NAME, data)

    def delete(self) -> None:
        """Deletes it."""
        self._storage.delete(_NAME)

    def exclusive(self) -> AbstractContextManager[object]:
        """Nothing: object stores keep nobody apart."""
        return nullcontext()

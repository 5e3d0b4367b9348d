"""Trials that cannot be placed: somebody else holds the cluster, or nodes have gone. Says what they wait for."""

import contextlib
import time
from collections.abc import Callable

from grpc import RpcError  # type: ignore[import-untyped]
from ray.exceptions import RayError

from raynas_snn.cluster.capacity import Capacity

PATIENCE_SECONDS = 5.0
AGAIN_SECONDS = 300.0
_NO_NODE = "no node for any trial"


class Waiting:
    """Looks at the cluster now and then; to be called often.

    Args:
        capacity: Knows the cluster and what a trial takes.
        clean: Removes what the dead hold; called every few seconds while trials wait.

    Attributes:
        text: What trials wait for now, or None.
    """

    def __init__(self, capacity: Capacity, clean: Callable[[], object]) -> None:
        self._capacity = capacity
        self._clean = clean
        self._said_at = float("-inf")
        self._cleaned_at = float("-inf")
        self._since: dict[str, float] = {}  # when each placement group was first seen without a place
        self.text: str | None = None

    def look(self) -> str | None:
        """Updates `text`; returns it when it is to be said, which is now and then."""
        now = time.monotonic()
        unplaced = set(self._capacity.cluster.unplaced)
        if self._capacity.trials() == 0:
            unplaced.add(_NO_NODE)
        self._since = {key: self._since.get(key, now) for key in unplaced}
        if not any(now - since >= PATIENCE_SECONDS for since in self._since.values()):
            self.text = None
            return None
        if now >= self._cleaned_at + PATIENCE_SECONDS:
            self._cleaned_at = now
            with contextlib.suppress(RayError, RpcError):  # a head that is busy; it is asked again
                self._clean()
        self.text = f"waiting for {self._capacity.wanting()}"
        if now < self._said_at + AGAIN_SECONDS:
            return None
        self._said_at = now
        return self.text

"""Heartbeats of the trials' own processes, which Ray does not monitor.

A trial's process renews an entry in Ray's key-value store. The driver checks that the entry changes, so no clocks are
compared. If it does not change for too long, the process is considered hung: the driver kills it, and Tune restarts the
trial. A trial's train workers are monitored by Ray Train.
"""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import ray
from ray.exceptions import RayError

from raynas_snn.cluster.compat.heartbeat_store import read_heartbeat, remove_heartbeat, write_heartbeat
from raynas_snn.cluster.runtime.processes import kill_on_node
from raynas_snn.core.periodic import periodically

BEATS_PER_HEARTBEAT = 5  # a busy machine may miss some


@contextmanager
def heartbeats(key: str, heartbeat_seconds: float) -> Iterator[None]:
    """Sends heartbeats while the body runs.

    Args:
        key: Identifies the trial and the start of the sweep.
        heartbeat_seconds: How long the driver waits for a heartbeat.
    """
    counter = itertools.count()
    who = f"{ray.get_runtime_context().get_node_id()} {os.getpid()}"

    def beat() -> None:
        with suppress(RayError):  # a head that is busy or being replaced; it may hear the next one
            write_heartbeat(key, f"{who} {next(counter)}")

    try:
        with periodically(heartbeat_seconds / BEATS_PER_HEARTBEAT, beat, "heartbeat"):
            yield
    finally:
        forget(key)


def forget(key: str) -> None:
    """Removes a trial's entry, if Ray is running."""
    with suppress(RayError):
        remove_heartbeat(key)


@dataclass
class _Pulse:
    """What was last seen of a trial, and when."""

    entry: str | None
    seen: float


class Watch:
    """Monitors the heartbeats of the running trials; runs in the driver.

    Args:
        heartbeat_seconds: How long a trial's process may send no heartbeat.
    """

    def __init__(self, heartbeat_seconds: float) -> None:
        self._limit = heartbeat_seconds
        self._pulses: dict[str, _Pulse] = {}
        self._next_look = 0.0

    def hung(self, keys: list[str]) -> list[str]:
        """Kills the processes of trials that have sent no heartbeat for too long, and returns their keys.

        Args:
            keys: The trials that are running now.
        """
        now = time.monotonic()
        if now < self._next_look:
            return []
        self._next_look = now + self._limit / BEATS_PER_HEARTBEAT
        self._pulses = {key: self._pulses[key] for key in keys if key in self._pulses}
        return [key for key in keys if self._has_hung(key)]

    def _has_hung(self, key: str) -> bool:
        try:
            entry, now = read_heartbeat(key), time.monotonic()
        except RayError:  # without the head node, nothing is known about the trial
            return False
        pulse = self._pulses.get(key)
        if entry is None or pulse is None or pulse.entry != entry:  # None: it has yet to begin
            self._pulses[key] = _Pulse(entry, now)
            return False
        if now - pulse.seen <= self._limit:
            return False
        node_id, pid, _ = entry.split()
        kill_on_node(node_id, int(pid))
        forget(key)
        return True

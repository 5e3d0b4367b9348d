"""Signs of life of the trials' own processes, which Ray does not ask for any.

A trial's process renews an entry in Ray's key-value store; the driver looks whether it changes, so no clocks are
compared. One that stays the same for too long belongs to a process that hangs: it is killed, and Tune starts the
trial again. What a trial's train workers do is watched by Ray Train.
"""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import ray
from ray.exceptions import RayError
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_initialized, _internal_kv_put

from raynas_snn.cluster.hung_workers import kill_on_node
from raynas_snn.repeating import repeating

BEATS_PER_HEARTBEAT = 5  # a busy machine may miss some


@contextmanager
def beating(key: str, heartbeat_seconds: float) -> Iterator[None]:
    """Gives signs of life while the body runs.

    Args:
        key: Names the trial, and the start of the sweep.
        heartbeat_seconds: How long the driver waits for one.
    """
    counter = itertools.count()
    who = f"{ray.get_runtime_context().get_node_id()} {os.getpid()}"

    def beat() -> None:
        with suppress(RayError):  # a head that is busy or being replaced; it may hear the next one
            _internal_kv_put(key, f"{who} {next(counter)}")

    try:
        with repeating(heartbeat_seconds / BEATS_PER_HEARTBEAT, beat, "heartbeat"):
            yield
    finally:
        forget(key)


def forget(key: str) -> None:
    """Removes a trial's entry, if there is a Ray that may have one."""
    if _internal_kv_initialized():
        with suppress(RayError):
            _internal_kv_del(key)


@dataclass
class _Pulse:
    """What was last seen of a trial, and when."""

    entry: bytes | None
    seen: float


class Watch:
    """Looks after the running trials, from the driver.

    Args:
        heartbeat_seconds: How long a trial's process may be silent.
    """

    def __init__(self, heartbeat_seconds: float) -> None:
        self._limit = heartbeat_seconds
        self._pulses: dict[str, _Pulse] = {}
        self._next_look = 0.0

    def hung(self, keys: list[str]) -> list[str]:
        """Kills the processes of trials that have been silent for too long, and returns their keys.

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
            entry, now = _internal_kv_get(key), time.monotonic()
        except RayError:  # no news of the head is no news of the trial
            return False
        pulse = self._pulses.get(key)
        if entry is None or pulse is None or pulse.entry != entry:  # None: it has yet to begin
            self._pulses[key] = _Pulse(entry, now)
            return False
        if now - pulse.seen <= self._limit:
            return False
        node_id, pid, _ = entry.decode().split()
        kill_on_node(node_id, int(pid))
        forget(key)
        return True

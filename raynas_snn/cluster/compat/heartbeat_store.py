"""Ray's key-value store, in which trials leave their heartbeats."""

from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_initialized, _internal_kv_put


def write_heartbeat(key: str, entry: str) -> None:
    """Puts an entry in the place of the one before; raises `RayError` if the head does not answer.

    Missing in Ray: a store; an actor in its place would be a process more that may die.
    Without it: a trial's own process that hangs is never noticed, because Tune waits for it without end.
    """
    _internal_kv_put(key, entry)


def read_heartbeat(key: str) -> str | None:
    """The entry, None if there is none; raises `RayError` if the head does not answer.

    Missing in Ray: a store, see `write_heartbeat`.
    Without it: heartbeats are written, and nobody sees that they stop.
    """
    entry: bytes | None = _internal_kv_get(key)
    return None if entry is None else entry.decode()


def remove_heartbeat(key: str) -> None:
    """Removes an entry, if this process is still part of a cluster; raises `RayError` if the head does not answer.

    Missing in Ray: a store, see `write_heartbeat`.
    Without it: the head of a cluster that serves many sweeps keeps an entry of each trial.
    """
    if _internal_kv_initialized():
        _internal_kv_del(key)

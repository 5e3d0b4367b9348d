"""Kills a process of the sweep on any node by SIGKILL: a stopped process does not react to Ray's request to exit."""

import contextlib
import os
import signal

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_PATIENCE_SECONDS = 30  # for a process on another node that does it


def kill_on_node(node_id: str, pid: int) -> None:
    """Sends SIGKILL to a process on this or another node; it is no error if the process or its node is gone."""
    if node_id == ray.get_runtime_context().get_node_id():
        _kill(pid)
        return
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    with contextlib.suppress(RayError):  # GetTimeoutError is one of them
        ray.get(ray.remote(_kill).options(num_cpus=0, scheduling_strategy=there).remote(pid), timeout=_PATIENCE_SECONDS)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

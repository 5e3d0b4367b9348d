"""Ends processes that no longer answer, wherever they are: a stopped process does not hear Ray's request to end."""

import contextlib
import os
import signal
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train.v2._internal.exceptions import WorkerHealthCheckTimeoutError
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_PATIENCE_SECONDS = 30  # for a process on another node that does it


class EndHungWorkers(WorkerGroupCallback):
    """Kills the workers that were taken for dead before Train waits for them to shut down."""

    def before_worker_group_shutdown(self, worker_group: Any) -> None:
        """Kills those that have not answered for too long."""
        status = worker_group.get_latest_poll_status()
        for rank, error in status.errors.items() if status is not None else ():
            if isinstance(error, WorkerHealthCheckTimeoutError):
                metadata = worker_group.get_workers()[rank].metadata
                kill_on_node(metadata.node_id, metadata.pid)


def kill_on_node(node_id: str, pid: int) -> None:
    """Sends SIGKILL to a process on this or another node; one that is gone, with or without its node, is no error."""
    if node_id == ray.get_runtime_context().get_node_id():
        _kill(pid)
        return
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    with contextlib.suppress(RayError):  # GetTimeoutError is one of them
        ray.get(ray.remote(_kill).options(num_cpus=0, scheduling_strategy=there).remote(pid), timeout=_PATIENCE_SECONDS)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

"""Train workers that no longer answer, before Ray Train waits for them to shut down."""

from collections.abc import Callable
from typing import Any

from ray.train.v2._internal.execution.callback import WorkerGroupCallback

from raynas_snn.cluster.compat.train_failures import was_silent


class KillUnansweredWorkers(WorkerGroupCallback):
    """Kills the workers that have not answered for too long before Train waits for them to shut down.

    Missing in Ray: ``ray.train.UserCallback`` is told of failures, but neither of which worker nor where it is.
    Without it: Train asks a process that hangs to end, and it stays, with its memory and its GPU.

    Args:
        kill: Is given a node's number and a process's.
    """

    def __init__(self, kill: Callable[[str, int], None]) -> None:
        self._kill = kill

    def before_worker_group_shutdown(self, worker_group: Any) -> None:
        """Looks at the latest answers."""
        status = worker_group.get_latest_poll_status()
        for rank, error in status.errors.items() if status is not None else ():
            if was_silent(error):
                metadata = worker_group.get_workers()[rank].metadata
                self._kill(metadata.node_id, metadata.pid)

"""Questions to the head of the cluster (the GCS), which need no dashboard."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray._private.worker import global_worker
from ray.core.generated.autoscaler_pb2 import GetClusterResourceStateReply, NodeStatus  # type: ignore[attr-defined]

_TIMEOUT_SECONDS = 5
_JOB_DIGITS = 8  # the last hexadecimal digits of the name of what belongs to a job are the job's


@dataclass(frozen=True)
class Job:
    """A driver that has joined the cluster, now or earlier.

    Attributes:
        id: Its number, hexadecimal.
        is_dead: Whether it has left.
        metadata: What it has said of itself.
    """

    id: str
    is_dead: bool
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Snapshot:
    """The cluster at a moment.

    Attributes:
        nodes: All resources of each node that is alive.
        free: Resources that nobody holds, summed over the nodes.
        unplaced: Placement groups of this driver that have no place yet.
    """

    nodes: Sequence[Mapping[str, float]]
    free: Mapping[str, float]
    unplaced: frozenset[str]


def head_client() -> Any:
    """This process's connection to the head.

    Missing in Ray: any; ``ray.util.state`` asks the dashboard, which a cluster may not have and which takes longer.
    Without it: nothing below can be asked.
    """
    worker: Any = global_worker
    return worker.gcs_client


def answers(timeout: float) -> bool:
    """Whether the head answers within so many seconds.

    Missing in Ray: a call with a timeout; ``ray.nodes()`` does not come back from a head that is gone.
    Without it: a lost head is told nobody, and Ray ends the process a minute later, from C++, without a word.
    """
    try:
        head_client().check_alive([], timeout=timeout)
    except Exception:
        return False
    return True


def jobs() -> list[Job]:
    """All jobs that the cluster remembers.

    Missing in Ray: the metadata of jobs that were not submitted by ``ray job``.
    Without it: a sweep cannot tell dead drivers of sweeps from other jobs, so it can remove nothing that they hold.
    """
    table = head_client().get_all_job_info(skip_submission_job_info_field=True, skip_is_running_tasks_field=True)
    return [Job(key.hex(), job.is_dead, dict(job.config.metadata)) for key, job in table.items()]


def snapshot() -> Snapshot:
    """Who holds and who waits for what, now; raises if the head does not answer within seconds.

    Missing in Ray: which placement groups wait; ``ray.cluster_resources()`` adds up the nodes, so nobody knows whether
    the workers of a trial fit on one of them.
    Without it: trials that cannot be placed wait in silence, and new nodes are not used before the next start.
    """
    reply = GetClusterResourceStateReply()
    reply.ParseFromString(head_client().get_cluster_resource_state(timeout_s=_TIMEOUT_SECONDS))
    cluster = reply.cluster_resource_state
    alive = [node for node in cluster.node_states if node.status != NodeStatus.Value("DEAD")]
    free = Counter[str]()
    for node in alive:
        free.update(dict(node.available_resources))
    own_job = str(ray.get_runtime_context().get_job_id())
    waiting = (request.details.partition(":")[0] for request in cluster.pending_gang_resource_requests)
    unplaced = frozenset(key for key in waiting if key[-_JOB_DIGITS:] == own_job)
    return Snapshot([dict(node.total_resources) for node in alive], free, unplaced)

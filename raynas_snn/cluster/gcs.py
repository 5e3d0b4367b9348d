"""Questions to the head of the cluster (the GCS) that Ray's public interface does not ask without its dashboard."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray._private import state
from ray._private.grpc_utils import init_grpc_channel
from ray._private.worker import global_worker
from ray._raylet import ActorID, PlacementGroupID
from ray.core.generated import gcs_service_pb2_grpc
from ray.core.generated.autoscaler_pb2 import GetClusterResourceStateReply, NodeStatus  # type: ignore[attr-defined]
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]
from ray.core.generated.gcs_service_pb2 import KillActorViaGcsRequest  # type: ignore[attr-defined]
from ray.util.placement_group import PlacementGroup, remove_placement_group

_TIMEOUT_SECONDS = 5
_JOB_DIGITS = 8  # the last hexadecimal digits of what belongs to a job name the job


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


def own_job() -> str:
    """The number of this driver's job."""
    return str(ray.get_runtime_context().get_job_id())


def jobs() -> list[Job]:
    """All jobs that the cluster remembers."""
    table = _client().get_all_job_info(skip_submission_job_info_field=True, skip_is_running_tasks_field=True)
    return [Job(key.hex(), job.is_dead, dict(job.config.metadata)) for key, job in table.items()]


def placement_groups(job: str) -> list[str]:
    """Placement groups that a job has made and that were not removed."""
    return [group.placement_group_id.hex() for group in _groups() if group.creator_job_id.hex() == job]


def orphaned_groups() -> list[str]:
    """Placement groups of this driver whose maker, an actor, has died: the cluster frees them only with the driver."""
    job = own_job()
    makers = {
        group.placement_group_id.hex(): ActorID(group.creator_actor_id)
        for group in _groups()
        if group.creator_job_id.hex() == job
    }
    living = living_actors(job)  # asked for last: who is not among them now will not come back
    return [key for key, maker in makers.items() if not maker.is_nil() and maker.hex() not in living]


def remove_group(key: str) -> None:
    """Frees what a placement group holds or waits for."""
    remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(key))))


def living_actors(job: str, detached: bool = True) -> list[str]:
    """Actors that a job has left behind or not ended yet; with or without those that are to outlive it."""
    table = state.actors(job_id=ray.JobID(bytes.fromhex(job)), actor_state_name="ALIVE")
    return [key for key, actor in table.items() if detached or not actor["IsDetached"]]


def kill_actor(key: str) -> None:
    """Ends an actor of any job."""
    channel = init_grpc_channel(_client().address)
    try:
        gcs_service_pb2_grpc.ActorInfoGcsServiceStub(channel).KillActorViaGcs(
            KillActorViaGcsRequest(actor_id=bytes.fromhex(key), force_kill=True, no_restart=True),
            timeout=5,
        )
    finally:
        channel.close()


def is_on_dead_node(actor: str) -> bool:
    """Whether the machine that an actor was on has left the cluster."""
    node = state.actors(actor_id=actor).get("Address", {}).get("NodeID")
    return any(one["NodeID"] == node and not one["Alive"] for one in ray.nodes())


def num_lost_nodes() -> int:
    """How many machines have left the cluster since it began."""
    return sum(not node["Alive"] for node in ray.nodes())


def snapshot() -> Snapshot:
    """Who holds and who waits for what, now; raises if the head does not answer within seconds."""
    reply = GetClusterResourceStateReply()
    reply.ParseFromString(_client().get_cluster_resource_state(timeout_s=_TIMEOUT_SECONDS))
    cluster = reply.cluster_resource_state
    alive = [node for node in cluster.node_states if node.status != NodeStatus.Value("DEAD")]
    free = Counter[str]()
    for node in alive:
        free.update(dict(node.available_resources))
    waiting = (request.details.partition(":")[0] for request in cluster.pending_gang_resource_requests)
    unplaced = frozenset(key for key in waiting if job_of(key) == own_job())
    return Snapshot([dict(node.total_resources) for node in alive], free, unplaced)


def job_of(key: str) -> str:
    """The job that a placement group or an actor belongs to."""
    return key[-_JOB_DIGITS:]


def answers(timeout: float) -> bool:
    """Whether the head answers within so many seconds."""
    try:
        _client().check_alive([], timeout=timeout)
    except Exception:
        return False
    return True


def _groups() -> list[PlacementGroupTableData]:
    table = state.state._connect_and_get_accessor().get_placement_group_table()  # the public one leaves out the maker
    groups = [PlacementGroupTableData.FromString(row) for row in table]
    return [group for group in groups if group.state != PlacementGroupTableData.REMOVED]


def _client() -> Any:
    worker: Any = global_worker
    return worker.gcs_client

"""Actors of any job, by their number: this process has no handles of them."""

import grpc  # type: ignore[import-untyped]
import ray
from ray._private import state
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import gcs_service_pb2_grpc
from ray.core.generated.gcs_service_pb2 import KillActorViaGcsRequest  # type: ignore[attr-defined]
from ray.exceptions import RpcError

from raynas_snn.cluster.compat.head_queries import head_client

_TIMEOUT_SECONDS = 5


def living_actors(job: str, detached: bool = True) -> list[str]:
    """Actors of a job that are alive; with or without those that are to outlive it.

    Missing in Ray: ``ray.util.state.list_actors`` asks the dashboard, which a cluster may not have.
    Without it: nobody knows whether the processes of a killed driver are still writing, nor which placement groups
    have lost the actor that made them.
    """
    table = state.actors(job_id=ray.JobID(bytes.fromhex(job)), actor_state_name="ALIVE")
    return [key for key, actor in table.items() if detached or not actor["IsDetached"]]


def kill_actor(key: str) -> None:
    """Ends an actor of any job.

    Missing in Ray: ``ray.kill`` takes a handle, which for another job's actors is to be had by their names only.
    Without it: the detached actors that watched over placement groups of a killed driver stay on the cluster.

    Raises:
        RpcError: If the head does not answer within seconds.
    """
    channel = init_grpc_channel(head_client().address)
    try:
        gcs_service_pb2_grpc.ActorInfoGcsServiceStub(channel).KillActorViaGcs(
            KillActorViaGcsRequest(actor_id=bytes.fromhex(key), force_kill=True, no_restart=True),
            timeout=_TIMEOUT_SECONDS,
        )
    except grpc.RpcError as error:
        raise RpcError(str(error)) from error
    finally:
        channel.close()


def was_on_lost_node(key: str) -> bool:
    """Whether the machine that an actor was on has left the cluster.

    Missing in Ray: the node of an actor that is dead, without a dashboard.
    Without it: a trial is called failed because machines under its own process came and went.
    """
    node = state.actors(actor_id=key).get("Address", {}).get("NodeID")
    return any(one["NodeID"] == node and not one["Alive"] for one in ray.nodes())

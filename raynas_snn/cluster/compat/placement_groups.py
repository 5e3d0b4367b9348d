"""Placement groups of any job, and the actors that made them."""

import ray
from ray._private import state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]
from ray.util.placement_group import PlacementGroup, remove_placement_group

from raynas_snn.cluster.compat.actors import living_actors


def groups_of(job: str) -> list[str]:
    """Placement groups that a job has made and that were not removed.

    Missing in Ray: the job; ``ray.util.placement_group_table()`` leaves it out.
    Without it: what a killed driver's actors asked for in their last moment is held for ever, and the next sweep waits
    for its CPUs without end.
    """
    return [group.placement_group_id.hex() for group in _groups() if group.creator_job_id.hex() == job]


def groups_of_dead_actors(job: str) -> list[str]:
    """Placement groups of a job whose maker, an actor, has died.

    Missing in Ray: the maker; ``ray.util.placement_group_table()`` leaves it out.
    Without it: a trial's process that is killed while it waits for a place gets that place later, until the sweep ends.
    """
    makers = {
        group.placement_group_id.hex(): ray.ActorID(group.creator_actor_id)
        for group in _groups()
        if group.creator_job_id.hex() == job
    }
    living = living_actors(job)  # asked for last: who is not among them now will not come back
    return [key for key, maker in makers.items() if not maker.is_nil() and maker.hex() not in living]


def remove_group(key: str) -> None:
    """Frees what a placement group holds or waits for.

    Missing in Ray: ``remove_placement_group`` takes a handle, which for another job's groups is to be had by their
    names only.
    Without it: orphaned placement groups are known, and stay.
    """
    remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(key))))


def _groups() -> list[PlacementGroupTableData]:
    table = state.state._connect_and_get_accessor().get_placement_group_table()
    groups = [PlacementGroupTableData.FromString(row) for row in table]
    return [group for group in groups if group.state != PlacementGroupTableData.REMOVED]

"""Removes orphaned placement groups: those of killed processes, on a cluster that is still running.

Ray ends a job's actors when its driver dies. An actor that is just starting its workers may still create a placement
group after that. Nobody removes this group, and the next sweep would wait for its CPUs forever. The same happens when a
trial's process is killed while its placement group is pending: Ray still places the group later.
"""

import time

import ray

from raynas_snn.cluster.compat.actors import kill_actor, living_actors
from raynas_snn.cluster.compat.head_queries import Job, jobs
from raynas_snn.cluster.compat.placement_groups import groups_of, groups_of_dead_actors, remove_group

MARK = "raynas_snn"  # in the metadata of our jobs, with the run directory
_PATIENCE_SECONDS = 10.0  # for processes of an earlier driver of the same run, which are being ended already


def wait_for_earlier_drivers(run_dir: str) -> None:
    """Waits until the processes of earlier drivers of a run have ended, so that no two processes write to one trial.

    Args:
        run_dir: The run directory, whose lease this driver holds.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while any(_is_ending(job) for job in _others() if job.metadata[MARK] == run_dir) and time.monotonic() < deadline:
        time.sleep(0.2)


def remove_orphans() -> int:
    """Removes the placement groups of dead drivers of sweeps, and of dead trials of this sweep, from the cluster.

    Other jobs and running sweeps are not affected.

    Returns:
        How many placement groups were removed.
    """
    removed = _remove(groups_of_dead_actors(_own_job()))
    for job in _others():
        if job.is_dead:
            for actor in living_actors(job.id):  # those that watched over a placement group
                kill_actor(actor)
            removed += _remove(groups_of(job.id))
    return removed


def _remove(groups: list[str]) -> int:
    for group in groups:
        remove_group(group)
    return len(groups)


def _others() -> list[Job]:
    """The jobs of other sweeps, and of earlier drivers of this one."""
    return [job for job in jobs() if MARK in job.metadata and job.id != _own_job()]


def _own_job() -> str:
    return str(ray.get_runtime_context().get_job_id())


def _is_ending(job: Job) -> bool:
    return not job.is_dead or bool(living_actors(job.id, detached=False))

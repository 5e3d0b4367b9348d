"""What killed processes leave on a cluster that survives them: placement groups that hold their CPUs for ever.

Ray ends a job's actors when its driver dies. One that is just starting its workers may still ask for a placement group
after that; nobody owns it then, and the next sweep would wait for its CPUs without end. Likewise a trial's process
that is killed while it waits for a place: the place is found later, for nobody.
"""

import time

from raynas_snn.cluster import gcs

MARK = "raynas_snn"  # in the metadata of our jobs, with the run directory
_PATIENCE_SECONDS = 10.0  # for processes of an earlier driver of the same run, which are being ended already


def wait_for_earlier_drivers(run_dir: str) -> None:
    """Waits while processes of earlier drivers of a run are being ended, so that nobody writes into a trial besides us.

    Args:
        run_dir: The run directory, whose lock is held.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while any(_is_ending(job) for job in _others() if job.metadata[MARK] == run_dir) and time.monotonic() < deadline:
        time.sleep(0.2)


def remove_leftovers() -> int:
    """Frees what dead drivers of sweeps, and dead trials of this one, hold on the cluster.

    Others' jobs and living ones are not touched.

    Returns:
        How many placement groups were removed.
    """
    orphans = gcs.orphaned_groups()
    for group in orphans:
        gcs.remove_group(group)
    removed = len(orphans)
    for job in _others():
        if job.is_dead:
            for actor in gcs.living_actors(job.id):  # what would have guarded a placement group, and now guards none
                gcs.kill_actor(actor)
            for group in gcs.placement_groups(job.id):
                gcs.remove_group(group)
                removed += 1
    return removed


def _others() -> list[gcs.Job]:
    """The jobs of other sweeps, and of earlier drivers of this one."""
    return [job for job in gcs.jobs() if MARK in job.metadata and job.id != gcs.own_job()]


def _is_ending(job: gcs.Job) -> bool:
    return not job.is_dead or bool(gcs.living_actors(job.id, detached=False))

"""Classifies the death of a trial's own process: crashes count against the trial, lost machines do not."""

from raynas_snn.cluster.compat.actors import was_on_lost_node
from raynas_snn.cluster.compat.death_messages import dead_actor
from raynas_snn.cluster.trial.crash_stacks import describe_death


def died_with_its_machine(said: str) -> bool:
    """Whether the actor in a message of Ray's died because its node is no longer part of the cluster."""
    actor = dead_actor(said)
    return actor is not None and was_on_lost_node(actor)


def reason_of_death(stacks: str, said: str) -> str:
    """One line that says why a trial's own process died or could not run.

    Args:
        stacks: Its crash stacks, see `take_crash_stacks`.
        said: Ray's message about it, see `raynas_snn.cluster.compat.tune_trials.last_failure`.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if dead_actor(said) is not None or not lines:
        if died_with_its_machine(said):
            return "the machine of the trial's process is gone"
        return f"the trial's process {describe_death(stacks, said)}"
    return f"the trial's process could not run: {lines[-1]}"

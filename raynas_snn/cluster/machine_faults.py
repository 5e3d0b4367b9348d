"""Why a trial's own process died: a trial answers for its crashes, not for the machines it runs on."""

import re
from pathlib import Path
from typing import Any

from raynas_snn.cluster import gcs
from raynas_snn.cluster.last_words import how_it_died

_FAILURE = "Failure # "  # how Tune begins each entry of a trial's error file
_ACTOR = re.compile(r"\bactor_id: ([0-9a-f]+)|The actor ([0-9a-f]+) is unavailable")  # in what Ray says of a death


def last_failure(trial: Any) -> str:
    """What Tune has noted of a trial's latest failure; empty if there is none."""
    return Path(trial.error_file).read_text().rpartition(_FAILURE)[2] if trial.error_file else ""


def died_with_its_machine(said: str) -> bool:
    """Whether the actor that Ray speaks of is gone because its machine is no longer part of the cluster."""
    found = _ACTOR.search(said)
    return found is not None and gcs.is_on_dead_node(found[1] or found[2])


def forgive(trial: Any) -> None:
    """Lets Tune forget the deaths of a trial's process that it counts against the trial."""
    trial.run_metadata.num_failures = 0


def reason_of_death(words: str, said: str) -> str:
    """One line about a trial's own process that cannot go on.

    Args:
        words: What it has left, see `last_words`.
        said: What Ray says of it, see `last_failure`.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if _ACTOR.search(said) or not lines:
        if died_with_its_machine(said):
            return "the machine of the trial's process is gone"
        return f"the trial's process {how_it_died(words, said)}"
    return f"the trial's process could not run: {lines[-1]}"

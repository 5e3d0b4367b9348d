"""What Ray's messages tell of a process that died, where its exceptions have no name or attribute for it."""

import re

_ACTOR = re.compile(r"\bactor_id: ([0-9a-f]+)|The actor ([0-9a-f]+) is unavailable")


def dead_actor(said: str) -> str | None:
    """The number of the actor that a message says is dead; None if it is about something else.

    Missing in Ray: the exception; of a failure of a trial Tune keeps the text.
    Without it: deaths of a trial's process and exceptions in it cannot be told apart, nor can lost machines.
    """
    found = _ACTOR.search(said)
    return None if found is None else found[1] or found[2]


def is_of_lost_node(said: str) -> bool:
    """Whether a message says that an actor has died with its machine.

    Missing in Ray: `ray.exceptions.ActorDiedError` does not say in an attribute what the actor died of.
    Without it: the reason of a failed trial is given as SIGKILL.
    """
    return "node has died" in said


def is_of_lack_of_memory(said: str) -> bool:
    """Whether a message says that Ray has killed a process because its machine ran out of memory.

    Missing in Ray: an attribute; `ray.exceptions.OutOfMemoryError` is raised for some of these deaths only.
    Without it: the reason of a failed trial is given as SIGKILL, without what would help.
    """
    return "running low on memory" in said

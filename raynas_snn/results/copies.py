"""Which of two copies of a run goes on: the one here, or the one in the storage.

Every start of a driver is noted in the manifest, with a name of its own. Whoever's list of starts goes on from the
other's is the later copy; nothing else tells for sure, because journals are rewritten and records taken out by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raynas_snn.errors import UserError
from raynas_snn.results.run_dir import RunDir


@dataclass(frozen=True)
class Copy:
    """What tells copies of a run apart.

    Attributes:
        starts: The starts of drivers, as the manifest lists them.
        uids: Trials that have ended.
    """

    starts: Sequence[dict[str, Any]]
    uids: Sequence[str]

    @classmethod
    def of(cls, run: RunDir) -> "Copy":
        """Reads it off a run directory; raises `UserError` if a file there is garbled."""
        return cls(run.manifest().get("starts", []), [record.uid for record in run.records()])


def is_later(there: Copy, here: Copy, storage: str, run_dir: str) -> bool:
    """Whether the copy in the storage is the one to go on with.

    Args:
        there: The copy in the storage.
        here: The copy in the run directory.
        storage: Names the one.
        run_dir: Names the other.

    Raises:
        UserError: If both were continued by themselves, or the later one lacks a trial that has ended here.
    """
    ours, theirs = list(here.starts), list(there.starts)
    way_out = f"move {run_dir} away to go on with what is in {storage}"
    if ours[: len(theirs)] == theirs:
        return False
    if theirs[: len(ours)] != ours:
        raise UserError(f"{run_dir} and {storage} were continued independently of each other; {way_out}")
    lacking = sorted(set(here.uids) - set(there.uids))
    if lacking:
        raise UserError(
            f"{run_dir}: {storage} was continued elsewhere and lacks {len(lacking)} trials that have ended here "
            f"({', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}); {way_out}"
        )
    return True

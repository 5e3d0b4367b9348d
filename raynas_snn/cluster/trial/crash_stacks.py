"""Crash stacks: saves the Python stack of a process that crashes in native code, and describes crashes in one line."""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

from raynas_snn.cluster.compat.death_messages import is_of_lack_of_memory
from raynas_snn.core.errors import writing_to
from raynas_snn.run.trial_dir import TrialDir
from raynas_snn.training.out_of_memory import FEWER_TRIALS

_PREFIX = ".fatal-"  # hidden: no part of a copy


@contextmanager
def leave_crash_stack(folder: TrialDir, rank: int) -> Iterator[None]:
    """Writes the stack to the trial's folder on SIGABRT, SIGSEGV, SIGBUS, SIGFPE or SIGILL in the body."""
    path = folder.path / f"{_PREFIX}{rank}.txt"
    with writing_to(path):
        file = path.open("w")
    with file:
        faulthandler.enable(file, all_threads=False)
        try:
            yield
        finally:
            faulthandler.enable(all_threads=False)  # to stderr, as Ray has it
            path.unlink(missing_ok=True)


def take_crash_stacks(folder: TrialDir) -> str:
    """Returns and removes the stacks written by crashed processes of the trial; empty if there are none."""
    stacks = []
    for path in sorted(folder.path.glob(f"{_PREFIX}*.txt")):
        stacks.append(path.read_text(errors="replace").strip())
        path.unlink(missing_ok=True)
    return "\n\n".join(filter(None, stacks))


def describe_death(stacks: str, said_by_ray: str) -> str:
    """One line that says how a process died.

    Args:
        stacks: Its crash stacks, see `take_crash_stacks`.
        said_by_ray: Ray's message about it.
    """
    less_memory = f"a smaller batch_size, recompute=true or {FEWER_TRIALS} may help"
    if is_of_lack_of_memory(said_by_ray):
        return f"was killed by Ray because its machine ran out of memory; {less_memory}"
    if stacks:
        return f"crashed in native code: {stacks.splitlines()[0]}"
    return f"was killed (SIGKILL) or ended itself without a word; if the system had no memory left, {less_memory}"

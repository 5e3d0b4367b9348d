"""What is known of a process that died: the Python stack, if it crashed in native code."""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

from raynas_snn.errors import writing_to
from raynas_snn.results.trial_dir import TrialDir
from raynas_snn.training.memory import FEWER_TRIALS

_PREFIX = ".fatal-"  # hidden: no part of a copy


@contextmanager
def last_words(folder: TrialDir, rank: int) -> Iterator[None]:
    """Has a fatal signal in the body (SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL) leave a stack in the trial's folder."""
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


def hear_last_words(folder: TrialDir) -> str:
    """Returns the stacks that crashed processes of the trial have left, and removes them; empty if there are none."""
    heard = []
    for path in sorted(folder.path.glob(f"{_PREFIX}*.txt")):
        heard.append(path.read_text(errors="replace").strip())
        path.unlink(missing_ok=True)
    return "\n\n".join(filter(None, heard))


def how_it_died(words: str, said_by_ray: str) -> str:
    """One line about a process that is gone.

    Args:
        words: What it has left, see `hear_last_words`.
        said_by_ray: What Ray says of it.
    """
    less_memory = f"a smaller batch_size, recompute=true or {FEWER_TRIALS} may help"
    if "running low on memory" in said_by_ray:
        return f"was killed by Ray because its machine ran out of memory; {less_memory}"
    if words:
        return f"crashed in native code: {words.splitlines()[0]}"
    return f"was killed (SIGKILL) or ended itself without a word; if the system had no memory left, {less_memory}"

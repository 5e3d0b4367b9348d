"""The checkpoints of a trial: that of the last epoch, and the previous one in case the last is damaged.

::

    checkpoint/last.pt            replaced at the end of each epoch
    checkpoint/before.pt          the previous last.pt
    checkpoint/*.pt.damaged       an unreadable checkpoint, kept for the user
"""

import contextlib
import errno
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from raynas_snn.core.errors import UserError, writing_to
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.training.distributed import from_first_worker
from raynas_snn.training.out_of_memory import is_out_of_memory

State = dict[str, Any]

_BEFORE, _DAMAGED = "before.pt", ".damaged"
_KEYS = {"phase", "epoch", "members", "random", "best", "seconds", "ended", "row", "carried"}


class DamagedCheckpointError(Exception):
    """The content of a checkpoint file has changed since it was written; the message is the reason."""


def checkpoint_path(directory: Path) -> Path:
    """The path of the checkpoint of a trial's last epoch."""
    return directory / "checkpoint" / "last.pt"


def save_checkpoint(path: Path, state: State) -> None:
    """Writes tensors, numbers, names, lists and dicts, and keeps the previous file as ``before.pt``.

    A crash at any moment leaves the old or the new file, at ``path`` or as ``before.pt``.

    Raises:
        StorageFault: If the disk cannot be written; the old file is still at ``path``.
    """
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f"{path.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
        scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with scratch.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        with contextlib.suppress(FileNotFoundError):  # the first has none before it
            path.replace(path.with_name(_BEFORE))
        scratch.replace(path)


def load_checkpoint(context: TrialContext, device: str | None = None) -> State | None:
    """Reads a trial's last checkpoint, or None if there is none. No code is run from the file.

    If it is damaged, the previous one is read, or none if that is damaged too; the trial's next report has a warning.
    All workers call this together: the first decides which file to read, the others read the same.

    Args:
        context: The trial.
        device: Where tensors go; None for the trial's device.

    Raises:
        UserError: If the file is intact, but was not written by this package.
        StorageFault: If a damaged file cannot be renamed.
    """
    path = checkpoint_path(context.directory)
    found = from_first_worker(lambda: _settle(path, context), context.device)
    return read_checkpoint(path, device or context.device) if found else None


def read_checkpoint(path: Path, device: str = "cpu") -> State:
    """Reads what `save_checkpoint` wrote and verifies its checksums, which torch's own reader does not.

    Raises:
        DamagedCheckpointError: If bytes have changed.
        OSError: If the file cannot be read now.
        UserError: If the file is intact, but was not written by this package.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
        if changed is not None:
            raise DamagedCheckpointError(f"{changed} in it has changed")
        state = torch.load(path, map_location=device, weights_only=True)
    except DamagedCheckpointError:
        raise
    except OSError as error:  # a file server that is away for a moment has damaged nothing
        if error.errno != errno.EINVAL:  # a position that no file has
            raise
        raise DamagedCheckpointError(_first_line(error)) from None
    except UnpicklingError as error:  # the bytes are as they were written, by somebody else
        raise UserError(f"{path}: not a checkpoint of a trial ({_first_line(error)}); delete it") from None
    except Exception as error:  # zipfile and torch raise a dozen kinds for a damaged file
        if is_out_of_memory(error):
            raise
        raise DamagedCheckpointError(_first_line(error)) from None
    if not isinstance(state, dict) or not state.keys() >= _KEYS:
        raise UserError(f"{path}: not a checkpoint of a trial; delete it")
    return state


@contextlib.contextmanager
def fitting(path: Path, what: str) -> Iterator[None]:
    """Converts torch's error about a checkpoint of another network to one line that names the file.

    Args:
        path: The checkpoint.
        what: The object that the body restores from it.
    """
    try:
        yield
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise UserError(
            f"{path}: does not fit this trial's {what} ({' '.join(lines[:2])}); "
            f"delete {path.parent} to start the trial again"
        ) from None


def random_state() -> State:
    """State of torch's global generators on the CPU and all GPUs; the epochs' own generators derive from the seed."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def restore_random_state(state: State) -> None:
    """Restores what `random_state` returned."""
    torch.set_rng_state(state["cpu"].cpu())
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([saved.cpu() for saved in state["cuda"]])


def _settle(path: Path, context: TrialContext) -> bool:
    """Puts the newest checkpoint that can be read at ``path``; whether there is one."""
    damages = []
    for candidate in (path, path.with_name(_BEFORE)):
        if not candidate.is_file():
            continue
        try:
            state = read_checkpoint(candidate)
        except DamagedCheckpointError as damage:
            with writing_to(candidate):
                candidate.replace(candidate.with_name(candidate.name + _DAMAGED))
            damages.append(f"{candidate} is damaged ({damage}) and kept as {candidate.name}{_DAMAGED}")
            continue
        if candidate != path:
            with writing_to(path):
                candidate.replace(path)
        if damages:
            context.warn(f"{damages[0]}; going on from epoch {state['row']['epoch']}, the checkpoint before")
        return True
    if damages:
        context.warn(f"{', '.join(damages)}; starting this trial again from its first epoch")
    return False


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__

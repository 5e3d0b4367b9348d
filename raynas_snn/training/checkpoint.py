"""One checkpoint per trial, replaced atomically at the end of each epoch."""

import os
from pathlib import Path
from typing import Any

import torch

from raynas_snn.errors import UserError

State = dict[str, Any]


def save_checkpoint(path: Path, state: State) -> None:
    """Writes tensors, numbers, names, lists and dicts; a crash at any moment leaves the old or the new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with scratch.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def load_checkpoint(path: Path, device: str = "cpu") -> State | None:
    """Reads what `save_checkpoint` wrote, or None if there is nothing. No code is run from the file.

    Raises:
        UserError: If the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        state: State = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: the checkpoint is damaged ({reason}); delete it to start this phase again") from None
    return state


def random_state() -> State:
    """Torch's global random numbers on the CPU and on every GPU; the epochs' own generators derive from the seed."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def restore_random_state(state: State) -> None:
    """Goes back to what `random_state` returned."""
    torch.set_rng_state(state["cpu"].cpu())
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([saved.cpu() for saved in state["cuda"]])

"""The trials of the soak: instant ones that keep account of what they repeat, and the real ones."""

import time
from pathlib import Path

from raynas_snn.config.schema import TrialConfig
from raynas_snn.interfaces.trial import Metrics, TrialContext, TrialRecipe

EPOCHS = 6
EPOCH_SECONDS = 1.0
ACCOUNT = "account"  # in a trial's folder: a line when an epoch begins and one when its checkpoint is there


def counted(trial: TrialConfig, context: TrialContext) -> Metrics:
    """Sleeps through its epochs, with a checkpoint after each as a real trial has it."""
    checkpoint = context.directory / "epochs_done"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    accuracy = trial.model.decay
    for epoch in range(max(done, 1), EPOCHS + 1):
        if epoch > done:  # the last one done is only reported again
            _note(context.directory, f"begin {epoch}")
            time.sleep(EPOCH_SECONDS)
            scratch = checkpoint.with_suffix(".new")
            scratch.write_text(str(epoch))
            scratch.replace(checkpoint)
            _note(context.directory, f"end {epoch}")
        phase = "search" if epoch <= EPOCHS // 2 else "retrain"
        context.report({"epoch": epoch, "phase": phase, "accuracy": accuracy * epoch / EPOCHS, "spikes": 10.0})
    return {"accuracy": accuracy, "spikes": 10.0, "params": 1.0, "seconds": EPOCHS * EPOCH_SECONDS}


def _note(directory: Path, line: str) -> None:
    with (directory / ACCOUNT).open("a") as file:
        file.write(f"{line}\n")


COUNTED = TrialRecipe(run=counted, total_epochs=lambda _: EPOCHS, uses_workers=False)

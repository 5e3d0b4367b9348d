"""Runs the epochs of a phase; an interrupted phase resumes after its last epoch, bit-identically on a CPU."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from raynas_snn.interfaces.trial import EpochRow, TrialContext, TrialFailure
from raynas_snn.training.checkpoint import (
    State,
    checkpoint_path,
    fitting,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from raynas_snn.training.distributed import World
from raynas_snn.training.out_of_memory import memory_advice

RETRAIN_PHASE = "retrain"  # the last phase of every trial; the phases before it belong to the search

COLUMNS = (
    "epoch",
    "phase",
    "phase_epoch",
    "phase_epochs",
    "train_loss",
    "train_accuracy",
    "alpha_loss",
    "accuracy",
    "spikes",
    "firing_rate",
    "alpha_entropy_normal",
    "alpha_entropy_reduction",
    "skip_share_normal",
    "skip_share_reduction",
    "sahd_score",
    "fitness",
    "lr",
    "seconds",
    "warning",
)


class Stateful(Protocol):
    """A protocol for networks, optimisers and schedules."""

    def state_dict(self) -> dict[str, Any]:
        """All that must survive."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Goes back to it."""
        ...


@dataclass
class EpochLoop:
    """One phase of a trial: its epochs and the state that its checkpoints hold.

    Attributes:
        name: ``search``, ``evolve`` or ``retrain``; a checkpoint of another phase is not read.
        epochs: Number of epochs.
        first_epoch: Number of epochs of earlier phases; reports count over all phases.
        members: The stateful objects that a checkpoint holds, by name.
        context: The trial's folder and report.
        carried: Plain results of earlier phases that the checkpoint keeps.
        best: Plain values about the best epoch so far, kept in the checkpoint.
        seconds: Time spent on epochs, over all attempts.
        ended: Set by an epoch to make it the last one. Later phases count their epochs as if all had been run, so
            that an epoch's number does not depend on what happened before.
    """

    name: str
    epochs: int
    first_epoch: int
    members: Mapping[str, Stateful]
    context: TrialContext
    carried: State = field(default_factory=dict)
    best: State = field(default_factory=dict)
    seconds: float = 0.0
    ended: bool = False

    def run(self, epoch: Callable[[int], dict[str, Any]]) -> None:
        """Calls ``epoch(index)`` for the remaining epochs; it trains, evaluates and returns its metrics.

        After each epoch the checkpoint is replaced first, then the epoch is reported. A trial that was killed in
        between makes that report when it resumes.

        Raises:
            TrialFailure: If the loss is not finite.
            TrialCrash: If there is not enough memory.
            StorageFault: If the checkpoint cannot be written to the disk.
        """
        for index in self._remaining():
            start = time.monotonic()
            with memory_advice(f"epoch {index + 1} of {self.name}", self._section):
                numbers = epoch(index)
            loss = numbers.get("train_loss", 0.0)  # a search may train nothing
            if not math.isfinite(loss):
                raise TrialFailure(
                    f"the loss is {loss} in epoch {index + 1} of {self.name}; a lower {self._section}.lr or a "
                    f"{self._section}.grad_clip may help"
                )
            self.seconds += time.monotonic() - start
            row = {
                "epoch": self.first_epoch + index + 1,
                "phase": self.name,
                "phase_epoch": index + 1,
                "phase_epochs": self.epochs,
                "seconds": round(self.seconds, 3),
                **numbers,
            }
            ordered = {column: row.get(column, "") for column in COLUMNS}
            self._save(index + 1, ordered)
            self.context.report_with_warnings(ordered)

    @property
    def _section(self) -> str:
        """The section of the sweep file that has the settings of this phase."""
        return RETRAIN_PHASE if self.name == RETRAIN_PHASE else "search"

    def _remaining(self) -> Iterator[int]:
        saved = load_checkpoint(self.context)
        done = 0
        if saved is not None and saved["phase"] == self.name:
            for name, member in self.members.items():
                with fitting(checkpoint_path(self.context.directory), name):
                    member.load_state_dict(saved["members"][name])
            restore_random_state(saved["random"])
            done, self.best, self.seconds = saved["epoch"], saved["best"], saved["seconds"]
            self.ended = saved["ended"]
            self.context.report_with_warnings(saved["row"])
        del saved  # this frame lives as long as the phase, and a second network is large
        for index in range(done, self.epochs):
            if self.ended:
                return
            yield index

    def _save(self, done: int, row: EpochRow) -> None:
        if World.current().rank == 0:
            state = {
                "phase": self.name,
                "epoch": done,
                "members": {name: member.state_dict() for name, member in self.members.items()},
                "random": random_state(),
                "best": self.best,
                "seconds": self.seconds,
                "ended": self.ended,
                "row": dict(row),
                "carried": self.carried,
            }
            save_checkpoint(checkpoint_path(self.context.directory), state)

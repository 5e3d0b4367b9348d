"""Writes the learning curve and TensorBoard events of a trial; runs in its first worker."""

import contextlib
import os
import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from raynas_snn.core.errors import writing_to
from raynas_snn.interfaces.trial import EpochRow
from raynas_snn.run.trial_dir import TrialDir


class TrialWriter:
    """Writes the curve and the events of a trial over all attempts, each epoch once.

    Args:
        folder: The trial's folder.
        events: Where its TensorBoard events go.

    Raises:
        StorageFault: If the disk is full; the methods raise it too.
    """

    def __init__(self, folder: TrialDir, events: Path) -> None:
        self._folder = folder
        self._last_epoch = folder.last_epoch()
        self._events = _EventFile(events)

    def epoch(self, row: EpochRow) -> None:
        """Adds an epoch.

        A trial that resumes from a checkpoint reports that epoch again; the second report is ignored. If the trial had
        been further (its last checkpoint was damaged), the repeated epochs replace the earlier rows.
        """
        epoch = int(row["epoch"])
        if epoch == self._last_epoch:
            return
        if epoch < self._last_epoch:
            self._folder.cut_curve(epoch)
            self._events.forget_from(epoch)
        self._last_epoch = epoch
        self._folder.append_curve(dict(row))
        numbers = {
            f"{row['phase']}/{key}": float(value)
            for key, value in row.items()
            if isinstance(value, int | float) and key != "epoch"
        }
        self._events.add(numbers, epoch)

    def close(self) -> None:
        """Closes the event file."""
        self._events.close()


class _EventFile:
    """A TensorBoard event file that is written at once.

    The usual writer hands events to a thread; on a full disk that thread dies, and its queue is waited for for ever.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = EventsWriter(str(folder / "events"), f".{os.getpid()}")

    def add(self, numbers: dict[str, float], step: int) -> None:
        """Adds numbers of one step."""
        self._write(*(Event(step=step, summary=scalar(name, number)) for name, number in numbers.items()))

    def forget_from(self, step: int) -> None:
        """Has TensorBoard hide what was written of this and later steps."""
        self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):  # what could not be written has been complained of
            self._file.close()

    def _write(self, *events: Event) -> None:
        with writing_to(self._folder):
            for event in events:
                event.wall_time = time.time()
                self._file.write_event(event)
            self._file.flush()

"""What TensorBoard shows of a folder, without TensorBoard."""

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog


def shown_by_tensorboard(folder: Path) -> dict[str, dict[int, float]]:
    """The values of each tag by step; a restart hides its own and later steps that were written before it."""
    shown: dict[str, dict[int, float]] = {}
    for event in sorted(_events(folder), key=lambda event: event.wall_time):
        if event.session_log.status == SessionLog.START:
            for tag, steps in shown.items():
                shown[tag] = {step: value for step, value in steps.items() if step < event.step}
        for value in event.summary.value:
            shown.setdefault(value.tag, {})[event.step] = value.simple_value
    return shown


def _events(folder: Path) -> list[Event]:
    """A record is its length, a checksum of that, an event, and a checksum of it."""
    events = []
    for file in folder.glob("*.tfevents.*"):
        rest = file.read_bytes()
        while rest:
            (length,) = struct.unpack_from("<Q", rest)
            events.append(Event.FromString(rest[12 : 12 + length]))
            rest = rest[length + 16 :]
    return events

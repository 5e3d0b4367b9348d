"""One driver at a time for a run in a storage, where no kernel watches over locks.

A driver writes down who it is and renews that note as long as it lives. A note whose writer ran on this machine is
dead if its process is gone; any other is watched for some beats. No clocks are compared.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from raynas_snn.errors import StorageFault, UserError
from raynas_snn.outside import parse_json
from raynas_snn.results.storage import Storage

NOTE = "driver.json"
BEAT_SECONDS = 10.0
_LARGEST_NOTE = 2**14  # bytes
_BEATS = 3
_SETTLING_SECONDS = 0.5  # after which the later of two drivers that start at once is seen by both


class ClaimLostError(StorageFault):
    """Another driver has taken the run over."""


@dataclass(frozen=True)
class Note:
    """What a driver writes down.

    Attributes:
        claim: Names the start of the driver.
        host: Its machine.
        pid: Its process.
        machine: Tells machines and containers of one host name apart; empty if that cannot be told.
        born: When the process was started, in ticks since the boot: a later one may have the same number.
        count: How often the note was renewed.
    """

    claim: str
    host: str
    pid: int
    machine: str
    born: int
    count: int = 0

    @classmethod
    def of_this_process(cls) -> "Note":
        """A new note."""
        return cls(uuid.uuid4().hex[:12], socket.gethostname(), os.getpid(), _machine(), _born(os.getpid()))

    @classmethod
    def read(cls, storage: Storage) -> "Note | None":
        """The note that lies there; one that cannot be understood counts as none."""
        data = storage.read(NOTE, _LARGEST_NOTE)
        try:
            note = None if data is None else cls(**parse_json(data.decode()))
        except (ValueError, TypeError):
            return None
        return note if note is not None and note._is_plausible() else None

    def _is_plausible(self) -> bool:
        texts, numbers = (self.claim, self.host, self.machine), (self.pid, self.born, self.count)
        return all(isinstance(one, str) for one in texts) and all(isinstance(one, int) for one in numbers)

    def is_alive(self) -> bool | None:
        """Whether its process is there; None if that cannot be told from here."""
        if not self.machine or self.machine != _machine():
            return None
        return _born(self.pid) == self.born != 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Claim:
    """This driver's note, from when it is taken to when it is released.

    Args:
        storage: The folder of the run.
        say: Shows one line.
        beat: Seconds between renewals.

    Raises:
        UserError: If another driver is alive.
    """

    def __init__(self, storage: Storage, say: Callable[[str], None], beat: float = BEAT_SECONDS) -> None:
        self._storage = storage
        self._note = Note.of_this_process()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        found = Note.read(storage)
        if found is not None:
            self._outlive(found, say, beat)
        self._write()
        time.sleep(_SETTLING_SECONDS)
        self._check()

    @property
    def facts(self) -> dict[str, Any]:
        """What a run notes of this start."""
        return {"claim": self._note.claim, "host": self._note.host}

    def confirm(self) -> None:
        """Makes sure that the run is still this driver's; to be called right before anything is sent.

        Raises:
            ClaimLostError: If another driver has taken over, also if that one has ended since and took its note away.
            OSError: If the storage cannot be reached.
        """
        confirm(self._storage, self._note.claim)

    def renew(self) -> None:
        """Shows that this driver is alive; raises as `confirm` does."""
        self.confirm()
        self._note = replace(self._note, count=self._note.count + 1)
        self._write()

    def keep(self, lost: Callable[[ClaimLostError], None], beat: float = BEAT_SECONDS) -> None:
        """Renews from now on in a thread of its own, however long sending takes, until `stop` or `release`.

        Args:
            lost: Is called once, in that thread, if another driver has taken over.
            beat: Seconds between renewals.
        """

        def work() -> None:
            pause = beat
            while not self._stopped.wait(pause):
                try:
                    self.renew()
                    pause = beat
                except ClaimLostError as error:
                    lost(error)
                    return
                except OSError:
                    pause = beat / 10

        self._thread = threading.Thread(target=work, name="claim", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Renews no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def release(self) -> None:
        """Lets others start at once."""
        self.stop()
        found = Note.read(self._storage)
        if found is not None and found.claim == self._note.claim:
            self._storage.delete(NOTE)

    def _write(self) -> None:
        self._storage.write(NOTE, json.dumps(asdict(self._note), indent=2).encode())

    def _check(self) -> None:
        found = Note.read(self._storage)
        if found is not None and found.claim != self._note.claim:
            raise UserError(f"{self._storage}: another driver is at work here: {found}")

    def _outlive(self, found: Note, say: Callable[[str], None], beat: float) -> None:
        alive, later = found.is_alive(), found
        if alive is None:
            say(f"{found} has worked on {self._storage}: looking for up to {_BEATS * beat:g} s whether it still does")
            deadline = time.monotonic() + _BEATS * beat
            while later == found and time.monotonic() < deadline:
                time.sleep(beat / 10)
                later = Note.read(self._storage) or found
            alive = later != found
        if alive:
            raise UserError(f"{self._storage}: another driver is at work here: {later}")
        say(f"takes over from {found}, which is gone")


def confirm(storage: Storage, claim: str) -> None:
    """Makes sure that a run is still of the driver with this claim; raises as `Claim.confirm` does."""
    found = Note.read(storage)
    if found is None or found.claim != claim:
        other = "another driver, which has ended since" if found is None else found
        raise ClaimLostError(f"{storage} was taken over by {other}: this driver was not heard of for too long")


def _machine() -> str:
    """The boot of this machine and the container on it, by which its processes can be told; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 (not the name of a file)
    except OSError:
        return ""


def _born(pid: int) -> int:
    """When a process was started, in ticks since the boot; 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0

"""The process that holds a run's lease, and whether it is alive."""

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from raynas_snn.core.untrusted_files import parse_json
from raynas_snn.run.records import now

_PROC = Path("/proc")
_NONE = 0  # the start of a process that is not there


@dataclass(frozen=True)
class Holder:
    """The contents of a lease: the driver that holds it.

    Attributes:
        lease: Identifies this start of the driver.
        host: Host name of its machine.
        pid: Its process id.
        since: When it took the lease.
        machine: Distinguishes machines and containers with the same host name; empty if unknown.
        started: When its process was started; a later process may have the same id.
        renewals: How often it has renewed the lease.
    """

    lease: str
    host: str
    pid: int
    since: str
    machine: str
    started: int
    renewals: int = 0

    @classmethod
    def of_this_process(cls) -> "Holder":
        """A new one."""
        pid = os.getpid()
        return cls(uuid.uuid4().hex[:12], socket.gethostname(), pid, now(), _machine(), _start_of(pid) or _NONE)

    @classmethod
    def parse(cls, data: bytes | None) -> "Holder | None":
        """Parses a lease; None if it is empty or invalid."""
        try:
            holder = cls(**parse_json((data or b"").decode()))
        except (ValueError, TypeError):
            return None
        is_plain = all(type(getattr(holder, name)) is kind for name, kind in cls.__annotations__.items())
        return holder if is_plain and 0 < holder.pid < 2**31 else None

    def is_alive(self) -> bool | None:
        """Whether its process exists; None if that cannot be determined from this machine."""
        if not self.machine or self.machine != _machine():
            return None
        start = _start_of(self.pid)
        return None if start is None else start == self.started != _NONE

    def as_dict(self) -> dict[str, Any]:
        """Its public fields, for ``--json``."""
        return {"host": self.host, "pid": self.pid, "since": self.since}

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def _machine() -> str:
    """Equal for processes that see each other: the boot and the container; empty if unknown."""
    if not _PROC.exists():  # no Linux, and no containers that share an address
        return f"{uuid.getnode():x}"
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"  # noqa: PTH115 (not the name of a file)
    except OSError:
        return ""


def _start_of(pid: int) -> int | None:
    """When a process was started; `_NONE` if there is none, or only its exit code; None if that is hidden from us."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return _NONE
    except PermissionError:
        pass
    try:
        if _PROC.exists():  # ticks since the boot: psutil's time of day moves when the clock is set
            state, *others = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
            return _NONE if state in ("Z", "X") else int(others[18])
        process = psutil.Process(pid)
        return _NONE if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 1000)
    except (OSError, psutil.Error):
        return None

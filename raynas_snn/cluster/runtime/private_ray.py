"""Starts a private Ray on this machine: unreachable from other machines, and not affected by the driver's signals."""

import contextlib
import os
import socket
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import ray

from raynas_snn.cluster.compat.own_session import listen_on_loopback_only, patient_start, processes_in_own_sessions
from raynas_snn.core.errors import ClusterError

_STARTS = 3  # tries to start a private Ray


def start_private(environment: Mapping[str, str], options: Mapping[str, Any]) -> Any:
    """Starts a private Ray. Its port is chosen beforehand, so that its processes find it even if other Rays run here.

    Args:
        environment: Environment variables of all its processes.
        options: Further arguments of `ray.init`.

    Raises:
        ClusterError: If it does not start.
    """
    listen_on_loopback_only()
    for attempt in range(1, _STARTS + 1):
        port = _free_port()
        variables = {**environment, "RAY_ADDRESS": f"127.0.0.1:{port}"}
        try:
            with patient_start(port), processes_in_own_sessions():
                context = ray.init(
                    address="local", dashboard_host="127.0.0.1", runtime_env={"env_vars": variables}, **options
                )
        except Exception as error:  # a port that was taken in between, a machine that is too busy
            ray.shutdown()
            if attempt == _STARTS:
                raise ClusterError(f"Ray does not start on this machine: {first_line(error)}") from None
        else:
            _protect_token()
            return context
    raise AssertionError


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _protect_token() -> None:
    """Whoever can read the token can run code in Ray; Ray writes it as readable as other files."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    with contextlib.suppress(OSError):
        if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
            path.chmod(0o600)


def first_line(error: Exception) -> str:
    """The first line of one of Ray's long error messages."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

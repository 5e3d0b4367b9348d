"""Starts a private Ray or joins a running one, with Ray's messages turned down, and disconnects at the end."""

import atexit
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig

from raynas_snn.cluster.runtime.orphans import MARK
from raynas_snn.cluster.runtime.private_ray import first_line, start_private
from raynas_snn.core.errors import EXIT_FAILURE, UserError

# In every process of the sweep: epochs are reported within a fraction of a second, runs show in the dashboard.
PROCESS_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
}
_SHUTDOWN_SECONDS = 15.0


@dataclass
class Connection:
    """A connection to a Ray cluster.

    Attributes:
        address: Address of the head node.
        dashboard_url: URL of the dashboard, or None if there is none.
        is_private: Whether it was started for this sweep, and ends with it.
        is_lost: Whether the head node is lost; a regular shutdown would then hang.
    """

    address: str
    dashboard_url: str | None
    is_private: bool
    is_lost: bool = False


@contextmanager
def connect(address: str | None, run_dir: Path) -> Iterator[Connection]:
    """Joins the Ray at ``address`` or in RAY_ADDRESS; without either, starts a private one and ends it afterwards.

    Args:
        address: The address that the user gave, if any.
        run_dir: The run directory, by which the cluster identifies the driver.

    Raises:
        UserError: If there is no Ray at the address.
        ClusterError: If a private Ray does not start.
    """
    wanted = address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.update(PROCESS_ENVIRONMENT)
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "job_config": JobConfig(metadata={MARK: str(run_dir.absolute())}),
    }
    connection = None
    try:
        context = start_private(PROCESS_ENVIRONMENT, options) if wanted == "local" else _join(wanted, options)
        url = f"http://{context.dashboard_url}" if context.dashboard_url else None
        connection = Connection(ray.get_runtime_context().gcs_address, url, wanted == "local")
        yield connection
    finally:
        if connection is not None and connection.is_lost:
            atexit.register(_end)  # before what Ray has registered; a private Ray's other processes end with this one
        else:
            _leave()


def _join(address: str, options: dict[str, Any]) -> Any:
    if address.startswith("ray://"):
        raise UserError(
            f"--address: Tune does not work over a Ray client ({address!r}); give HOST:PORT of the head node"
        )
    host, separator, port = address.rpartition(":")
    if separator and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            raise UserError(f"--address: no Ray answers at {address!r} ({error})") from None
    try:
        # What frees a stopped trial's workers asks this Ray, also where there is another one on the machine.
        environment = PROCESS_ENVIRONMENT | ({} if address == "auto" else {"RAY_ADDRESS": address})
        return ray.init(address=address, runtime_env={"env_vars": environment}, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        hint = "" if "RAY_AUTH_MODE" in os.environ else "; if it asks for a token, set RAY_AUTH_MODE=token"
        raise UserError(f"--address: cannot join the Ray at {address!r}: {first_line(error)}{hint}") from None


def _end() -> None:
    """Ends the process without asking Ray."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(EXIT_FAILURE)


def _leave() -> None:
    """Leaves Ray, unless that takes too long; then the end of the process has to do."""
    thread = threading.Thread(target=ray.shutdown, name="leave", daemon=True)
    thread.start()
    thread.join(_SHUTDOWN_SECONDS)

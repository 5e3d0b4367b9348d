"""A Ray of the sweep's own, on this machine: out of reach for others, and out of the way of signals."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants, services

from raynas_snn.errors import ClusterError

# A private Ray on a busy machine: how long its processes wait for each other before they give up.
_LIMITS = {
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_gcs_server_port_wait_time_s": "120",
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_worker_register_timeout_seconds": "180",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "120",
}
_STARTS = 3  # tries to start a private Ray


def start_private(environment: Mapping[str, str], options: Mapping[str, Any]) -> Any:
    """Starts a Ray of our own. Its port is chosen beforehand, so that its processes find it beside others here.

    Args:
        environment: Of all its processes.
        options: What else `ray.init` is to know.

    Raises:
        ClusterError: If it does not start.
    """
    # Ray listens on all addresses of a machine unless the node's own address is the loopback one, as it is where Ray
    # knows no clusters.
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    for attempt in range(1, _STARTS + 1):
        port = _free_port()
        variables = {**environment, "RAY_ADDRESS": f"127.0.0.1:{port}"}
        limits = {name: os.environ.get(name, limit) for name, limit in _LIMITS.items()}
        try:
            with (
                _environment(limits | {"RAY_GCS_SERVER_PORT": str(port)}),
                _processes_of_their_own(),
            ):
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


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables in the body."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values.keys() - before.keys():
            os.environ.pop(name, None)
        os.environ.update({name: before[name] for name in values.keys() & before.keys()})


class _ProcessOfItsOwn(services.ConsolePopen):
    """A process of Ray's in a session of its own.

    Ctrl-C, a closed terminal, ``timeout`` and shells reach all processes of a group; Ray's would be gone before the
    epochs in flight are done. On Linux the kernel ends them when this process ends, however it does.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, start_new_session=sys.platform == "linux", **options)


@contextmanager
def _processes_of_their_own() -> Iterator[None]:
    before = services.ConsolePopen
    setattr(services, before.__name__, _ProcessOfItsOwn)
    try:
        yield
    finally:
        setattr(services, before.__name__, before)


def _protect_token() -> None:
    """Whoever can read the token can run code in Ray; Ray writes it as readable as other files."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    with contextlib.suppress(OSError):
        if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
            path.chmod(0o600)


def first_line(error: Exception) -> str:
    """What Ray says of an error, without the pages behind it."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

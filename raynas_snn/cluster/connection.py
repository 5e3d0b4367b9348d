"""Starting a private Ray or joining a running one, quietly; and how many trials fit on it."""

import math
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import ray

from raynas_snn.config.schema import ResourcesConfig
from raynas_snn.errors import UserError

# In every process of the sweep: epochs are reported within a fraction of a second, runs show in the dashboard.
PROCESS_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
}


@contextmanager
def connect(address: str | None) -> Iterator[str | None]:
    """Joins the Ray at ``address`` or in RAY_ADDRESS; without either, starts a private one and ends it afterwards.

    Yields:
        The address of its dashboard, or None if it has none.

    Raises:
        UserError: If there is no Ray at the address.
    """
    wanted = address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.update(PROCESS_ENVIRONMENT)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    context = _start(options) if wanted == "local" else _join(wanted, options)
    try:
        yield f"http://{context.dashboard_url}" if context.dashboard_url else None
    finally:
        ray.shutdown()


def _start(options: dict[str, Any]) -> Any:
    """A Ray of our own. Its port is chosen beforehand, so that its processes find it beside others on the machine."""
    port = _free_port()
    environment = PROCESS_ENVIRONMENT | {"RAY_ADDRESS": f"{ray.util.get_node_ip_address()}:{port}"}
    os.environ["RAY_GCS_SERVER_PORT"] = str(port)
    try:
        return ray.init(address="local", dashboard_host="127.0.0.1", runtime_env={"env_vars": environment}, **options)
    finally:
        del os.environ["RAY_GCS_SERVER_PORT"]


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
        reason = str(error).strip().splitlines()[0]
        hint = "" if "RAY_AUTH_MODE" in os.environ else "; if it asks for a token, set RAY_AUTH_MODE=token"
        raise UserError(f"--address: cannot join the Ray at {address!r}: {reason}{hint}") from None


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def concurrency(resources: ResourcesConfig) -> int:
    """How many trials the cluster can run side by side.

    Raises:
        UserError: If not even one fits.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    workers = sum(workers_on(node, resources) for node in nodes)
    trials = workers // resources.num_workers
    if trials == 0:
        available = "; ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in nodes)
        raise UserError(
            f"resources: a trial needs {resources.num_workers} workers with {resources.cpus_per_worker} CPU and "
            f"{resources.gpus_per_worker:g} GPU each, which never fit on this Ray (nodes: {available})"
        )
    return trials if resources.max_concurrent == "auto" else min(trials, resources.max_concurrent)


def workers_on(node: dict[str, float], resources: ResourcesConfig) -> int:
    """How many workers a node with these resources can hold."""
    workers = math.floor(node.get("CPU", 0) / resources.cpus_per_worker)
    gpus, share = node.get("GPU", 0), resources.gpus_per_worker
    if share >= 1:
        workers = min(workers, math.floor(gpus / share))
    elif share > 0:  # a worker's share lies on one GPU: two of 0.6 do not fit on 1.2 GPUs
        workers = min(workers, math.floor(gpus) * math.floor(1 / share + 1e-9))
    return workers

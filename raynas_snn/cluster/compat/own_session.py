"""How a private Ray is started: in sessions of its own, out of reach of other machines, at a known port, patiently."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private import ray_constants, services

# How long Ray's processes wait for each other before they give up; a machine may be busy.
_PATIENCE = {
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_gcs_server_port_wait_time_s": "120",
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_worker_register_timeout_seconds": "180",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "120",
}


@contextmanager
def processes_in_own_sessions() -> Iterator[None]:
    """Has `ray.init` start each of its processes in a session of its own in the body.

    Missing in Ray: an option of ``ray.init`` for it.
    Without it: Ctrl-C, a closed terminal, ``timeout`` and shells reach all processes of a group, so Ray's are gone
    before the epochs in flight are done. On Linux the kernel ends them when this process ends, however it does.
    """
    before = services.ConsolePopen
    services.ConsolePopen = _ProcessInOwnSession  # type: ignore[misc]
    try:
        yield
    finally:
        services.ConsolePopen = before  # type: ignore[misc]


def listen_on_loopback_only() -> None:
    """Has a Ray that is started from now on listen on the loopback interface, as it does where Ray knows no clusters.

    Missing in Ray: an option of ``ray.init``; ``_node_ip_address`` is obeyed by some of its processes only.
    Without it: whoever reaches the machine reaches the ports of the private Ray.
    """
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"


@contextmanager
def patient_start(port: int) -> Iterator[None]:
    """Has `ray.init` start a head at ``port`` in the body, whose processes wait for each other for minutes.

    Missing in Ray: an option of ``ray.init`` for the port or for these limits.
    Without it: the processes of trials cannot tell this Ray from others on the machine, because its address is known
    only when it has started; and on a busy machine it gives up after seconds.
    """
    limits = {name: os.environ.get(name, limit) for name, limit in _PATIENCE.items()}
    values = limits | {"RAY_GCS_SERVER_PORT": str(port)}
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:  # Ray itself has set others
        for name in values.keys() - before.keys():
            os.environ.pop(name, None)
        os.environ.update({name: before[name] for name in values.keys() & before.keys()})


class _ProcessInOwnSession(services.ConsolePopen):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, start_new_session=sys.platform == "linux", **options)

"""A Ray of two nodes on this machine, each a process tree of its own that can be killed and started again."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil

RAY = Path(sys.executable).with_name("ray")
TRIAL_PROCESSES = ("ray::ImplicitFunc", "ray::RayTrainWorker", "ray::_RayTrainWorker")
CPUS = 2  # of each node, whatever the machine has


class Cluster:
    """A head and a second node that ask for a token.

    Attributes:
        address: ``HOST:PORT`` of the head.
        environment: What a process needs to join.
    """

    def __init__(self, folder: Path) -> None:
        token = folder / "token"
        token.write_text("0123456789abcdef" * 4)
        token.chmod(0o600)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment = inherited | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self.address = f"127.0.0.1:{_free_port()}"
        self._sessions = tempfile.mkdtemp(prefix="soak")  # short: names of sockets lie in it
        self._log = folder / "ray.log"
        port = self.address.rpartition(":")[2]
        self._head = self._start("--head", f"--port={port}", "--dashboard-port=0", f"--temp-dir={self._sessions}")
        self._second = self.add_node()

    def add_node(self) -> subprocess.Popen[bytes]:
        """Starts the second node."""
        self._second = self._start(f"--address={self.address}")
        return self._second

    def lose_node(self) -> None:
        """Kills the second node with all that runs on it."""
        for process in self.trees(self._second.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._second.wait()

    def trial_processes(self) -> list[psutil.Process]:
        """The processes of trials on both nodes: Tune's and the workers."""
        found = []
        for node in (self._head, self._second):
            for process in self.trees(node.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if process.name().startswith("ray::") and process.cmdline()[0].startswith(TRIAL_PROCESSES):
                        found.append(process)
        return found

    def trees(self, pid: int) -> list[psutil.Process]:
        """A process and all below it."""
        try:
            process = psutil.Process(pid)
            return [*process.children(recursive=True), process]
        except psutil.NoSuchProcess:
            return []

    def placement_groups(self) -> int:
        """How many placement groups hold resources or wait for them."""
        command = [str(RAY), "list", "placement-groups", "--format=json", "--limit=10000", f"--address={self.address}"]
        listed = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout
        return sum(group["state"] != "REMOVED" for group in json.loads(listed))

    def stop(self) -> None:
        """Ends both nodes."""
        for node in (self._second, self._head):
            node.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(timeout=30)
            for process in self.trees(node.pid):
                process.kill()

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [str(RAY), "start", "--block", f"--num-cpus={CPUS}", "--disable-usage-stats", *options],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self._wait_for_port(process)
        return process

    def _wait_for_port(self, process: subprocess.Popen[bytes]) -> None:
        host, _, port = self.address.partition(":")
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(f"a node did not start: {self._log}")
            with contextlib.suppress(OSError), closing(socket.create_connection((host, int(port)), timeout=1)):
                return
            time.sleep(0.1)
        raise SystemExit(f"no Ray at {self.address}: {self._log}")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""A Ray of several nodes on this machine, each a process tree of its own that can be killed and started again."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

RAY = Path(sys.executable).with_name("ray")
TRIAL = "ray::ImplicitFunc"  # a trial's own process, which Tune has started
WORKER = "ray::RayTrainWorker"  # what trains


class Node:
    """One machine of a cluster: a ``ray start`` with all that it has started.

    Args:
        environment: Of its processes; it holds the token.
        options: What to give to ``ray start``.
    """

    def __init__(self, environment: Mapping[str, str], *options: str) -> None:
        self.process = subprocess.Popen(
            [str(RAY), "start", *options, "--disable-usage-stats", "--object-store-memory=100000000", "--block"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "--block" in line:  # the last line of a start that went well
                break
        self.said = "".join(said)
        if self.process.poll() is not None:
            raise RuntimeError(f"a node did not start: {self.said}")

    def find(self, *names: str) -> list[psutil.Process]:
        """Its processes whose name or program begins with one of ``names``."""
        return find(self.process.pid, *names)

    def kill(self, name: str = "") -> None:
        """Kills these processes with SIGKILL, or all of the machine as a loss of power does."""
        victims = self.find(name)
        if not name:
            victims.append(psutil.Process(self.process.pid))
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        if not name:
            self.process.wait(timeout=60)

    def stop(self) -> None:
        """Ends what is left of it."""
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Cluster:
    """A head and further nodes, on this machine.

    Args:
        environment: Of all their processes, with the path of a token that Ray will ask for.
        resources: Of the head, as options of ``ray start``.

    Attributes:
        address: Of the head.
        nodes: The machines, living and dead; the head is the first.
    """

    def __init__(self, environment: Mapping[str, str], **resources: int) -> None:
        self._environment = environment
        self._folder = Path(tempfile.mkdtemp(prefix="rayf-", dir="/tmp"))  # short: names of sockets lie in it
        self.nodes: list[Node] = []
        head = self._start("--head", "--port=0", "--dashboard-port=0", **resources)
        match = re.search(r"--address='([^']+)'", head.said)
        if match is None:
            raise RuntimeError(f"the head does not say where it is: {head.said}")
        self.address = match.group(1)

    def add(self, **resources: int) -> Node:
        """Adds a machine."""
        return self._start(f"--address={self.address}", **resources)

    def find(self, *names: str) -> list[psutil.Process]:
        """The processes on all living nodes whose name or program begins with one of ``names``."""
        return [process for node in self.nodes if node.process.poll() is None for process in node.find(*names)]

    def stop(self) -> None:
        """Ends all processes."""
        for node in self.nodes:
            node.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, *options: str, **resources: int) -> Node:
        amounts = [f"--{name.replace('_', '-')}={number}" for name, number in resources.items()]
        # Each machine has a folder of its own: a node that joins would take over the sockets of one that died.
        node = Node(self._environment, *options, *amounts, f"--temp-dir={self._folder / str(len(self.nodes))}")
        self.nodes.append(node)
        return node


def find(pid: int, *names: str) -> list[psutil.Process]:
    """Descendants of a process whose name or program begins with one of ``names``."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                words = process.cmdline() or [process.name()]
                if os.path.basename(words[0]).startswith(names) or process.name().startswith(names):  # noqa: PTH119
                    found.append(process)
    return found


def without_ray() -> dict[str, str]:
    """This process's environment, without what belongs to a Ray outside."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def with_token(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """An environment in which Ray asks for a token, and processes that have it."""
    token = folder / "token"
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    return {**environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}

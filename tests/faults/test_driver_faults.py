"""The driver and its private Ray are interrupted, cut off and killed; the same command goes on each time."""

import fcntl
import os
import pty
import signal
import stat
import subprocess
import termios
import threading
import time

import psutil
import pytest
from clusters import Listener, check_ended, wait_for, with_pause
from ray_nodes import find
from recipes import PAUSE
from sweeper import Sweeper

pytestmark = [pytest.mark.ray, pytest.mark.long]

SETTINGS = {
    "trial": "recipes:ALONE",
    "model.attention": {"choice": ["none", "ct"]},
    "sweep.num_seeds": 1,
    "resources.max_concurrent": 2,
}


@pytest.fixture
def sweeper(sweeper: Sweeper) -> Sweeper:
    sweeper.login["HOME"] = str(sweeper.folder)  # where Ray keeps its token
    return with_pause(sweeper, 1)


def test_however_a_driver_ends_the_same_command_goes_on(sweeper: Sweeper) -> None:
    command = sweeper.command("--run-dir", "run", settings=SETTINGS)

    def start() -> Listener:
        return Listener(sweeper.launch(command, start_new_session=True))

    def epochs() -> list[int]:
        return [len(sweeper.curve(f"p{number:04d}-s0")) for number in range(2)]

    agents: list[psutil.Process] = []

    def wait_for_epochs(process: subprocess.Popen[str]) -> list[psutil.Process]:
        """Until both trials have done one more; returns the processes of Ray."""
        before = epochs()
        wait_for(lambda: all(now > then for now, then in zip(epochs(), before, strict=True)), 300)
        # These two try to tell the dead head of the dead node before they end, for a minute.
        agents.extend([*find(process.pid, "ray::DashboardAgent"), *find(process.pid, "ray::RuntimeEnvAgent")])
        return find(process.pid, "")

    def check_gone(processes: list[psutil.Process]) -> None:
        _, alive = psutil.wait_procs([one for one in processes if one not in agents], timeout=30)
        assert not alive

    # The terminal is closed. While it was open, nobody else could reach what listens.
    terminal = Terminal(sweeper, command)
    processes = wait_for_epochs(terminal.process)
    check_loopback([psutil.Process(terminal.process.pid), *processes])
    token = sweeper.folder / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    terminal.close()
    assert terminal.process.wait(timeout=60) == 130
    check_gone(processes)

    # SIGTERM for all processes, as `timeout` and `docker stop` send it: the epochs in flight are finished first.
    driver = start()
    processes = wait_for_epochs(driver.process)
    before = epochs()
    os.killpg(driver.process.pid, signal.SIGTERM)
    ended = driver.finish()
    assert ended.code == 130, ended
    assert all(now > then for now, then in zip(epochs(), before, strict=True))
    assert "Interrupted: up to 20 s for the epochs in flight; Ctrl-C again to stop at once\n" in ended.out
    assert ended.out.splitlines()[-1].startswith("Interrupted. To continue: python -m raynas_snn.sweep --run-dir run ")
    assert not ended.err
    check_gone(processes)

    # SIGKILL: nothing of it is left.
    driver = start()
    processes = wait_for_epochs(driver.process)
    driver.process.kill()
    driver.finish()
    check_gone(processes)

    # The head of its private Ray is killed.
    driver = start()
    processes = wait_for_epochs(driver.process)
    for head in find(driver.process.pid, "gcs_server"):
        head.kill()
    begun = time.monotonic()
    ended = driver.finish()
    assert time.monotonic() - begun < 50  # Ray itself would end the process after a minute
    assert ended.code == 1, ended
    assert ended.out.splitlines()[-1].startswith("The Ray at 127.0.0.1:")
    assert " is gone. To continue: python -m raynas_snn.sweep --run-dir run " in ended.out
    assert not ended.err
    check_gone(processes)

    assert not sweeper.records()
    (sweeper.folder / PAUSE).unlink()
    ended = start().finish()
    assert ended.code == 0, ended
    check_ended(sweeper, 2)


class Terminal:
    """A terminal with a sweep in its foreground."""

    def __init__(self, sweeper: Sweeper, command: list[str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=sweeper.folder,
            env=sweeper.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            text=True,
        )
        os.close(theirs)
        self.shown = b""
        self._is_open = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while self._is_open:
            try:
                self.shown += os.read(self._ours, 4096)
            except OSError:
                return

    def close(self) -> None:
        """As when its window is closed, or the connection is lost: SIGHUP, and EIO for whoever writes to it."""
        self._is_open = False
        self._reader.join(timeout=2)
        os.close(self._ours)


def check_loopback(processes: list[psutil.Process]) -> None:
    """None of the processes listens where another machine could reach it."""
    listening = [
        (process.name(), connection.laddr.ip)
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 5
    assert {address.removeprefix("::ffff:") for _, address in listening} <= {"127.0.0.1", "::1"}, listening

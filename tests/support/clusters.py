"""Ray clusters of real processes on this machine, and sweeps on them that are heard and judged."""

import contextlib
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import recipes
from ray_nodes import Cluster, with_token
from sweeper import SECONDS_TO_END, Ended, Sweeper


def with_pause(sweeper: Sweeper, seconds: float) -> Sweeper:
    """Gives a sweep the trials of `recipes`, whose epochs take so long until the file `recipes.PAUSE` is removed."""
    shutil.copy(recipes.__file__, sweeper.folder)
    (sweeper.folder / recipes.PAUSE).write_text(str(seconds))
    return sweeper


@contextlib.contextmanager
def cluster(sweeper: Sweeper, **resources: int) -> Iterator[Cluster]:
    """A cluster with a token that is there in the body, and that sweeps may join."""
    if not sweeper.login:
        sweeper.login.update(with_token({}, sweeper.folder))
    made = Cluster(sweeper.environment, **resources)
    try:
        yield made
    finally:
        made.stop()


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Polls."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.05)


def kill_hard(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and nothing of it is left."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def check_ended(sweeper: Sweeper, num_trials: int) -> None:
    """Every trial has ended once and well, with each of its epochs once."""
    records = sweeper.records()
    assert sorted(record["uid"] for record in records) == [f"p{number:04d}-s0" for number in range(num_trials)]
    assert {record["end_reason"] for record in records} == {"finished"}, records
    for record in records:
        epochs = [int(row[0]) for row in sweeper.curve(record["uid"])]
        assert epochs == list(range(1, record["epochs"] + 1)), record["uid"]


class Listener:
    """Hears what a sweep says on stdout while it says it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def wait_for(self, text: str) -> str:
        """Waits for a line that holds ``text``, and returns it."""
        deadline = time.monotonic() + SECONDS_TO_END
        while not any(text in line for line in self.said):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)
        return next(line for line in self.said if text in line)

    def finish(self) -> Ended:
        """Waits for the end."""
        try:
            self.process.wait(timeout=SECONDS_TO_END)
        finally:
            self.process.kill()
        self._thread.join()
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        self.process.stderr.close()
        return Ended(self.process.returncode, "".join(self.said), errors)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.said.append(line)

"""Real sweeps, started as users start them: as a process, from a folder of their own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from ray_nodes import without_ray

from raynas_snn.study.journal_export import STUDY_NAME

SECONDS_TO_END = 600

# Small enough for seconds, real enough to learn something.
TINY = {
    "model.channels": 8,
    "search.epochs": 1,
    "retrain.epochs": 4,
    "data.num_train": 640,
    "sweep.num_seeds": 1,
}


@dataclass(frozen=True)
class Ended:
    """How a sweep process ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Sweeper:
    """Starts sweeps in one folder."""

    folder: Path
    login: dict[str, str] = field(default_factory=dict)  # added to the environment, such as a token for Ray

    @property
    def environment(self) -> dict[str, str]:
        """Nothing is inherited from a Ray outside."""
        return without_ray() | self.login

    def command(self, *arguments: str, settings: dict[str, Any] | None = None) -> list[str]:
        overrides = [f"--set={path}={json.dumps(value)}" for path, value in (settings or {}).items()]
        return [sys.executable, "-m", "raynas_snn.sweep", *arguments, *overrides]

    def start(self, *arguments: str, settings: dict[str, Any] | None = None) -> subprocess.Popen[str]:
        return self.launch(self.command(*arguments, settings=settings))

    def launch(self, command: list[str], start_new_session: bool = False) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=start_new_session,
        )

    def run(self, *arguments: str, settings: dict[str, Any] | None = None) -> Ended:
        return finish(self.start(*arguments, settings=settings))

    def records(self, run: str = "run") -> list[dict[str, Any]]:
        path = self.folder / run / "trials.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def proposals(self, run: str = "run") -> list[FrozenTrial]:
        """What Optuna knows, read as anybody would read it."""
        storage = JournalStorage(JournalFileBackend(str(self.folder / run / "study.journal")))
        return optuna.load_study(study_name=STUDY_NAME, storage=storage).get_trials()

    def curve(self, uid: str, run: str = "run") -> list[list[str]]:
        path = self.folder / run / "trials" / uid / "curve.csv"
        return [line.split(",") for line in path.read_text().splitlines()[1:]] if path.exists() else []


def finish(process: subprocess.Popen[str]) -> Ended:
    """Waits for the end."""
    try:
        out, err = process.communicate(timeout=SECONDS_TO_END)
    finally:
        process.kill()
    return Ended(process.returncode, out, err)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Polls while the process lives."""
    deadline = time.monotonic() + SECONDS_TO_END
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def interrupt(process: subprocess.Popen[str], number: signal.Signals) -> Ended:
    """Sends a signal and waits for the end."""
    process.send_signal(number)
    return finish(process)

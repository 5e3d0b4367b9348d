"""Disks that are full or read-only: small real file systems, filled to the last byte."""

import contextlib
import errno
import inspect
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sweeper import Ended, Sweeper, finish, wait_until

pytestmark = pytest.mark.ray

FILLER = "filler"

GREEDY = f"""
import errno
from pathlib import Path
import torch
from raynas_snn.training.epoch_loop import EpochLoop
from raynas_snn.interfaces.trial import TrialRecipe


class Weights:
    def __init__(self):
        self.weights = torch.zeros(100_000)

    def state_dict(self):
        return {{"weights": self.weights}}

    def load_state_dict(self, state):
        self.weights = state["weights"]


def greedy(trial, context):
    weights = Weights()

    def epoch(index):
        weights.weights += index
        marker = context.directory / "filled"
        if trial.model.num_steps == 2 and index == 2 and not marker.exists():
            marker.touch()
            fill(context.directory.parents[2])
        return {{"accuracy": float(weights.weights.mean()) / 10, "spikes": 1.0}}

    EpochLoop("search", 4, 0, {{"weights": weights}}, context).run(epoch)
    return {{"accuracy": float(weights.weights.mean()) / 10, "params": 1, "spikes": 1.0}}


RECIPE = TrialRecipe(run=greedy, total_epochs=lambda trial: 4)
FILLER = {FILLER!r}

"""


def fill(disk: Path) -> None:
    """Leaves no byte free."""
    with (disk / FILLER).open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


@pytest.fixture
def disk(sweeper: Sweeper) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = sweeper.folder / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield folder
    deadline = time.monotonic() + 30
    while subprocess.run(["umount", str(folder)], capture_output=True).returncode != 0:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def read_only(disk: Path, yes: bool) -> None:
    subprocess.run(["mount", "-o", f"remount,{'ro' if yes else 'rw'}", str(disk)], check=True)


def error_of(ended: Ended) -> str:
    """The only line on stderr."""
    (line,) = ended.err.splitlines()
    return line


@pytest.mark.long
def test_a_full_disk_ends_the_sweep_and_fails_no_trial(sweeper: Sweeper, disk: Path) -> None:
    (sweeper.folder / "greedy.py").write_text(GREEDY + inspect.getsource(fill))
    settings = {
        "trial": "greedy:RECIPE",
        "model.attention": "none",
        "model.num_steps": {"choice": [1, 2]},
        "search.epochs": 4,
        "sweep.num_seeds": 1,
        "resources.max_concurrent": 1,
    }
    ended = sweeper.run("--run-dir", "disk/run", settings=settings)
    assert ended.code == 1, ended.err
    line = error_of(ended)
    assert line.startswith(f"error: {disk}/run/trials/p0001-s0/checkpoint/last.pt: No space left on device; free some")
    assert "run the same command again: python -m raynas_snn.sweep --run-dir disk/run " in line
    assert "FAILED" not in ended.out
    assert [record["uid"] for record in sweeper.records("disk/run")] == ["p0000-s0"]
    checkpoints = disk / "run" / "trials" / "p0001-s0" / "checkpoint"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["before.pt", "last.pt"]

    again = sweeper.run("--run-dir", "disk/run", settings=settings)  # nobody has made room
    assert again.code == 1, again.err
    assert "No space left on device; free some and run the same command again: python" in error_of(again)

    (disk / FILLER).unlink()
    ended = sweeper.run("--run-dir", "disk/run", settings=settings)
    assert ended.code == 0, ended.err
    records = sweeper.records("disk/run")
    assert [(record["uid"], record["end_reason"]) for record in records] == [
        (f"p000{number}-s0", "finished") for number in range(2)
    ]
    assert len({record["metrics"]["accuracy"] for record in records}) == 1
    for record in records:
        assert [row[0] for row in sweeper.curve(record["uid"], "disk/run")] == ["1", "2", "3", "4"]


@pytest.mark.long
def test_whoever_notices_that_the_disk_is_full_nothing_is_lost(sweeper: Sweeper, disk: Path) -> None:
    settings = {"trial": "fake", "model.attention": "none", "sweep.num_seeds": 12}
    process = sweeper.start("--run-dir", "disk/run", settings=settings)
    wait_until(lambda: len(sweeper.records("disk/run")) > 2, process)
    fill(disk)
    ended = finish(process)
    assert ended.code == 1, ended.err
    assert error_of(ended).startswith(("error: disk/run/", f"error: {disk}/run/"))  # the driver, or a trial's process
    assert "No space left on device; free some and run the same command again: python" in ended.err
    before = sweeper.records("disk/run")
    assert 2 < len(before) < 12
    assert all(record["end_reason"] == "finished" for record in before)
    (disk / FILLER).unlink()
    ended = sweeper.run("--run-dir", "disk/run", settings=settings)
    assert ended.code == 0, ended.err
    records = sweeper.records("disk/run")
    assert records[: len(before)] == before
    assert sorted(record["uid"] for record in records) == sorted(f"p0000-s{seed}" for seed in range(12))
    for record in records:
        assert [int(row[0]) for row in sweeper.curve(record["uid"], "disk/run")] == list(range(1, record["epochs"] + 1))

    more = settings | {"sweep.num_seeds": 13}
    with set_read_only(disk):
        begun = time.monotonic()
        refused = sweeper.run("--run-dir", "disk/run", settings=more)
        assert time.monotonic() - begun < 30
        assert refused.code == 1
        assert error_of(refused).startswith("error: disk/run/lock: Read-only file system; mend that and run the same")
        refused = sweeper.run("--run-dir", "disk/other", settings=more)
        assert refused.code == 2
        assert error_of(refused).startswith("error: disk/other: cannot make a run directory here: Read-only file")
    assert sweeper.records("disk/run") == records


@contextlib.contextmanager
def set_read_only(disk: Path) -> Iterator[None]:
    read_only(disk, True)
    try:
        yield
    finally:
        read_only(disk, False)

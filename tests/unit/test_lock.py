"""The lock of a driver on another host, where the file system does not carry the kernel's locks from host to host."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raynas_snn.errors import UserError
from raynas_snn.results import lock

# What a driver on another host does, as far as this host can see it: it signs the file and touches it.
ELSEWHERE = """
import json, sys, time
from pathlib import Path
path = Path(sys.argv[1])
path.write_text(json.dumps({"host": "elsewhere", "pid": 7, "since": "noon"}))
print("begun", flush=True)
while True:
    path.touch()
    time.sleep(0.2)
"""


@pytest.mark.timeout(20)
def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(UserError, match="lock: not a regular file"):
        lock.find_holder(tmp_path / "lock")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.2)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    yield process
    process.kill()
    process.communicate()


def test_a_driver_that_lives_on_another_host_is_left_alone(tmp_path: Path, elsewhere: subprocess.Popen[str]) -> None:
    before = (tmp_path / "lock").read_bytes()
    message = f"{tmp_path}: another driver is at work here: process 7 on elsewhere, since noon"
    with pytest.raises(UserError, match=message), lock.hold(tmp_path / "lock"):
        pass
    assert (tmp_path / "lock").read_bytes() == before
    assert str(lock.find_holder(tmp_path / "lock")) == "process 7 on elsewhere, since noon"


def test_the_lock_of_one_that_died_there_is_taken_over_and_emptied(
    tmp_path: Path, elsewhere: subprocess.Popen[str]
) -> None:
    elsewhere.kill()
    elsewhere.wait()
    with lock.hold(tmp_path / "lock") as dead:
        assert str(dead) == "process 7 on elsewhere, since noon"
        mine = lock.find_holder(tmp_path / "lock")
        assert mine is not None
        assert mine.pid == os.getpid()
    assert (tmp_path / "lock").read_bytes() == b""
    with lock.hold(tmp_path / "lock") as dead:
        assert dead is None


def test_a_dead_one_is_not_shown_for_long(tmp_path: Path, elsewhere: subprocess.Popen[str]) -> None:
    elsewhere.kill()
    elsewhere.wait()
    time.sleep(0.7)
    assert lock.find_holder(tmp_path / "lock") is None


def test_a_holder_touches_its_lock_and_lets_go_even_when_it_fails(tmp_path: Path) -> None:
    def touched() -> int:
        return (tmp_path / "lock").stat().st_mtime_ns

    def fail() -> None:
        with lock.hold(tmp_path / "lock"):
            begun = touched()
            time.sleep(0.5)
            assert touched() > begun
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
            raise ValueError("fails")

    with pytest.raises(ValueError, match="fails"):
        fail()
    assert (tmp_path / "lock").read_bytes() == b""


def test_a_dead_driver_of_this_host_needs_no_watching(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(json.dumps(lock.Holder(os.uname().nodename, 7, "noon").as_dict()))
    begun = time.monotonic()
    with lock.hold(tmp_path / "lock") as dead:
        assert dead is None
    assert time.monotonic() - begun < 0.2

"""One driver at a time, wherever the lease is kept: in a file of the run directory or in a storage."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from raynas_snn.core.errors import UserError
from raynas_snn.core.periodic import periodically
from raynas_snn.remote.storage import Storage
from raynas_snn.remote.storage_lease import StorageLease
from raynas_snn.run.holder import Holder
from raynas_snn.run.lease import Lease, LeaseLostError, LeaseStore
from raynas_snn.run.lease_file import LeaseFile

ELSEWHERE = replace(Holder.of_this_process(), host="elsewhere", machine="another boot", pid=7, since="noon")
TAKEN = "another driver is at work here: process 7 on elsewhere, since noon"
HOLD = """
import sys, time
from pathlib import Path
from raynas_snn.run.lease import Lease
from raynas_snn.run.lease_file import LeaseFile
with Lease(LeaseFile(Path(sys.argv[1]))).held(print):
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for store in (LeaseFile, StorageLease):
        monkeypatch.setattr(store, "renewal_seconds", 0.2)
    monkeypatch.setattr(StorageLease, "settling_seconds", 0.1)


@pytest.fixture
def file(tmp_path: Path) -> LeaseFile:
    return LeaseFile(tmp_path / "lock")


@pytest.fixture(params=["file", "storage"])
def store(request: pytest.FixtureRequest, tmp_path: Path, file: LeaseFile) -> LeaseStore:
    return file if request.param == "file" else StorageLease(Storage(str(tmp_path)))


@pytest.fixture
def said() -> list[str]:
    return []


def put(store: LeaseStore, holder: Holder) -> None:
    store.write(json.dumps(asdict(holder)).encode())


def holder_in(store: LeaseStore) -> Holder:
    holder = Holder.parse(store.read())
    assert holder is not None
    return holder


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A driver in another process of this machine."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    yield process
    process.kill()
    process.communicate()


def test_a_driver_renews_its_lease_and_lets_go_even_when_it_fails(store: LeaseStore, said: list[str]) -> None:
    def fail() -> None:
        with Lease(store).held(said.append):
            assert holder_in(store).pid == os.getpid()
            wait_until(lambda: holder_in(store).renewals > 2)
            raise ValueError("fails")

    with pytest.raises(ValueError, match="fails"):
        fail()
    assert not store.read()
    with Lease(store).held(said.append):
        pass
    assert said == []


def test_a_driver_that_lives_on_this_machine_is_known_at_once(file: LeaseFile, other: subprocess.Popen[str]) -> None:
    begun = time.monotonic()
    with pytest.raises(UserError, match=f"another driver is at work here: process {other.pid} on "):
        Lease(file).held(print).__enter__()
    assert time.monotonic() - begun < 0.5
    assert str(file.holder()).startswith(f"process {other.pid} on ")


@pytest.mark.parametrize("reaped", [True, False])
def test_after_a_kill_the_next_driver_goes_on_at_once(
    file: LeaseFile, other: subprocess.Popen[str], said: list[str], reaped: bool
) -> None:
    other.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
    assert file.holder() is None
    begun = time.monotonic()
    with Lease(file).held(said.append):
        assert time.monotonic() - begun < 0.2
        assert holder_in(file).pid == os.getpid()
    assert len(said) == 1
    assert said[0].startswith(f"takes over from process {other.pid} on ")
    assert said[0].endswith(", which is gone")


def test_a_later_process_of_the_same_number_is_another_one(store: LeaseStore, said: list[str]) -> None:
    put(store, replace(Holder.of_this_process(), started=1))
    with Lease(store).held(said.append):
        assert len(said) == 1


def test_a_driver_elsewhere_that_renews_its_lease_is_left_alone(store: LeaseStore, said: list[str]) -> None:
    renewals = itertools.count(1)
    put(store, ELSEWHERE)
    with (
        periodically(0.1, lambda: put(store, replace(ELSEWHERE, renewals=next(renewals))), "elsewhere"),
        pytest.raises(UserError, match=TAKEN),
    ):
        Lease(store).held(said.append).__enter__()
    assert holder_in(store).lease == ELSEWHERE.lease
    assert "looking for up to 0.6 s whether it still does" in said[0]


def test_a_driver_elsewhere_that_does_not_is_gone(store: LeaseStore, said: list[str]) -> None:
    put(store, ELSEWHERE)
    with Lease(store).held(said.append):
        assert said[1] == "takes over from process 7 on elsewhere, since noon, which is gone"


def test_one_elsewhere_that_ends_meanwhile_is_not_waited_for(store: LeaseStore, said: list[str]) -> None:
    put(store, ELSEWHERE)
    threading.Timer(0.1, store.delete).start()
    begun = time.monotonic()
    with Lease(store).held(said.append):
        assert time.monotonic() - begun < 0.5
    assert len(said) == 1


def test_status_answers_at_once_about_a_driver_elsewhere(file: LeaseFile) -> None:
    put(file, ELSEWHERE)
    assert file.holder() == ELSEWHERE
    time.sleep(0.7)
    assert file.holder() is None


@pytest.mark.parametrize("winner", ["at work", "done"])
def test_a_driver_that_was_taken_over_notices_and_leaves_the_other_alone(store: LeaseStore, winner: str) -> None:
    with ExitStack() as stack:
        lease = stack.enter_context(Lease(store).held(print))
        lease.confirm()
        wait_until(lambda: holder_in(store).renewals > 0)  # so that the next renewal is not due at this moment
        with store.exclusive():
            put(store, ELSEWHERE) if winner == "at work" else store.delete()
        with pytest.raises(LeaseLostError, match=r"was taken over by .*: this driver was not heard of for too long"):
            lease.confirm()
        left = store.read()
        time.sleep(0.5)
        with pytest.raises(LeaseLostError):
            lease.check()
    assert store.read() == left


def test_of_two_that_start_at_once_one_goes_on(store: LeaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    parse, both = Holder.parse, threading.Barrier(2)
    first_looks: list[int] = []

    def parse_together(data: bytes | None) -> Holder | None:
        if threading.get_ident() not in first_looks and threading.current_thread().name == "driver":
            first_looks.append(threading.get_ident())
            both.wait()
        return parse(data)

    monkeypatch.setattr(Holder, "parse", parse_together)
    outcomes: list[str] = []
    decided = threading.Event()

    def start() -> None:
        try:
            with Lease(store).held(print):
                outcomes.append("goes on")
                decided.wait(5)
        except UserError:
            outcomes.append("refused")
            decided.set()

    threads = [threading.Thread(target=start, name="driver") for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["goes on", "refused"]


def test_a_driver_waits_for_one_that_only_looks(file: LeaseFile) -> None:
    looks = file.exclusive()
    looks.__enter__()
    threading.Timer(0.3, looks.__exit__, (None, None, None)).start()
    with Lease(file).held(print):
        assert holder_in(file).pid == os.getpid()


LEASE = '{"lease": "a", "host": "b", "pid": %s, "since": "c", "machine": "d", "started": 1}'
HOSTILE = [b"[" * 10_000, *((LEASE % pid).encode() for pid in ('"../.."', "NaN", "[]", "-1", "true"))]


@pytest.mark.parametrize("garbled", [b"", b"[]", b"{}", b"\xff", b'{"lease": 1, "more": 2}', *HOSTILE])
def test_what_cannot_be_understood_is_no_driver(store: LeaseStore, garbled: bytes, said: list[str]) -> None:
    store.write(garbled)
    with Lease(store).held(said.append):
        assert said == []


def test_a_lease_without_end_is_not_read(store: LeaseStore, said: list[str]) -> None:
    store.write(b" " * 2**20)
    with pytest.raises((OSError, UserError), match="larger than 16 KiB"):
        Lease(store).held(said.append).__enter__()


@pytest.mark.timeout(20)
def test_a_pipe_in_its_place_is_not_waited_for(file: LeaseFile, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(UserError, match="lock: not a regular file"):
        file.holder()

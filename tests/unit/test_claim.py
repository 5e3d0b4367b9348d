"""One driver at a time for a run in a storage."""

import json
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from raynas_snn.errors import UserError
from raynas_snn.results import claim
from raynas_snn.results.claim import NOTE, Claim, ClaimLostError, Note
from raynas_snn.results.storage import Storage

BEAT = 0.2


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


@pytest.fixture
def said() -> list[str]:
    return []


def put(storage: Storage, note: Note) -> None:
    storage.write(NOTE, json.dumps(asdict(note)).encode())


def elsewhere() -> Note:
    return replace(Note.of_this_process(), host="elsewhere", machine="another boot")


def test_a_driver_leaves_a_note_and_takes_it_away(storage: Storage, said: list[str]) -> None:
    mine = Claim(storage, said.append)
    note = json.loads(storage.read(NOTE) or b"")
    mine.renew()
    assert json.loads(storage.read(NOTE) or b"") == {**note, "count": 1}
    mine.release()
    assert storage.read(NOTE) is None
    assert said == []


def test_a_driver_that_lives_on_this_machine_is_known_at_once(storage: Storage, said: list[str]) -> None:
    Claim(storage, said.append)
    before = storage.read(NOTE)
    with pytest.raises(UserError, match=r"another driver is at work here: process \d+ on "):
        Claim(storage, said.append, beat=60)
    assert storage.read(NOTE) == before


def test_a_driver_that_died_on_this_machine_is_known_at_once(storage: Storage, said: list[str]) -> None:
    other = subprocess.Popen([sys.executable, "-c", ""])
    other.wait()
    put(storage, replace(Note.of_this_process(), pid=other.pid))
    Claim(storage, said.append, beat=60)
    assert said == [f"takes over from process {other.pid} on {Note.of_this_process().host}, which is gone"]


def test_a_later_process_of_the_same_number_is_another_one(storage: Storage, said: list[str]) -> None:
    put(storage, replace(Note.of_this_process(), born=1))
    Claim(storage, said.append, beat=60)
    assert len(said) == 1


def test_a_driver_elsewhere_that_beats_is_alive(storage: Storage, said: list[str]) -> None:
    note = elsewhere()
    put(storage, note)
    beat = threading.Timer(2 * BEAT, put, (storage, replace(note, count=1)))
    beat.start()
    with pytest.raises(UserError, match=r"another driver is at work here: process \d+ on elsewhere"):
        Claim(storage, said.append, BEAT)
    assert Note.read(storage) == replace(note, count=1)
    assert "looking for up to 0.6 s whether it still does" in said[0]


def test_a_driver_elsewhere_that_does_not_beat_is_gone(storage: Storage, said: list[str]) -> None:
    put(storage, elsewhere())
    Claim(storage, said.append, BEAT)
    assert said[1].endswith("on elsewhere, which is gone")


def test_whoever_is_taken_for_dead_notices_and_leaves_the_other_alone(storage: Storage, said: list[str]) -> None:
    mine = Claim(storage, said.append)
    put(storage, elsewhere())
    with pytest.raises(ClaimLostError, match=r"was taken over by process \d+ on elsewhere"):
        mine.renew()
    mine.release()
    assert Note.read(storage) is not None


def test_whoever_was_taken_over_by_one_that_has_ended_notices(storage: Storage, said: list[str]) -> None:
    mine = Claim(storage, said.append)
    storage.delete(NOTE)
    lost: list[ClaimLostError] = []
    mine.keep(lost.append, BEAT)
    assert mine._thread is not None
    mine._thread.join(10)
    assert "was taken over by another driver, which has ended since" in str(lost[0])
    assert storage.read(NOTE) is None


def test_of_two_that_start_at_once_one_goes_on(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    read, both = Note.read, threading.Barrier(2)
    seen = []

    def read_together(storage: Storage) -> Note | None:
        if threading.get_ident() not in seen:  # the first look of each
            seen.append(threading.get_ident())
            note = read(storage)
            both.wait()
            return note
        return read(storage)

    monkeypatch.setattr(claim.Note, "read", read_together)
    outcomes: list[str] = []

    def start() -> None:
        try:
            Claim(storage, print)
            outcomes.append("goes on")
        except UserError:
            outcomes.append("refused")

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["goes on", "refused"]


NOTE_OF = '{"claim": "a", "host": "b", "pid": %s, "machine": "c", "born": 1}'
HOSTILE = [b"[" * 10_000, (NOTE_OF % '"../.."').encode(), (NOTE_OF % "NaN").encode(), (NOTE_OF % "[]").encode()]


@pytest.mark.parametrize("garbled", [b"", b"[]", b"{}", b"\xff", b'{"claim": 1, "more": 2}', *HOSTILE])
def test_a_note_that_says_nothing_is_no_driver(storage: Storage, garbled: bytes, said: list[str]) -> None:
    storage.write(NOTE, garbled)
    Claim(storage, said.append)
    assert said == []


def test_a_note_without_end_is_not_read(storage: Storage, said: list[str]) -> None:
    storage.write(NOTE, b" " * 2**20)
    with pytest.raises(OSError, match="larger than 16 KiB"):
        Claim(storage, said.append)


def test_a_note_of_a_process_that_never_was_is_no_live_driver(storage: Storage, said: list[str]) -> None:
    put(storage, replace(Note.of_this_process(), pid=-1, born=0))
    Claim(storage, said.append, beat=60)
    assert len(said) == 1

"""A run that moves from machine to machine by way of a storage."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest
from mortal_storage import Killed, MortalStorage

from raynas_snn.core.errors import StorageFault, UserError
from raynas_snn.core.files import write_json
from raynas_snn.remote import run_copy
from raynas_snn.remote.run_copy import RunCopy, refuse_without_storage
from raynas_snn.remote.storage_lease import StorageLease
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir

CONFIG = {"name": "sweep"}
BOOKS = {"config.yaml", "manifest.json", "trials.jsonl"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StorageLease, "settling_seconds", 0)
    monkeypatch.setattr(run_copy, "_PATIENCE_SECONDS", 0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def machine(tmp_path: Path, store: Path, name: str) -> RunCopy:
    return RunCopy(str(store), tmp_path / name / "run")


@contextmanager
def driving(copy: RunCopy) -> Iterator[RunDir]:
    """What the driver of a sweep does around its trials."""
    path = copy.run.path
    with copy.connected():
        run = RunDir.open(path) if RunDir.is_run(path) else RunDir.create(path, CONFIG, {})
        run.note_start("command", storage=copy.url)
        copy.begin()
        yield run


def do_trial(copy: RunCopy, number: int) -> None:
    """What a trial's process and the driver do about a trial, in this order."""
    uid = f"p{number:04d}-s0"
    write_json(copy.run.trial(uid).create().config, {"uid": uid})
    copy.announce(uid)
    trial = copy.trial(uid)
    trial.begin({"uid": uid})
    folder = copy.run.trial(uid)
    folder.append_curve({"epoch": 1})
    write_json(folder.result, {"epochs": 1, "metrics": {}})
    trial.finish()
    book(copy.run, number)


def book(run: RunDir, number: int) -> None:
    run.append(TrialRecord(f"p{number:04d}-s0", number, 0, {}, "finished", 1, 1.0))


def uids(run: RunDir) -> list[str]:
    return [record.uid for record in run.records()]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "lock"}


def test_the_storage_holds_what_the_run_directory_holds(tmp_path: Path, store: Path) -> None:
    copy = machine(tmp_path, store, "a")
    with driving(copy) as run:
        assert (store / "run" / "driver.json").is_file()
        do_trial(copy, 0)
        run.report.mkdir()
        (run.report / "ablation.csv").write_text("table")
        run.journal.write_text("{}\n")
        (run.path / "ray.log").write_text("noise")
        (run.path / "study.journal.lock").write_text("held")
    assert set(content(store / "run")) == {*BOOKS, "study.journal"}
    assert content(store / "run").items() <= content(run.path).items()
    assert (store / "run" / "report" / "ablation.csv").read_text() == "table"
    assert (store / "run" / "trials" / "p0000-s0" / "result.json").is_file()
    assert run.manifest()["starts"][0]["storage"] == str(store)


def test_a_change_is_sent_within_seconds(tmp_path: Path, store: Path) -> None:
    copy = machine(tmp_path, store, "a")
    with driving(copy):
        do_trial(copy, 0)
        time.sleep(2.5)
        assert uids(RunDir(store / "run")) == ["p0000-s0"]


def test_any_machine_goes_on_from_the_storage_alone(tmp_path: Path, store: Path) -> None:
    copy = machine(tmp_path, store, "a")
    with driving(copy) as run:
        do_trial(copy, 0)
    shutil.rmtree(run.path)
    copy = machine(tmp_path, store, "b")
    with driving(copy) as run:
        assert uids(run) == ["p0000-s0"]
        assert run.trial("p0000-s0").read_result() == {"epochs": 1, "metrics": {}}
        do_trial(copy, 1)
    with driving(machine(tmp_path, store, "a")) as run:
        assert uids(run) == ["p0000-s0", "p0001-s0"]
        assert len(run.manifest()["starts"]) == 3


def test_what_only_lies_here_does_not_count(tmp_path: Path, store: Path) -> None:
    """A machine that died before it could send its books, and comes back when another one has gone on."""
    copy = machine(tmp_path, store, "a")
    with driving(copy) as run:
        do_trial(copy, 0)
    book(run, 1)
    run.trial("p0007-s0").create().config.write_text("{}")
    run.journal.write_text("{}\n")
    with driving(machine(tmp_path, store, "a")) as run:
        assert uids(run) == ["p0000-s0"]
        assert not run.trial("p0007-s0").has_begun()
        assert not run.journal.exists()
    kept = store / "run" / "trials.jsonl"
    kept.unlink()  # so that its trials are run again
    with driving(machine(tmp_path, store, "a")) as run:
        assert uids(run) == []


def test_a_result_that_was_not_booked_is_there_for_the_next_driver(tmp_path: Path, store: Path) -> None:
    copy = machine(tmp_path, store, "a")
    with driving(copy) as run:
        do_trial(copy, 0)
        run.records_file.unlink()
    with driving(machine(tmp_path, store, "b")) as run:
        assert uids(run) == []
        assert run.trial("p0000-s0").read_result() == {"epochs": 1, "metrics": {}}


@pytest.mark.parametrize("storage", [None, "s3://elsewhere/runs"])
def test_a_run_that_was_not_kept_there_is_not_replaced(tmp_path: Path, store: Path, storage: str | None) -> None:
    copy = machine(tmp_path, store, "a")
    with driving(copy):
        do_trial(copy, 0)
    other = RunDir.create(tmp_path / "b" / "run", CONFIG, {})
    other.note_start("command", storage=storage)
    book(other, 1)
    before = content(other.path), content(store / "run")
    for use in (lambda copy: copy.plan(print), lambda copy: copy.connected().__enter__()):
        with pytest.raises(UserError, match=f"holds a run that was not kept in {store}/run; move it away to go on"):
            use(machine(tmp_path, store, "b"))
    assert (content(other.path), content(store / "run")) == before


def test_a_directory_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")):
        pass
    other = tmp_path / "b" / "run"
    other.mkdir(parents=True)
    (other / "thesis.tex").write_text("years")
    for use in (lambda copy: copy.plan(print), lambda copy: copy.connected().__enter__()):
        with pytest.raises(UserError, match="holds something that is not a run"):
            use(machine(tmp_path, store, "b"))
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def test_a_plan_looks_at_the_storage_and_writes_nothing(tmp_path: Path, store: Path) -> None:
    copy = machine(tmp_path, store, "a")
    with driving(copy):
        do_trial(copy, 0)
        copy.begin()
        assert machine(tmp_path, store, "b").plan(lambda path: uids(RunDir(path))) == ["p0000-s0"]
    assert not (tmp_path / "b").exists()

    def refuse(path: Path) -> None:
        raise UserError(f"{path}: another sweep")

    with pytest.raises(UserError, match=f"^{store / 'run'}: another sweep$"):
        machine(tmp_path, store, "b").plan(refuse)


def test_a_run_that_had_no_storage_is_sent_as_a_whole(tmp_path: Path, store: Path) -> None:
    run = RunDir.create(tmp_path / "a" / "run", CONFIG, {})
    run.note_start("command")
    book(run, 0)
    checkpoint = run.trial("p0000-s0").create().checkpoint
    checkpoint.mkdir()
    (checkpoint / "last.pt").write_text("state")
    killed = machine(tmp_path, store, "a")
    with killed.connected():
        pass  # dies before it notes this start
    with driving(machine(tmp_path, store, "a")) as run:
        assert uids(run) == ["p0000-s0"]
    assert (store / "run" / "trials" / "p0000-s0" / "checkpoint" / "last.pt").read_text() == "state"


def test_a_run_with_a_storage_is_not_continued_without(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")) as run:
        pass
    with pytest.raises(UserError, match=f"is kept in a storage; give --storage {store} as before"):
        refuse_without_storage(run.path)
    refuse_without_storage(tmp_path / "nothing")
    run.note_start("command", storage=5)
    with pytest.raises(UserError, match="is kept in a storage; give --storage as before"):
        refuse_without_storage(run.path)


def test_a_second_driver_is_kept_out(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")), pytest.raises(UserError, match="another driver is at work here"):
        machine(tmp_path, store, "b").connected().__enter__()
    assert not (tmp_path / "b").exists()


def take_over(lease: Path) -> None:
    lease.write_text(json.dumps({**json.loads(lease.read_text()), "lease": "other", "host": "elsewhere"}))


@pytest.mark.parametrize("other", ["at work", "done"])
@pytest.mark.parametrize("sends", ["now", "at its end"])
def test_a_driver_whose_line_returns_leaves_the_books_of_the_one_that_took_over(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, other: str, sends: str
) -> None:
    monkeypatch.setattr(run_copy, "_LOOK_SECONDS", 60)
    copy = machine(tmp_path, store, "a")
    lease = store / "run" / "driver.json"
    with ExitStack() as stack:
        run = stack.enter_context(driving(copy))
        while json.loads(lease.read_text())["renewals"] == 0:
            time.sleep(0.01)
        take_over(lease)
        book(RunDir(store / "run"), 7)
        if other == "done":
            lease.unlink()
        before = content(store / "run")
        book(run, 0)
        if sends == "now":
            assert not copy.try_send()
            with pytest.raises(StorageFault, match="was taken over by"):
                copy.check()
        with pytest.raises(StorageFault, match="was taken over by"):
            stack.close()
    assert content(store / "run") == before


def test_a_takeover_while_files_are_brought_is_noticed(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with driving(machine(tmp_path, store, "a")):
        pass
    lease = store / "run" / "driver.json"
    renewals = []

    def bring(copy: RunCopy) -> None:
        while not renewals or renewals[-1] < 3:
            renewals.append(json.loads(lease.read_text())["renewals"])
        take_over(lease)

    monkeypatch.setattr(StorageLease, "renewal_seconds", 0.1)
    monkeypatch.setattr(RunCopy, "_bring", bring)
    with pytest.raises(StorageFault, match=r"was taken over by process \d+ on elsewhere"):
        machine(tmp_path, store, "a").connected().__enter__()
    assert json.loads(lease.read_text())["lease"] == "other"


def test_a_storage_that_is_gone_is_told_once_and_results_stay(tmp_path: Path, store: Path) -> None:
    said: list[str] = []
    copy = machine(tmp_path, store, "a")
    copy.say = said.append
    with ExitStack() as stack:
        run = stack.enter_context(driving(copy))
        do_trial(copy, 0)
        store.rename(tmp_path / "away")
        store.write_text("no folder")
        book(run, 1)
        assert not copy.try_send()
        assert not copy.try_send()
        assert len([line for line in said if "trying on" in line]) == 1
        with pytest.raises(StorageFault, match=r"cannot write to .*; run the same command again"):
            stack.close()
    store.unlink()
    (tmp_path / "away").rename(store)
    (store / "run" / "driver.json").unlink()  # as if its process were gone
    with driving(machine(tmp_path, store, "a")):
        pass
    assert run.trial("p0000-s0").read_result() is not None


def test_a_run_survives_a_kill_between_any_two_operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("raynas_snn.run.lease", "raynas_snn.remote.run_copy"):
        monkeypatch.setattr(f"{module}.periodically", lambda *_: nullcontext())
    life, done = 0, False
    while not done:
        root = tmp_path / str(life)
        there = RunDir(root / "store" / "run")

        def on_machine(name: str, life: int, there: RunDir = there, root: Path = root) -> RunCopy:
            (there.path / "driver.json").unlink(missing_ok=True)  # the process before is gone
            copy = machine(root, root / "store", name)
            copy.storage = MortalStorage(str(root / "store"), life).folder("run")
            return copy

        mortal = on_machine("a", life)
        try:
            with driving(mortal):
                for number in range(2):
                    do_trial(mortal, number)
                    mortal.begin()
            done = True
        except Killed:
            pass
        records = uids(there)
        assert all(there.trial(uid).read_result() for uid in records)
        finished = {folder.uid for folder in there.trials() if folder.read_result()}
        shutil.rmtree(root / "a", ignore_errors=True)
        for life_of_next in (4 + life % 5, 1000):
            try:
                with on_machine("b", life_of_next).connected() as copy:
                    assert uids(copy.run) == records
                    if records:
                        assert {folder.uid for folder in copy.run.trials() if folder.read_result()} == finished
            except Killed:
                continue
        life += 1
    assert life > 10


def test_runs_of_several_names_do_not_mix(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert str(RunCopy(str(store), Path()).storage) == str(store / "here")
    assert str(RunCopy(str(store), Path("runs/mine/")).storage) == str(store / "mine")
    monkeypatch.chdir("below")
    assert str(RunCopy(str(store), Path("..")).storage) == str(store / "here")


@pytest.mark.parametrize(
    ("url", "run_dir"),
    [
        ("shared/runs", "shared/runs/mine"),
        ("{}/shared/runs/", "shared/runs/mine"),
        ("file://{}/shared/a%20b", "shared/a b/mine"),
        ("linked/runs", "shared/runs/mine"),
        ("shared/runs/mine", "shared/runs/mine"),
        ("shared", "shared/mine/runs/mine"),
    ],
)
def test_a_storage_that_is_the_run_directory_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, run_dir: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linked").symlink_to("shared")
    run = RunDir.create(tmp_path / run_dir, CONFIG, {})
    with pytest.raises(UserError, match="is not apart from the run directory"):
        RunCopy(url.format(tmp_path), run.path)
    RunCopy(str(tmp_path / "shared" / "copies"), run.path)
    RunCopy("s3://shared/runs", run.path)


@pytest.mark.parametrize("link", ["trials", "tb", "report", "lock", "trials/p0000-s0", ".config.yaml.tmp", "ray.log"])
def test_links_in_a_run_directory_are_refused_before_anything_is_written(
    tmp_path: Path, store: Path, link: str
) -> None:
    copy = machine(tmp_path, store, "a")
    with driving(copy):
        do_trial(copy, 0)
    outside, planted = tmp_path / "outside", tmp_path / "b" / "run" / link
    planted.parent.mkdir(parents=True, exist_ok=True)
    outside.mkdir()
    (outside / "precious").write_text("years")
    planted.symlink_to(outside / "precious" if "." in link else outside)
    with pytest.raises(UserError, match="a link; nothing in a run directory may lead out of it"):
        machine(tmp_path, store, "b").connected().__enter__()
    assert [path.read_text() for path in outside.iterdir()] == ["years"]


def test_a_storage_brings_no_more_than_the_books_and_the_trials(tmp_path: Path, store: Path) -> None:
    copy = machine(tmp_path, store, "a")
    with driving(copy):
        book(copy.run, 0)
    (store / "run" / "trials" / "no uid").mkdir(parents=True)
    for name in ("lock", "ray.log", "run.sh", "trials/no uid/result.json", "trials/file", "more/file"):
        (store / "run" / name).parent.mkdir(exist_ok=True)
        (store / "run" / name).write_text("planted")
    with driving(machine(tmp_path, store, "b")) as run:
        pass
    assert set(content(run.path)) == BOOKS
    assert not (run.path / "more").exists()
    assert not (run.path / "trials").exists()
    assert not (run.path / "lock").exists()


def test_books_without_end_are_refused_before_they_are_brought(tmp_path: Path, store: Path) -> None:
    copy = machine(tmp_path, store, "a")
    with driving(copy):
        book(copy.run, 0)
    with (store / "run" / "trials.jsonl").open("wb") as records:
        records.truncate(2**29 + 1)
    with pytest.raises(UserError, match=r"run/trials\.jsonl: larger than 512 MiB"):
        machine(tmp_path, store, "b").plan(print)


@pytest.mark.parametrize("operation", ["sizes", "download"])
def test_a_plan_does_not_wait_for_a_storage_that_does_not_answer(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    with driving(machine(tmp_path, store, "a")):
        pass
    os.mkfifo(tmp_path / "pipe")  # opening it waits for ever, as a server that is gone makes one do
    monkeypatch.setattr(run_copy, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(run_copy, "_BOOK_SECONDS", 0.5)
    copy = machine(tmp_path, store, "b")
    hang: Callable[..., bytes] = lambda *_, **__: (tmp_path / "pipe").read_bytes()  # noqa: E731
    monkeypatch.setattr(copy.storage, operation, hang)
    with pytest.raises(UserError, match=r"cannot use .*: no answer within 0\.5 s"):
        copy.plan(print)
    (tmp_path / "pipe").write_bytes(b"")  # lets the thread go


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_here_is_not_blamed_on_the_storage(tmp_path: Path, store: Path, small_disk: Path) -> None:
    copy = machine(tmp_path, store, "a")
    with driving(copy):
        do_trial(copy, 0)
    (store / "run" / "trials" / "p0000-s0" / "curve.csv").write_text("{}\n" * 50_000)
    with pytest.raises(StorageFault, match=f"^{small_disk}/.*: No space left on device; free some and run the same"):
        RunCopy(str(store), small_disk / "run").connected().__enter__()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    with driving(RunCopy(str(store), small_disk / "run")) as run:
        assert uids(run) == ["p0000-s0"]
        assert run.trial("p0000-s0").curve.stat().st_size == 150_000

"""A run that moves from machine to machine by way of a storage."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from mortal_storage import Killed, MortalStorage

from raynas_snn.errors import StorageFault, UserError
from raynas_snn.results import run_mirror
from raynas_snn.results.records import TrialRecord
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.run_mirror import RunMirror, refuse_without_storage
from raynas_snn.results.trial_mirror import TrialMirror

CONFIG = {"name": "sweep"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raynas_snn.results.claim._SETTLING_SECONDS", 0)
    monkeypatch.setattr(run_mirror, "_PATIENCE_SECONDS", 0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def machine(tmp_path: Path, store: Path, name: str) -> RunMirror:
    return RunMirror(str(store), tmp_path / name / "run")


@contextmanager
def driving(mirror: RunMirror) -> Iterator[RunDir]:
    """What the driver of a sweep does around its trials."""
    path = mirror.run.path
    with mirror:
        run = RunDir.open(path) if RunDir.is_run(path) else RunDir.create(path, CONFIG, {})
        run.note_start("command", **mirror.facts)
        mirror.begin()
        yield run


def do_trial(run: RunDir, number: int) -> None:
    """What is written about a trial, in the order in which it is."""
    uid = f"p{number:04d}-s0"
    with run.journal.open("a") as journal:
        journal.write(f'{{"asked": "{uid}"}}\n')
    run.append(TrialRecord(uid, number, 0, {}, "finished", 1, 1.0))
    with run.journal.open("a") as journal:
        journal.write(f'{{"told": "{uid}"}}\n')


def uids(run: RunDir) -> list[str]:
    return [record.uid for record in run.records()]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "lock"}


def test_the_storage_holds_what_the_run_directory_holds(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")) as run:
        assert (store / "run" / "driver.json").is_file()
        do_trial(run, 0)
        run.report.mkdir()
        (run.report / "ablation.csv").write_text("table")
        (run.path / "ray.log").write_text("noise")
        (run.path / "study.journal.lock").write_text("held")
    assert set(content(store / "run")) == {"config.yaml", "manifest.json", "study.journal", "trials.jsonl"}
    assert content(store / "run").items() <= content(run.path).items()
    assert (store / "run" / "report" / "ablation.csv").read_text() == "table"
    start = run.manifest()["starts"][0]
    assert start["storage"] == str(store)


def test_a_change_is_sent_within_seconds(tmp_path: Path, store: Path) -> None:
    mirror = machine(tmp_path, store, "a")
    with driving(mirror) as run:
        do_trial(run, 0)
        mirror._stop.wait(2.5)
        assert uids(RunDir(store / "run")) == ["p0000-s0"]


def test_another_machine_goes_on_from_the_storage_alone(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")) as run:
        do_trial(run, 0)
    shutil.rmtree(run.path)
    with driving(machine(tmp_path, store, "b")) as run:
        assert uids(run) == ["p0000-s0"]
        do_trial(run, 1)
    with driving(machine(tmp_path, store, "a")) as run:
        assert uids(run) == ["p0000-s0", "p0001-s0"]
        assert len(run.manifest()["starts"]) == 3


def test_an_older_copy_is_replaced_and_a_newer_one_is_sent(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")) as run:
        do_trial(run, 0)
    with driving(machine(tmp_path, store, "b")) as run:
        do_trial(run, 1)
    with driving(machine(tmp_path, store, "a")) as run:
        assert uids(run) == ["p0000-s0", "p0001-s0"]
    do_trial(run, 2)  # as if the driver had died before it could send it
    with driving(machine(tmp_path, store, "a")):
        pass
    assert uids(RunDir(store / "run")) == ["p0000-s0", "p0001-s0", "p0002-s0"]


def test_a_record_that_was_taken_out_by_hand_stays_out(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")) as run:
        do_trial(run, 0)
        do_trial(run, 1)
    records = run.path / "trials.jsonl"
    records.write_text(records.read_text().splitlines(keepends=True)[0])
    with driving(machine(tmp_path, store, "a")) as run:
        assert uids(run) == ["p0000-s0"]


def test_copies_that_went_separate_ways_are_refused_and_left_alone(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")) as run:
        do_trial(run, 0)
    shutil.copytree(run.path, tmp_path / "b" / "run")
    with driving(machine(tmp_path, store, "b")) as other:
        do_trial(other, 1)
    run.note_start("command")
    before = content(run.path), content(store / "run")
    for use in (lambda mirror: mirror.plan(print), lambda mirror: mirror.__enter__()):
        with pytest.raises(UserError, match="were continued independently of each other"):
            use(machine(tmp_path, store, "a"))
    assert (content(run.path), content(store / "run")) == before


def test_a_directory_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")):
        pass
    other = tmp_path / "b" / "run"
    other.mkdir(parents=True)
    (other / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match="holds something that is not a run"):
        machine(tmp_path, store, "b").plan(print)
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def test_a_plan_looks_at_the_later_copy_and_writes_nothing(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")) as run:
        do_trial(run, 0)
    assert machine(tmp_path, store, "b").plan(lambda path: uids(RunDir(path))) == ["p0000-s0"]
    assert not (tmp_path / "b").exists()

    def refuse(path: Path) -> None:
        raise UserError(f"{path}: another sweep")

    with pytest.raises(UserError, match=f"^{store / 'run'}: another sweep$"):
        machine(tmp_path, store, "b").plan(refuse)


def test_a_run_that_had_no_storage_is_sent_as_a_whole(tmp_path: Path, store: Path) -> None:
    run = RunDir.create(tmp_path / "a" / "run", CONFIG, {})
    do_trial(run, 0)
    checkpoint = run.trial("p0000-s0").create().checkpoint
    checkpoint.mkdir()
    (checkpoint / "last.pt").write_text("state")
    with driving(machine(tmp_path, store, "a")):
        pass
    assert (store / "run" / "trials" / "p0000-s0" / "checkpoint" / "last.pt").read_text() == "state"


def test_what_a_trial_could_not_send_at_its_end_is_sent_at_the_next_start(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine(tmp_path, store, "a")
    with driving(first) as run:
        for number in range(2):
            first.trial(f"p000{number}-s0").begin({})
            do_trial(run, number)
            run.trial(f"p000{number}-s0").append_curve({"epoch": 1})
    with driving(machine(tmp_path, store, "a")):
        pass
    for number in range(2):
        assert (store / "run" / "trials" / f"p000{number}-s0" / "curve.csv").read_text() == "epoch\n1\n"
    monkeypatch.setattr(TrialMirror, "_send", None)  # would be called if anything were missing
    with driving(machine(tmp_path, store, "a")):
        pass


def test_a_run_with_a_storage_is_not_continued_without(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")) as run:
        pass
    with pytest.raises(UserError, match=f"keeps a copy in a storage; give --storage {store} as before"):
        refuse_without_storage(run.path)
    refuse_without_storage(tmp_path / "nothing")
    run.note_start("command", storage=5)
    with pytest.raises(UserError, match="keeps a copy in a storage; give --storage as before"):
        refuse_without_storage(run.path)


def test_a_second_driver_is_kept_out(tmp_path: Path, store: Path) -> None:
    with (
        driving(machine(tmp_path, store, "a")),
        pytest.raises(UserError, match="another driver is at work here"),
        machine(tmp_path, store, "b"),
    ):
        pass
    assert not (tmp_path / "b").exists()


def take_over(note: Path) -> None:
    note.write_text(json.dumps({**json.loads(note.read_text()), "claim": "other", "host": "elsewhere"}))


def test_a_driver_that_was_taken_over_ends_and_sends_nothing_more(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_mirror, "BEAT_SECONDS", 0.1)
    mirror = machine(tmp_path, store, "a")
    note = store / "run" / "driver.json"
    with ExitStack() as stack:
        run = stack.enter_context(driving(mirror))
        take_over(note)
        assert mirror._thread is not None
        mirror._thread.join(10)
        with pytest.raises(StorageFault, match=r"was taken over by process \d+ on elsewhere"):
            mirror.check()
        do_trial(run, 0)
        with pytest.raises(StorageFault, match=r"was taken over by process \d+ on elsewhere"):
            stack.close()
    assert not (store / "run" / "trials.jsonl").exists()
    assert json.loads(note.read_text())["claim"] == "other"


@pytest.mark.parametrize("other", ["at work", "done"])
@pytest.mark.parametrize("sends", ["now", "at its end"])
def test_a_driver_whose_line_returns_leaves_the_books_of_the_one_that_took_over(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, other: str, sends: str
) -> None:
    monkeypatch.setattr(run_mirror, "_LOOK_SECONDS", 60)
    mirror = machine(tmp_path, store, "a")
    note = store / "run" / "driver.json"
    with ExitStack() as stack:
        run = stack.enter_context(driving(mirror))
        take_over(note)
        do_trial(RunDir(store / "run"), 7)
        if other == "done":
            note.unlink()
        before = content(store / "run")
        do_trial(run, 0)
        if sends == "now":
            assert not mirror.try_send()
            with pytest.raises(StorageFault, match="was taken over by"):
                mirror.check()
        with pytest.raises(StorageFault, match="was taken over by"):
            stack.close()
    assert content(store / "run") == before


def test_a_driver_shows_that_it_lives_while_copies_are_exchanged_and_notices_a_takeover(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = store / "run" / "driver.json"
    counts = []

    def settle(mirror: RunMirror) -> None:
        for _ in range(100):
            mirror._stop.wait(0.05)
            counts.append(json.loads(note.read_text())["count"])
            if counts[-1] > 2:
                break
        mirror._claim.stop()  # as if this process were suspended
        take_over(note)

    monkeypatch.setattr(run_mirror, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(RunMirror, "_settle", settle)
    with pytest.raises(StorageFault, match=r"was taken over by process \d+ on elsewhere"):
        machine(tmp_path, store, "a").__enter__()
    assert counts[-1] > 2
    assert json.loads(note.read_text())["claim"] == "other"


def test_a_driver_shows_that_it_lives_while_its_books_cannot_be_sent(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_mirror, "BEAT_SECONDS", 0.1)
    mirror = machine(tmp_path, store, "a")
    with driving(mirror), mirror._sending:  # as long as a large journal takes on a slow line
        before = json.loads((store / "run" / "driver.json").read_text())["count"]
        mirror._stop.wait(1)
        assert json.loads((store / "run" / "driver.json").read_text())["count"] > before + 1


def test_a_storage_that_is_gone_is_told_once_and_everything_stays_here(tmp_path: Path, store: Path) -> None:
    said: list[str] = []
    mirror = machine(tmp_path, store, "a")
    mirror.say = said.append
    with ExitStack() as stack:
        run = stack.enter_context(driving(mirror))
        store.rename(tmp_path / "away")
        store.write_text("no folder")
        do_trial(run, 0)
        assert not mirror.try_send()
        assert not mirror.try_send()
        assert len([line for line in said if "trying on" in line]) == 1
        with pytest.raises(UserError, match=r"everything is in .*, and the same command sends it"):
            stack.close()
    store.unlink()
    (tmp_path / "away").rename(store)
    (store / "run" / "driver.json").unlink()  # as if its process were gone
    with driving(machine(tmp_path, store, "a")):
        pass
    assert uids(RunDir(store / "run")) == ["p0000-s0"]


def test_a_run_survives_a_kill_between_any_two_operations(tmp_path: Path, store: Path) -> None:
    life, done = 0, False
    while not done:
        root = tmp_path / str(life)
        mortal = machine(root, root / "store", "a")
        mortal.storage = MortalStorage(str(root / "store"), life).folder("run")
        try:
            mortal.storage.check()
            with driving(mortal) as run:
                for number in range(2):
                    do_trial(run, number)
                    mortal._send_books()
            done = True
        except Killed:
            mortal._stop.set()
        there = RunDir(root / "store" / "run")
        records = there.records()
        journal = there.journal.read_text() if there.journal.exists() else ""
        assert all(f'{{"asked": "{record.uid}"}}' in journal for record in records)
        shutil.rmtree(root / "a", ignore_errors=True)
        note = root / "store" / "run" / "driver.json"
        note.unlink(missing_ok=True)  # its process is gone
        for life_of_next in (4 + life % 5, 1000):
            b = machine(root, root / "store", "b")
            b.storage = MortalStorage(str(root / "store"), life_of_next).folder("run")
            try:
                with b:
                    assert [record.uid for record in b.run.records()] == [record.uid for record in records]
            except Killed:
                note.unlink(missing_ok=True)
        life += 1
    assert life > 10


def test_storages_of_several_runs_do_not_mix(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert str(RunMirror(str(store), Path()).storage) == str(store / "here")
    assert str(RunMirror(str(store), Path("runs/mine/")).storage) == str(store / "mine")
    monkeypatch.chdir("below")
    assert str(RunMirror(str(store), Path("..")).storage) == str(store / "here")


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
        RunMirror(url.format(tmp_path), run.path)
    RunMirror(str(tmp_path / "shared" / "copies"), run.path)
    RunMirror("s3://shared/runs", run.path)


@pytest.mark.parametrize("link", ["trials", "tb", "report", "lock", "trials/p0000-s0", ".config.yaml.tmp", "ray.log"])
@pytest.mark.parametrize("copy", ["later", "only"])
def test_links_in_a_run_directory_are_refused_before_anything_is_written(
    tmp_path: Path, store: Path, link: str, copy: str
) -> None:
    if copy == "later":
        with driving(machine(tmp_path, store, "b")):
            pass
    first = machine(tmp_path, store, "a")
    with driving(first) as run:
        first.trial("p0000-s0").begin({})
        do_trial(run, 0)
    outside, planted = tmp_path / "outside", tmp_path / "b" / "run" / link
    planted.parent.mkdir(parents=True, exist_ok=True)
    outside.mkdir()
    (outside / "precious").write_text("years")
    planted.unlink(missing_ok=True)
    planted.symlink_to(outside / "precious" if "." in link else outside)
    with pytest.raises(UserError, match="a link; nothing in a run directory may lead out of it"):
        machine(tmp_path, store, "b").__enter__()
    assert [path.read_text() for path in outside.iterdir()] == ["years"]


def test_a_storage_brings_no_more_than_the_books_and_the_trials(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")) as run:
        do_trial(run, 0)
    (store / "run" / "trials" / "no uid").mkdir(parents=True)
    for name in ("lock", "ray.log", "run.sh", "trials/no uid/result.json", "trials/file", "more/file"):
        (store / "run" / name).parent.mkdir(exist_ok=True)
        (store / "run" / name).write_text("planted")
    with driving(machine(tmp_path, store, "b")) as run:
        pass
    assert set(content(run.path)) == {"config.yaml", "manifest.json", "study.journal", "trials.jsonl"}
    assert not (run.path / "more").exists()
    assert not (run.path / "trials").exists()
    assert not (run.path / "lock").exists() or (run.path / "lock").read_text() != "planted"


def test_books_without_end_are_refused_before_they_are_brought(tmp_path: Path, store: Path) -> None:
    with driving(machine(tmp_path, store, "a")):
        pass
    with (store / "run" / "study.journal").open("wb") as journal:
        journal.truncate(2**29 + 1)
    with pytest.raises(UserError, match=r"run/study\.journal: larger than 512 MiB"):
        machine(tmp_path, store, "b").plan(print)


@pytest.mark.parametrize("operation", ["sizes", "download"])
def test_a_plan_does_not_wait_for_a_storage_that_does_not_answer(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    with driving(machine(tmp_path, store, "a")):
        pass
    os.mkfifo(tmp_path / "pipe")  # opening it waits for ever, as a server that is gone makes one do
    monkeypatch.setattr(run_mirror, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(run_mirror, "_BOOK_SECONDS", 0.5)
    mirror = machine(tmp_path, store, "b")

    def hang(*args: object, **options: object) -> None:
        (tmp_path / "pipe").read_bytes()

    monkeypatch.setattr(mirror.storage, operation, hang)
    with pytest.raises(UserError, match=r"cannot use .*: no answer within 0\.5 s"):
        mirror.plan(print)
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


@pytest.mark.parametrize("large", ["study.journal", "trials/p0000-s0/curve.csv"])
def test_a_full_disk_here_is_not_blamed_on_the_storage(
    tmp_path: Path, store: Path, small_disk: Path, large: str
) -> None:
    first = machine(tmp_path, store, "a")
    with driving(first) as run:
        first.trial("p0000-s0").begin({})
        do_trial(run, 0)
    (store / "run" / large).write_text("{}\n" * 50_000)
    with pytest.raises(StorageFault, match=f"^{small_disk}/.*: No space left on device; free some and run the same"):
        RunMirror(str(store), small_disk / "run").__enter__()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    with driving(RunMirror(str(store), small_disk / "run")) as run:
        assert uids(run) == ["p0000-s0"]
        assert (run.path / large).stat().st_size == 150_000

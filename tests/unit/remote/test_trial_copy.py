"""A trial that moves from machine to machine by way of a storage."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from mortal_storage import Killed, MortalStorage

from raynas_snn.core.errors import UserError
from raynas_snn.core.files import read_json, write_json
from raynas_snn.remote import trial_copy
from raynas_snn.remote.storage import Storage
from raynas_snn.remote.trial_copy import AttemptLostError, TrialCopy
from raynas_snn.run.run_dir import RunDir

UID = "p0000-s0"
SETTINGS = {"uid": UID}


@dataclass
class Machine:
    """One that works on the trial in a directory of its own."""

    run: RunDir
    storage: Storage

    def copy(self) -> TrialCopy:
        return TrialCopy(self.storage, self.run, UID)

    @property
    def folder(self) -> Path:
        return self.run.trial(UID).path

    def train(self, copy: TrialCopy | None, *epochs: int) -> list[dict]:
        """Does what a trial does: a checkpoint, with the one before, then the curve; None does not send."""
        rows = []
        for epoch in epochs:
            folder = self.run.trial(UID).create()
            folder.checkpoint.mkdir(exist_ok=True)
            last = folder.checkpoint / "last.pt"
            if last.exists():
                last.replace(folder.checkpoint / "before.pt")
            last.write_text(f"state {epoch}")
            folder.append_curve({"epoch": epoch})
            events = self.run.tb / UID
            events.mkdir(parents=True, exist_ok=True)
            (events / "events").write_text("." * epoch)
            if copy is not None:
                rows.append(copy.after_epoch({"epoch": epoch}))
        return rows

    def state(self) -> str:
        path = self.folder / "checkpoint" / "last.pt"
        return path.read_text() if path.exists() else "none"

    def epochs(self) -> list[object]:
        return [row["epoch"] for row in self.run.trial(UID).read_curve()]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "store" / "run"


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Machine, Machine]:
    storage = Storage(str(tmp_path / "store")).folder("run")
    return Machine(RunDir(tmp_path / "a" / "run"), storage), Machine(RunDir(tmp_path / "b" / "run"), storage)


def begin(machine: Machine) -> TrialCopy:
    copy = machine.copy()
    copy.begin(SETTINGS)
    return copy


def test_another_machine_goes_on_where_the_first_was_lost(machines: tuple[Machine, Machine], there: Path) -> None:
    a, b = machines
    a.train(begin(a), 1, 2, 3)
    shutil.rmtree(a.run.path)
    copy = begin(b)
    assert (b.state(), b.epochs()) == ("state 3", [1, 2, 3])
    assert (b.folder / "checkpoint" / "before.pt").read_text() == "state 2"
    assert (b.run.tb / UID / "events").read_text() == "..."
    b.train(copy, 4)
    assert (there / "trials" / UID / "checkpoint" / "last.pt").read_text() == "state 4"
    assert (there / "trials" / UID / "checkpoint" / "before.pt").read_text() == "state 3"


def test_what_was_not_sent_is_kept_only_if_nobody_else_has_begun_since(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    a.train(begin(a), 1)
    a.train(None, 2, 3)  # was not sent before the process died
    begin(a)
    assert a.state() == "state 3"
    a.train(None, 4)
    copy = begin(b)
    assert (b.state(), b.epochs()) == ("state 3", [1, 2, 3])
    b.train(copy, 4, 5)
    (a.folder / "checkpoint" / "of no use").touch()
    begin(a)
    assert (a.state(), a.epochs()) == ("state 5", [1, 2, 3, 4, 5])
    assert not (a.folder / "checkpoint" / "of no use").exists()


def test_the_other_workers_go_on_from_the_first_ones_files(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    b.train(begin(b), 1, 2)
    b.train(None, 3)  # its first worker was here once, and further
    a.train(begin(a), 3)
    begin(a)
    b.copy().follow()
    assert (b.state(), b.epochs()) == ("state 3", [1, 2, 3])
    assert (b.folder / "checkpoint" / "before.pt").read_text() == "state 2"
    a.train(None, 4)
    a.copy().follow()  # in the same folder: the first worker's files stay
    assert a.state() == "state 4"
    a.train(begin(a), 5)
    begin(b)  # what `follow` has left here is not taken for an attempt of this machine
    assert b.state() == "state 5"


def test_an_attempt_that_was_given_up_cannot_spoil_the_next(machines: tuple[Machine, Machine], there: Path) -> None:
    a, b = machines
    lost = begin(a)
    a.train(lost, 1)
    begin(b)
    with pytest.raises(AttemptLostError, match="another attempt at this trial has begun"):
        a.train(lost, 2)
    lost.try_send()
    assert (there / "trials" / UID / "checkpoint" / "last.pt").read_text() == "state 1"


def test_a_folder_that_was_removed_under_a_trial_spoils_nothing(machines: tuple[Machine, Machine], there: Path) -> None:
    a, _ = machines
    copy = begin(a)
    a.train(copy, 1, 2)
    shutil.rmtree(a.folder)
    with pytest.raises(AttemptLostError, match="was removed or replaced while the trial ran"):
        a.train(copy, 3)
    assert (there / "trials" / UID / "curve.csv").read_text() == "epoch\n1\n2\n"


def test_the_driver_gets_everything_but_the_checkpoint(machines: tuple[Machine, Machine]) -> None:
    a, driver = machines
    write_json(driver.run.trial(UID).create().config, SETTINGS)
    driver.copy().announce()
    write_json(driver.run.trial(UID).result, {"epochs": 9})  # of an earlier attempt
    (driver.folder / "error.txt").write_text("of an earlier attempt")
    copy = begin(a)
    a.train(copy, 1, 2)
    driver.copy().fetch()
    assert driver.epochs() == [1, 2]
    assert not (driver.folder / "result.json").exists()
    assert not (driver.folder / "error.txt").exists()
    write_json(a.folder / "result.json", {"epochs": 2})
    copy.finish()
    driver.copy().fetch()
    assert driver.run.trial(UID).read_result() == {"epochs": 2}
    assert read_json(driver.run.trial(UID).config) == SETTINGS
    assert driver.state() == "none"
    begin(driver)  # knows that this was no attempt of its own
    assert driver.state() == "state 2"
    assert not (driver.folder / "result.json").exists()


def test_a_result_counts_when_the_storage_has_it(machines: tuple[Machine, Machine]) -> None:
    a, _ = machines
    copy = begin(a)
    a.train(copy, 1)
    a.train(None, 2)
    write_json(a.folder / "result.json", {"epochs": 2})
    a.copy().refresh(a.storage.sizes("trials"), has_ended=False)
    assert not (a.folder / "result.json").exists()  # the trial is given out again, and goes on from here
    assert (a.state(), a.epochs()) == ("state 2", [1, 2])
    write_json(a.folder / "result.json", {"epochs": 2})
    copy.finish()
    a.copy().refresh(a.storage.sizes("trials"), has_ended=False)
    assert a.run.trial(UID).read_result() == {"epochs": 2}


def test_a_storage_that_is_gone_for_a_while_costs_nothing(
    machines: tuple[Machine, Machine], there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_copy, "_PATIENCE_SECONDS", 0)
    a, b = machines
    copy = begin(a)
    there.rename(there.with_name("away"))
    there.write_text("no folder")
    rows = a.train(copy, 1, 2)
    assert all(row["warning"].startswith(f"not yet sent to {a.storage}: ") for row in rows)
    assert copy.after_epoch({"epoch": 2, "warning": "hot"})["warning"].startswith("hot; not yet sent to ")
    there.unlink()
    there.with_name("away").rename(there)
    assert a.train(copy, 3) == [{"epoch": 3}]
    begin(b)
    assert (b.state(), b.epochs()) == ("state 3", [1, 2, 3])


@pytest.mark.parametrize("link", ["tb", "tb/p0000-s0", "trials", "trials/p0000-s0", "trials/p0000-s0/more"])
def test_what_is_brought_does_not_go_through_links(
    machines: tuple[Machine, Machine], tmp_path: Path, link: str
) -> None:
    a, b = machines
    a.train(None, 1)
    (a.folder / "more").mkdir()
    (a.folder / "more" / "file").write_text("data")
    begin(a)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("years")
    (b.run.path / link).parent.mkdir(parents=True)
    (b.run.path / link).symlink_to(outside)
    for bring in (b.copy().follow, b.copy().fetch):
        with pytest.raises(UserError, match="a link; nothing in a run directory may lead out of it"):
            bring()
    assert [path.name for path in outside.rglob("*") if path.is_file()] == ["precious"]


def test_files_without_end_are_refused_before_they_are_brought(machines: tuple[Machine, Machine], there: Path) -> None:
    a, b = machines
    a.train(begin(a), 1)
    with (there / "trials" / UID / "curve.csv").open("wb") as curve:
        curve.truncate(2**29 + 1)
    with pytest.raises(OSError, match=r"curve\.csv: larger than 512 MiB"):
        b.copy().fetch()
    (there / "trials" / UID / "attempt.json").write_text(" " * 2**20)
    with pytest.raises(OSError, match=r"attempt\.json: larger than 16 KiB"):
        b.copy().fetch()


def test_half_written_files_are_not_sent(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    a.train(None, 1)
    (a.folder / "checkpoint" / "last.pt.77.tmp").write_text("half")
    (a.folder / ".curve.csv.77.tmp").write_text("half")
    begin(a)
    begin(b)
    assert sorted(path.name for path in b.folder.rglob("*") if path.is_file()) == sorted(
        ["attempt.json", "config.json", "curve.csv", "last.pt"]
    )


def test_a_trial_survives_a_kill_between_any_two_operations(tmp_path: Path) -> None:
    life, done = 0, False
    while not done:
        root = tmp_path / str(life)
        url = str(root / "store")
        mortal = Machine(RunDir(root / "a" / "run"), MortalStorage(url, life).folder("run"))
        try:
            mortal.train(begin(mortal), 1, 2, 3)
            done = True
        except Killed:
            shutil.rmtree(mortal.run.path, ignore_errors=True)
        for life_of_next in (life % 9, 1000):  # the next machine may die as well, in the middle of its start
            b = Machine(RunDir(root / "b" / "run"), MortalStorage(url, life_of_next).folder("run"))
            try:
                begin(b)
            except Killed:
                continue
            state, epochs = b.state(), b.epochs()
            before = b.folder / "checkpoint" / "before.pt"
            assert epochs == list(range(1, len(epochs) + 1))
            assert state in {f"state {len(epochs)}", f"state {len(epochs) + 1}"} if state != "none" else not epochs
            if before.exists():
                assert before.read_text() in {state, f"state {int(state[-1]) - 1}"}
        life += 1
    assert life > 10

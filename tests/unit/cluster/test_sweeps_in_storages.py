"""What a sweep with a storage does when the storage fails it."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ledgers import sampled, start
from rich.console import Console

from raynas_snn.cluster.driver.callbacks import Bookkeeper
from raynas_snn.cluster.driver.display import LineDisplay
from raynas_snn.cluster.driver.interruption import Interruption
from raynas_snn.cluster.driver.poll import Poll
from raynas_snn.cluster.driver.progress import SweepProgress
from raynas_snn.cluster.driver.searcher import LedgerSearcher
from raynas_snn.cluster.trial.storage_session import STORAGE, send_failure, stored
from raynas_snn.core.errors import StorageFault
from raynas_snn.core.files import write_json
from raynas_snn.remote import run_copy
from raynas_snn.remote.run_copy import RunCopy
from raynas_snn.remote.storage_lease import StorageLease
from raynas_snn.remote.trial_copy import TrialCopy
from raynas_snn.run.run_dir import RunDir

UID = "p0000-s0"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StorageLease, "settling_seconds", 0)
    monkeypatch.setattr(run_copy, "_PATIENCE_SECONDS", 0)


class Driver:
    """The driver of a sweep of two trials, with real books, and room for one trial at a time."""

    def __init__(self, copy: RunCopy) -> None:
        self.copy = copy
        ledger = start(sampled(2), copy.run.path)
        self.ledger = ledger
        copy.begin()
        progress = SweepProgress(ledger.num_trials)
        display = LineDisplay(progress, Console(file=io.StringIO()))
        capacity: Any = SimpleNamespace(trials=lambda: 1, cluster=SimpleNamespace(unplaced=()))
        poll = Poll(Interruption(), capacity, list, progress, display, copy.check)
        constants = {"run_dir": str(copy.run.path), "scratch": "none", STORAGE: copy.address}
        self.searcher = LedgerSearcher(ledger, constants, capacity, poll, copy)
        self.bookkeeper = Bookkeeper(ledger, progress, display, poll, copy)

    def start_trial(self) -> Any:
        """A trial that Tune has just started."""
        trial: Any = SimpleNamespace(config=self.searcher.suggest("one"), metric_analysis={}, metric_n_steps={})
        self.bookkeeper.on_trial_start(0, [trial], trial)
        return trial


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def driver(tmp_path: Path, store: Path) -> Iterator[Driver]:
    with RunCopy(str(store), tmp_path / "run").connected() as copy:
        yield Driver(copy)
        if store.is_file():
            connect(store)


def cut(store: Path) -> None:
    store.rename(store.with_name("away"))
    store.write_text("no folder")


def connect(store: Path) -> None:
    store.unlink()
    store.with_name("away").rename(store)


def test_the_storage_knows_of_a_trial_before_its_processes_start(driver: Driver, store: Path) -> None:
    result = driver.copy.run.trial(UID).create().result
    write_json(result, {"epochs": 1, "error": "of an earlier attempt"})
    assert driver.searcher.suggest("one")["trial"]
    settings = RunDir(store / "run").trial(UID).read_trial()
    assert settings is not None
    assert settings.uid == UID
    assert not result.exists()


def test_no_trial_is_given_out_while_the_storage_is_away(driver: Driver, store: Path) -> None:
    cut(store)
    assert driver.searcher.suggest("one") is None
    assert driver.searcher.suggest("two") is None
    connect(store)
    assert UID in driver.searcher.suggest("three")["trial"]


@pytest.mark.parametrize("end", ["on_trial_complete", "on_trial_error"])
def test_a_trial_whose_files_cannot_be_had_is_not_booked_and_the_sweep_ends(
    driver: Driver, store: Path, end: str
) -> None:
    trial = driver.start_trial()
    cut(store)
    getattr(driver.bookkeeper, end)(0, [trial], trial)
    assert not driver.ledger.records
    with pytest.raises(StorageFault, match=f"cannot read what trial {UID} has found"):
        driver.bookkeeper.on_step_begin(1, [])


def test_a_result_that_lies_here_is_enough(driver: Driver, store: Path) -> None:
    trial = driver.start_trial()
    metrics = {"accuracy": 0.5, "spikes": 1.0}
    write_json(driver.copy.run.trial(UID).result, {"epochs": 1, "metrics": metrics})
    cut(store)
    driver.bookkeeper.on_trial_complete(0, [trial], trial)
    assert driver.ledger.records[UID].metrics == metrics


def test_what_was_found_elsewhere_is_booked(driver: Driver, tmp_path: Path) -> None:
    trial = driver.start_trial()
    elsewhere = {**trial.config, "run_dir": str(tmp_path / "elsewhere")}
    with stored(elsewhere, UID, print):
        write_json(RunDir(tmp_path / "elsewhere").trial(UID).result, {"epochs": 1, "metrics": {"accuracy": 0.5}})
    driver.bookkeeper.on_trial_complete(0, [trial], trial)
    assert driver.ledger.records[UID].metrics == {"accuracy": 0.5}


def test_what_the_driver_writes_of_a_dead_trial_is_sent(driver: Driver, store: Path) -> None:
    trial = driver.start_trial()
    trial.error_file = None
    driver.bookkeeper.on_trial_error(0, [trial], trial)
    assert driver.ledger.records[UID].end_reason == "failed"
    assert (store / "run" / "trials" / UID / "error.txt").is_file()


@pytest.mark.parametrize("other", ["at work", "done"])
def test_a_sweep_that_was_taken_over_ends_and_its_trials_send_nothing_more(
    tmp_path: Path, store: Path, other: str
) -> None:
    def drive() -> None:
        with RunCopy(str(store), tmp_path / "run").connected() as copy:
            driver = Driver(copy)
            trial = driver.start_trial()
            (store / "run" / "driver.json").unlink()
            with RunCopy(str(store), tmp_path / "elsewhere" / "run").connected() as new:
                TrialCopy(new.storage, new.run, UID, new.address[-1]).begin({})
                if other == "done":
                    (store / "run" / "driver.json").unlink()
                before = {name: new.storage.read(name) for name in new.storage.sizes("trials")}
                with pytest.raises(StorageFault, match="was taken over by"), stored(trial.config, UID, print):
                    pass
                write_json(copy.run.trial(UID).result, {"epochs": 0, "error": "why"})
                send_failure(trial.config, UID)
                assert {name: new.storage.read(name) for name in new.storage.sizes("trials")} == before
                assert not copy.try_send(anyway=True)
                for look in (lambda: driver.searcher.suggest("two"), lambda: driver.bookkeeper.on_step_begin(1, [])):
                    with pytest.raises(StorageFault, match="was taken over by"):
                        look()
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive()


def test_what_is_reported_is_in_the_storage(driver: Driver, store: Path) -> None:
    trial = driver.start_trial()
    folder, there = driver.copy.run.trial(UID), store / "run" / "trials" / UID
    reported = []

    def work() -> None:
        with stored(trial.config, UID, lambda _: reported.append((there / "curve.csv").read_text())) as report:
            folder.append_curve({"epoch": 1})
            report({"epoch": 1})
            (folder.path / "error.txt").write_text("why")
            raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        work()
    assert reported == ["epoch\n1\n"]
    assert (there / "error.txt").read_text() == "why"


def test_without_a_storage_nothing_is_different(tmp_path: Path) -> None:
    with stored({"run_dir": str(tmp_path / "run")}, UID, print) as report:
        assert report is print
    assert not list(tmp_path.iterdir())

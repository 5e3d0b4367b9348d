"""What a sweep with a storage does when the storage fails it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ledgers import sampled, start

from raynas_snn.cluster import mirroring
from raynas_snn.cluster.mirroring import Fetching, MirroringSearcher, mirrored, send_result
from raynas_snn.config import load_sweep
from raynas_snn.errors import StorageFault, UserError
from raynas_snn.results.claim import NOTE, Claim
from raynas_snn.results.files import write_json
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.run_mirror import RunMirror
from raynas_snn.results.storage import Storage
from raynas_snn.results.trial_mirror import TrialMirror


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raynas_snn.results.claim._SETTLING_SECONDS", 0)


@pytest.fixture
def trial(tmp_path: Path) -> SimpleNamespace:
    config = load_sweep(None, [], None).trial_config(0, 0, {"model.attention": "none"}, 0)
    storage = [str(tmp_path / "store"), "run", "claim"]
    return SimpleNamespace(
        config={"trial": config.model_dump_json(), "run_dir": str(tmp_path / "run"), "storage": storage}
    )


def test_a_trial_whose_files_cannot_be_had_is_not_booked_and_the_sweep_ends(
    tmp_path: Path, trial: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "_PATIENCE_SECONDS", 0)
    (tmp_path / "store").write_text("no folder")
    fetching = Fetching(RunMirror(str(tmp_path / "store"), tmp_path / "run"))
    fetching.on_step_begin(0, [])
    for booked in (fetching.on_trial_complete, fetching.on_trial_error):
        with pytest.raises(UserError, match="cannot read what trial p0000-s0 has found"):
            booked(0, [], trial)
    with pytest.raises(UserError, match="cannot read what trial p0000-s0 has found"):
        fetching.on_step_begin(1, [])


def test_a_result_that_lies_here_is_enough(
    tmp_path: Path, trial: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "_PATIENCE_SECONDS", 0)
    (tmp_path / "store").write_text("no folder")
    mirror = RunMirror(str(tmp_path / "store"), tmp_path / "run")
    write_json(mirror.run.trial("p0000-s0").create().result, {"epochs": 1, "metrics": {}})
    Fetching(mirror).on_trial_complete(0, [], trial)
    mirror.check()


def test_a_disk_here_that_does_not_take_what_a_trial_has_found_ends_the_sweep(
    tmp_path: Path, trial: SimpleNamespace
) -> None:
    TrialMirror(Storage(str(tmp_path / "store")).folder("run"), RunDir(tmp_path / "other"), "p0000-s0").begin({})
    fetching = Fetching(RunMirror(str(tmp_path / "store"), Path("/sys/run")))  # where nobody can make a folder
    for look in (lambda: fetching.on_trial_complete(0, [], trial), lambda: fetching.on_step_begin(1, [])):
        with pytest.raises(StorageFault, match=r"^/sys/run.*; mend that and run the same command again"):
            look()


def test_what_is_reported_is_in_the_storage(tmp_path: Path, trial: SimpleNamespace) -> None:
    trial.config["storage"][2] = Claim(Storage(str(tmp_path / "store")).folder("run"), print).facts["claim"]
    folder = RunMirror(trial.config["storage"][0], tmp_path / "run").run.trial("p0000-s0")
    there = tmp_path / "store" / "run" / "trials" / "p0000-s0"
    reported = []

    def report(row: dict) -> None:
        reported.append((there / "curve.csv").read_text())

    def work() -> None:
        with mirrored(trial.config, "p0000-s0", report) as report_too:
            folder.append_curve({"epoch": 1})
            report_too({"epoch": 1})
            (folder.path / "error.txt").write_text("why")
            raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        work()
    assert reported == ["epoch\n1\n"]
    assert (there / "error.txt").read_text() == "why"


@pytest.mark.parametrize("other", ["at work", "done"])
def test_a_worker_of_a_driver_that_was_taken_over_does_not_take_its_trial_back(
    tmp_path: Path, trial: SimpleNamespace, other: str
) -> None:
    mine, theirs = (RunDir(tmp_path / name) for name in ("run", "other"))
    storage = Storage(str(tmp_path / "store")).folder("run")
    trial.config["storage"][2] = Claim(storage, print).facts["claim"]
    storage.delete(NOTE)
    new = Claim(storage, print)  # has taken over
    TrialMirror(storage, theirs, "p0000-s0", new.facts["claim"]).begin({})
    if other == "done":
        new.release()
    before = {name: storage.read(name) for name in storage.files()}
    with pytest.raises(StorageFault, match="was taken over by"), mirrored(trial.config, "p0000-s0", print):
        pass
    write_json(mine.trial("p0000-s0").create().result, {"epochs": 0, "error": "why"})
    send_result(trial.config, "p0000-s0")
    assert {name: storage.read(name) for name in storage.files()} == before


def searcher_of(tmp_path: Path, mirror: RunMirror) -> MirroringSearcher:
    """With real books, and room for one trial; ``beats`` counts how often the sweep was looked after."""
    pulse: Any = SimpleNamespace(interruption=SimpleNamespace(has_come=False), beats=0)
    pulse.beat = lambda: setattr(pulse, "beats", pulse.beats + 1)
    capacity: Any = SimpleNamespace(trials=lambda: 1)
    return MirroringSearcher(start(sampled(2), tmp_path / "run"), {}, capacity, pulse, mirror)


def test_a_sweep_can_be_ended_while_a_proposal_waits_for_the_storage(tmp_path: Path) -> None:
    with RunMirror(str(tmp_path / "store"), tmp_path / "run") as mirror:
        searcher = searcher_of(tmp_path, mirror)
        (tmp_path / "store").rename(tmp_path / "away")
        (tmp_path / "store").write_text("no folder")
        assert searcher.suggest("one") is None
        before = searcher._pulse.beats
        assert searcher.suggest("two") is None
        assert searcher._pulse.beats > before
        (tmp_path / "store").unlink()
        (tmp_path / "away").rename(tmp_path / "store")
        searcher._pulse.interruption.has_come = True
        assert searcher.suggest("three") is None
        searcher._pulse.interruption.has_come = False
        assert "p0000-s0" in searcher.suggest("four")["trial"]
        searcher.on_trial_complete("four")
        mirror.fail("taken over")
        with pytest.raises(StorageFault, match="taken over"):
            searcher.suggest("five")


def test_the_result_of_an_earlier_attempt_is_not_booked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "_PATIENCE_SECONDS", 0)
    mirror = RunMirror(str(tmp_path / "store"), tmp_path / "run")
    with mirror:
        searcher = searcher_of(tmp_path, mirror)
        write_json(mirror.run.trial("p0000-s0").create().result, {"epochs": 1, "error": "of an earlier attempt"})
        given_out = SimpleNamespace(config=searcher.suggest("one"))
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").write_text("no folder")
    with pytest.raises(UserError, match="cannot read what trial p0000-s0 has found"):
        Fetching(mirror).on_trial_complete(0, [], given_out)


def test_without_a_storage_nothing_is_different(tmp_path: Path) -> None:
    with mirrored({"run_dir": str(tmp_path / "run")}, "p0000-s0", print) as report:
        assert report is print
    assert not list(tmp_path.iterdir())

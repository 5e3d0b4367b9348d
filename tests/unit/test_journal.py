"""The journal garbled, torn, gone or on a full disk: real Optuna, real files, a real full disk, no Ray."""

import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import (
    SAMPLERS,
    TWO_OBJECTIVES,
    give_out,
    lines,
    outer,
    result,
    run_all,
    sampled,
    start,
    study_trials,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from raynas_snn.cluster.ledger import Ledger
from raynas_snn.config import Sweep, load_sweep
from raynas_snn.errors import StorageFault, UserError
from raynas_snn.results.files import write_json
from raynas_snn.results.run_dir import RunDir

GRID = ("trial=fake", "model.num_steps={choice: [1, 2]}", "sweep.num_seeds=1")  # on top of three kinds of attention
WAY_OUT = "move it away and run the same command: the proposals are then rebuilt from trials.jsonl"


@pytest.fixture(autouse=True)
def quiet_optuna() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(verbosity)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def of_another_study(path: Path) -> None:
    path.unlink()
    optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="theirs")


def of_other_objectives(path: Path) -> None:
    path.write_bytes(run_all(sampled(2, TWO_OBJECTIVES), path.parent.parent / "other").run.journal.read_bytes())


def of_other_parameters(path: Path) -> None:
    path.write_bytes(run_all(sampled(2), path.parent.parent / "other").run.journal.read_bytes())


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def line(number: int, text: bytes) -> object:
    def replace(path: Path) -> None:
        whole = path.read_bytes().splitlines(keepends=True)
        whole[number - 1] = text
        path.write_bytes(b"".join(whole))

    return replace


def half_zero(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def without_line(number: int) -> object:
    return line(number, b"")


@pytest.mark.parametrize(
    ("garble", "message"),
    [
        (line(9, b'{"op_code": 5, "trial_\n'), "study.journal, line 9: not JSON"),
        (line(9, b"\xff\xfe\x00\x01\n"), "study.journal, line 9: not JSON"),
        (line(9, b"\n"), "study.journal, line 9: not JSON"),
        (line(9, b"[" * 10**5 + b"\n"), "study.journal, line 9: not JSON"),
        (line(9, b'{"colour": "green"}\n'), "study.journal, line 9: not an operation that Optuna knows"),
        (line(9, b"[]\n"), "study.journal, line 9: not an operation that Optuna knows"),
        (line(9, b'{"op_code": 99, "worker_id": "x"}\n'), "study.journal, line 9: not an operation that Optuna knows"),
        (line(9, b'{"op_code": 5, "worker_id": "x"}\n'), "study.journal, line 9: not an operation that Optuna knows"),
        (without_line(1), "study.journal, line 1: not an operation that Optuna knows"),
        (without_line(2), "study.journal: its proposal 0 is .* was asked for"),
        (half_zero, "study.journal, line"),
        (lambda path: path.write_bytes(random.Random(0).randbytes(5000)), "study.journal, line"),
        (a_folder, "study.journal: Is a directory"),
        (a_pipe, "study.journal: not a regular file"),
        (of_another_study, "study.journal: holds another study"),
        (of_other_objectives, "study.journal: the study of another sweep: it is to maximize and minimize"),
        (of_other_parameters, "study.journal: its proposal 0 is none of this sweep: "),
    ],
)
def test_a_garbled_journal_is_one_line_with_the_way_out_and_stays_as_it_is(tmp_path, garble, message):
    sweep, path = load_sweep(None, GRID), tmp_path / "run"
    ledger = start(sweep, path)
    for _ in range(3):
        ledger.finish(trial := give_out(ledger), result(trial))
    done = lines(path)
    garble(ledger.run.journal)
    before = contents(path)
    with pytest.raises(UserError, match=message) as raised:
        Ledger(sweep, ledger.run)
    assert WAY_OUT in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert contents(path) == before
    ledger.run.journal.rename(tmp_path / "away")
    again = run_all(sweep, path)
    assert lines(path)[:3] == done
    assert [dict(record.outer) for record in again.records.values()] == sweep.grid()


@pytest.mark.parametrize("overrides", [GRID, *SAMPLERS])
def test_a_journal_that_is_gone_is_rebuilt_from_the_trials(tmp_path, overrides):
    sweep = load_sweep(None, GRID) if overrides is GRID else sampled(10, *overrides)
    num_trials = sweep.num_proposals()
    whole = run_all(sweep, tmp_path / "whole")
    ledger = start(sweep, tmp_path / "run")
    trials = [give_out(ledger) for _ in range(num_trials - 1)]
    for trial in trials[:3]:
        ledger.finish(trial, result(trial))
    ledger.run.trial(trials[3].uid).config.unlink()  # asked for, and not begun when the driver died
    before, told = lines(tmp_path / "run"), study_trials(ledger)
    ledger.run.journal.unlink()
    again = start(sweep, tmp_path / "run")
    assert again.notes == [
        f"study.journal was missing or incomplete: {num_trials - 2} proposals rebuilt from the trials"
    ]
    for old, new in zip(told[:3], study_trials(again), strict=False):
        assert (new.number, new.params, new.state, new.values) == (old.number, old.params, old.state, old.values)
        assert (new.constraints, new.user_attrs) == (old.constraints, old.user_attrs)
    again = run_all(sweep, tmp_path / "run")
    assert lines(tmp_path / "run")[:3] == before
    assert sorted(again.records) == sorted(whole.records)
    assert len(lines(tmp_path / "run")) == num_trials
    for trial in trials:
        if trial.uid != trials[3].uid or sweep.config.sweep.sampler in ("grid", "random"):
            assert outer(again)[trial.uid] == trial.outer
    assert not again.notes
    assert {trial.state for trial in study_trials(again)} == {TrialState.COMPLETE}


def test_a_grid_that_was_cut_short_while_its_journal_was_gone_still_makes_each_point_once(tmp_path):
    sweep, fewer = load_sweep(None, GRID), load_sweep(None, (*GRID, "sweep.num_trials=2"))
    ledger = start(sweep, tmp_path / "run")
    trials = [give_out(ledger) for _ in range(5)]
    for trial in (trials[0], trials[4]):
        ledger.finish(trial, result(trial))
    ledger.run.trial(trials[2].uid).config.unlink()
    ledger.run.journal.unlink()
    assert sorted(run_all(fewer, tmp_path / "run").records) == ["p0000-s0", "p0001-s0", "p0004-s0"]
    records = run_all(sweep, tmp_path / "run").records
    assert sorted(str(record.outer) for record in records.values()) == sorted(map(str, sweep.grid()))
    assert len(lines(tmp_path / "run")) == 6
    assert all(records[trial.uid].outer == trial.outer for trial in trials)


def test_a_journal_without_the_lessons_of_its_sweep_is_refused(tmp_path):
    run_all(sampled(5), tmp_path / "earlier")
    path = run_all(sampled(4, "sweep.sampler=tpe"), tmp_path / "run").run.path
    before = contents(path)
    warm = sampled(4, "sweep.sampler=tpe", f"sweep.warm_start={tmp_path / 'earlier'}")
    with pytest.raises(
        UserError, match=r"study\.journal: has proposals in front of what is to be learned from .*earlier"
    ):
        Ledger(warm, RunDir(path))
    assert contents(path) == before


def test_lessons_come_first_again_when_a_journal_is_rebuilt(tmp_path):
    run_all(sampled(5), tmp_path / "earlier")
    warm = sampled(
        4, "sweep.sampler=tpe", f"sweep.warm_start={tmp_path / 'earlier'}", "sweep.points=[{model.decay: 0.3}]"
    )
    ledger = run_all(warm, tmp_path / "run")
    told = study_trials(ledger)
    ledger.run.journal.unlink()
    rebuilt = study_trials(start(warm, tmp_path / "run"))
    assert [(trial.params, trial.values, trial.user_attrs) for trial in rebuilt] == [
        (trial.params, trial.values, trial.user_attrs) for trial in told
    ]
    ledger.run.journal.unlink()
    (tmp_path / "earlier").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"sweep\.warm_start: .*earlier: no such directory"):
        start(warm, tmp_path / "run")


@pytest.mark.parametrize("name", ["trials.jsonl", "config.yaml"])
@pytest.mark.parametrize("data", [b"\xff\xfe\n", b"{]\n", b"\0" * 100 + b"\n", b"[]\n", b"5\n"])
def test_a_garbled_run_to_learn_from_is_one_line_that_names_the_file(tmp_path, name, data):
    run_all(sampled(2), tmp_path / "earlier")
    (tmp_path / "earlier" / name).write_bytes(data)
    warm = sampled(2, "sweep.sampler=tpe", f"sweep.warm_start={tmp_path / 'earlier'}")
    with pytest.raises(UserError, match=rf"sweep\.warm_start: .*{name}") as raised:
        start(warm, tmp_path / "run")
    assert len(str(raised.value).splitlines()) == 1


def test_a_trial_whose_settings_are_garbled_is_in_the_way_only_if_nothing_else_knows_it(tmp_path):
    sweep = sampled(3)
    ledger = start(sweep, tmp_path / "run")
    trial = give_out(ledger)
    ledger.run.trial(trial.uid).config.write_text("{")
    again = start(sweep, tmp_path / "run").next_trial()
    assert again.outer == trial.outer
    ledger.run.journal.unlink()
    before = contents(tmp_path / "run" / "trials")
    with pytest.raises(UserError, match=r"p0000-s0/config\.json: not JSON: .*; remove the folder to start this trial"):
        start(sweep, tmp_path / "run")
    assert contents(tmp_path / "run" / "trials") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outer": {"model.decay": 5.0, "model.v_th": 1.0}}, "this sweep does not make such a proposal"),
        ({"outer": {"model.decay": 0.5}}, "this sweep does not make such a proposal"),
        ({"outer": {"model.decay": 0.5, "model.v_th": 1.0}}, "its trials were made by"),
        ({"proposal": 7}, "of another proposal than 7"),
        ({"uid": "mine"}, "no trial of a sweep"),
        ({"uid": "p900000-s0", "proposal": 900_000}, "this sweep makes 100000 at most"),
    ],
)
def test_a_record_that_contradicts_the_journal_is_one_line(tmp_path, change, message):
    sweep = sampled(2, "model.attention=none")
    ledger = run_all(sweep, tmp_path / "run")
    record, other = lines(tmp_path / "run")
    (tmp_path / "run" / "trials.jsonl").write_text(f"{json.dumps({**json.loads(record), **change})}\n{other}\n")
    before = contents(tmp_path / "run")
    with pytest.raises(UserError, match=message):
        Ledger(sweep, ledger.run)
    assert contents(tmp_path / "run") == before


SMALL: dict[str, Sweep] = {
    "grid": load_sweep(None, GRID),
    "random": sampled(4, "sweep.sampler=random", "sweep.points=[{model.decay: 0.5}, {model.decay: 0.6}]"),
    "tpe": sampled(4, "sweep.sampler=tpe"),
    "nsga2": sampled(6, "sweep.sampler=nsga2", "sweep.population_size=2", TWO_OBJECTIVES),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> dict[str, Path]:
    """One run of each sampler, as a driver leaves it that was killed with one trial under way."""
    paths = {}
    for name, sweep in SMALL.items():
        path = paths[name] = tmp_path_factory.mktemp("finished") / name
        ledger = start(sweep, path)
        for _ in range(sweep.num_proposals() - 1):
            ledger.finish(trial := give_out(ledger), result(trial))
        give_out(ledger)
    return paths


def check_right(sweep: Sweep, path: Path, before: dict[str, bytes]) -> None:
    """Every planned trial is there once, those that had ended as they were, and Optuna knows them all."""
    ledger = run_all(sweep, path)
    assert len(lines(path)) == len(ledger.records) == sweep.num_proposals()
    assert (path / "trials.jsonl").read_bytes().startswith(before["trials.jsonl"])
    under_way = json.loads(before[f"trials/p{sweep.num_proposals() - 1:04d}-s0/config.json"])
    assert ledger.records[under_way["uid"]].outer == under_way["outer"]
    if sweep.config.sweep.sampler == "grid":
        assert len({frozenset(record.outer.items()) for record in ledger.records.values()}) == sweep.num_proposals()
    trials = study_trials(ledger)
    assert [trial.params for trial in trials] == [ledger.records[f"p{n:04d}-s0"].outer for n in range(len(trials))]
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert run_all(sweep, path).num_missing == 0
    assert len(lines(path)) == sweep.num_proposals()


def copy_of(path: Path, into: Path) -> Path:
    for name, data in contents(path).items():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).write_bytes(data)
    return into


@pytest.mark.parametrize("sampler", SMALL)
@settings(max_examples=8, deadline=None)
@given(share=st.floats(0, 1), whole_line=st.booleans())
def test_wherever_a_journal_ends_the_run_is_completed_and_nothing_runs_twice(
    tmp_path_factory, finished, sampler, share, whole_line
):
    path = copy_of(finished[sampler], tmp_path_factory.mktemp("cut"))
    before = contents(path)
    data = before["study.journal"][: round(share * len(before["study.journal"]))]
    (path / "study.journal").write_bytes(data[: data.rfind(b"\n") + 1] if whole_line else data)
    check_right(SMALL[sampler], path, before)


@pytest.mark.parametrize("sampler", SMALL)
@settings(max_examples=8, deadline=None)
@given(share=st.floats(0, 1), patch=st.binary(min_size=1, max_size=12) | st.text("0123456789", min_size=1, max_size=2))
def test_a_garbled_stretch_of_a_journal_is_refused_or_harmless(tmp_path_factory, finished, sampler, share, patch):
    path = copy_of(finished[sampler], tmp_path_factory.mktemp("garbled"))
    before = contents(path)
    data, patch = before["study.journal"], patch.encode() if isinstance(patch, str) else patch
    at = round(share * (len(data) - len(patch)))
    (path / "study.journal").write_bytes(data[:at] + patch + data[at + len(patch) :])
    garbled = contents(path)
    refusal = ""
    try:
        start(SMALL[sampler], path)
    except UserError as error:
        refusal = str(error)
    if refusal:
        assert "study.journal" in refusal
        assert contents(path) == garbled
        (path / "study.journal").unlink()
    check_right(SMALL[sampler], path, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a file system of a given size cannot be made here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_journal_that_met_a_full_disk_is_continued_once_there_is_room(small_disk):
    sweep, path = sampled(40), small_disk / "run"
    with pytest.raises(StorageFault, match="No space left on device"):
        run_all(sweep, path)
    for _ in range(2):  # again, with what was left in memory lost
        with pytest.raises(StorageFault, match="No space left on device"):
            run_all(sweep, path)
    done = lines(path)
    assert 0 < len(done) < 40
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    ledger = run_all(sweep, path)
    assert lines(path)[: len(done)] == done
    assert len(lines(path)) == len(ledger.records) == 40
    assert {trial.state for trial in study_trials(ledger)} == {TrialState.COMPLETE}


def test_a_rebuilding_that_fails_half_way_leaves_the_old_journal(tmp_path, monkeypatch):
    sweep = sampled(4)
    ledger = run_all(sweep, tmp_path / "run")
    data = ledger.run.journal.read_bytes()
    ledger.run.journal.write_bytes(data[: data.rfind(b"\n", 0, len(data) // 2) + 1])
    before = contents(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StorageFault, match="No space"):
            Ledger(sweep, ledger.run)
    assert contents(tmp_path / "run") == before
    assert len(run_all(sweep, tmp_path / "run").records) == 4


def test_what_a_killed_rebuilding_leaves_behind_is_no_obstacle(tmp_path):
    sweep = sampled(3)
    ledger = start(sweep, tmp_path / "run")
    write_json(tmp_path / "run" / ".study.journal.0123.tmp", {"half": "written"})
    ledger.run.journal.unlink()
    assert len(run_all(sweep, tmp_path / "run").records) == 3

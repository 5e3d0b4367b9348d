"""``study.journal`` for optuna-dashboard: made anew whatever became of it. Real Optuna, a real full disk, no Ray."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gloo import SUPPORT
from ledgers import SAMPLERS, give_out, lines, outer, run_all, sampled, start, study_trials
from optuna.trial import TrialState

from raynas_snn.config import load_sweep
from raynas_snn.core.errors import StorageFault, UserError

GRID = ("trial=fake", "model.num_steps={choice: [1, 2]}", "sweep.num_seeds=1")  # on top of three kinds of attention


def test_it_holds_what_became_of_each_proposal_and_what_runs(tmp_path):
    sweep = sampled(5, "sweep.sampler=tpe", "sweep.num_seeds=2")
    ledger = start(sweep, tmp_path / "run")
    for end in ("finish", "fail", "stop", "stop", "fail", "fail"):
        trial = give_out(ledger)
        if end == "stop":
            ledger.book(trial, "early_stopped", 4, {"accuracy": 0.25})
        else:
            fine = {"epochs": 9, "metrics": {"accuracy": 0.75}}
            ledger.finish(trial, fine if end == "finish" else {"epochs": 1, "error": "out of memory"})
    give_out(ledger)
    for opened in (ledger, start(sweep, tmp_path / "run")):
        finished, stopped, failed, running = study_trials(opened)
        assert (finished.state, finished.value) == (TrialState.COMPLETE, 0.75)
        assert finished.user_attrs["p0000-s1"] == {"end_reason": "failed", "epochs": 1, "error": "out of memory"}
        assert (stopped.state, stopped.value, stopped.intermediate_values) == (TrialState.PRUNED, 0.25, {4: 0.25})
        assert (failed.state, running.state) == (TrialState.FAIL, TrialState.RUNNING)
        assert running.params == ledger.sweep.trial_config(3, 0, running.params).outer


@pytest.mark.parametrize("overrides", SAMPLERS)
@pytest.mark.parametrize("garble", ["gone", "torn", "nonsense", "another study"])
def test_whatever_became_of_it_it_is_made_anew(tmp_path, overrides, garble):
    sweep = sampled(8, *overrides)
    whole = run_all(sweep, tmp_path / "whole")
    ledger = run_all(sampled(6, *overrides), tmp_path / "run")
    done, before = lines(tmp_path / "run"), study_trials(ledger)
    journal = ledger.run.journal
    if garble == "gone":
        journal.unlink()
    elif garble == "another study":
        journal.write_bytes(run_all(load_sweep(None, GRID), tmp_path / "other").run.journal.read_bytes())
    else:
        journal.write_bytes(journal.read_bytes()[:-20] if garble == "torn" else b"\xff\0\n[" * 99)
    for old, new in zip(before, study_trials(start(sweep, tmp_path / "run")), strict=True):
        assert (new.params, new.state, new.values, new.user_attrs) == (
            old.params,
            old.state,
            old.values,
            old.user_attrs,
        )
    again = run_all(sweep, tmp_path / "run")
    assert lines(tmp_path / "run")[:6] == done
    assert outer(again) == outer(whole)


def test_a_folder_in_its_place_is_one_line(tmp_path):
    sweep = sampled(1)
    ledger = run_all(sweep, tmp_path / "run")
    ledger.run.journal.unlink()
    ledger.run.journal.mkdir()
    with pytest.raises(UserError, match=r"study\.journal: not a file, but in its place; remove it"):
        start(sweep, tmp_path / "run")


REWRITING = """
import sys
from pathlib import Path
from ledgers import Ledger, RunDir, sampled

while True:
    Ledger(sampled(40), RunDir(Path(sys.argv[1])))
    print("written", flush=True)
"""


def test_a_driver_that_is_killed_while_it_writes_it_leaves_a_whole_one(tmp_path):
    ledger = run_all(sampled(30), tmp_path / "run")
    for pause in (0.004, 0.013, 0.03):
        command = [sys.executable, "-c", REWRITING, str(tmp_path / "run")]
        process = subprocess.Popen(command, cwd=SUPPORT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        time.sleep(pause)
        process.kill()
        process.communicate()
        assert len(study_trials(ledger)) == 30
        assert start(sampled(31), tmp_path / "run").num_missing == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a file system of a given size cannot be made here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_run_that_met_a_full_disk_is_continued_once_there_is_room(small_disk):
    sweep, path = sampled(40), small_disk / "run"
    for _ in range(3):  # again, with what was left in memory lost
        with pytest.raises(StorageFault, match="No space left on device; free some and run the same command again"):
            run_all(sweep, path)
    done = lines(path)
    assert 0 < len(done) < 40
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    ledger = run_all(sweep, path)
    assert lines(path)[: len(done)] == done
    assert len(lines(path)) == len(ledger.records) == 40
    assert {trial.state for trial in study_trials(ledger)} == {TrialState.COMPLETE}

"""The run directory: made, found, locked, and readable whatever was killed when."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from closed import closed
from hypothesis import given
from hypothesis import strategies as st
from sweeps import sweep_of

from raynas_snn import report, status
from raynas_snn.config import load_sweep
from raynas_snn.config.superset import compare
from raynas_snn.config.yaml_text import parse
from raynas_snn.core.errors import EXIT_USAGE, UserError
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.plan import default_run_dir, make_plan

SWEEP = sweep_of(model={"decay": 1e-3, "attention": {"choice": ["none", "ct"]}})
CONFIG = SWEEP.resolved()


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "runs" / "x", CONFIG, {"python": "3.11"})


def record(uid: str = "p0000-s0", **changes: Any) -> TrialRecord:
    values: dict[str, Any] = {
        "uid": uid,
        "proposal": 0,
        "seed": 0,
        "outer": {"model.attention": "ct", "model.num_steps": 2, "model.detach_reset": True},
        "end_reason": "finished",
        "epochs": 3,
        "seconds": 1.5,
        "metrics": {"accuracy": 0.5},
    }
    return TrialRecord(**values | changes)


def start(code: str, run: RunDir) -> subprocess.Popen[str]:
    """Runs ``code`` in a process of its own, and waits until it says that it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


# Making and finding


def test_a_run_is_found_again(run: RunDir) -> None:
    again = RunDir.open(run.path)
    assert again == run
    assert (again.sweep().config, again.sweep().outer) == (SWEEP.config, SWEEP.outer)
    assert again.sweep().source == str(run.path / "config.yaml")
    assert again.manifest() == {"starts": [], "python": "3.11"}
    assert again.records() == []
    assert again.trials() == []
    assert again.holder() is None


@pytest.mark.parametrize("verb", [status.main, report.main])
@pytest.mark.parametrize("folder", ["x", "x/trials", "x/trials/p0000-s0"])
def test_the_run_of_another_user_is_one_line(run: RunDir, folder: str, verb, monkeypatch, capsys) -> None:
    run.trial("p0000-s0").create()
    for path in (run.path.parent, run.path, run.path / "trials"):
        path.chmod(0o755)
    monkeypatch.chdir(run.path.parent)
    with closed(Path(folder)):
        assert verb(["x"]) == EXIT_USAGE
    assert capsys.readouterr().err == f"error: {folder}: Permission denied\n"


def test_the_run_of_another_user_does_not_keep_a_sweep_from_starting(tmp_path: Path, monkeypatch) -> None:
    """Beside it, in a folder that both share."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    sweep = load_sweep(None, ["model.attention={choice: [none, ct]}"])
    run = RunDir.create(default_run_dir(sweep), sweep.resolved(), {})
    wider = load_sweep(None, ["model.attention={choice: [none, ct, ma]}"])
    assert len(make_plan(wider, default_run_dir(wider), "auto").notes) == 1
    with closed(run.path):
        assert not make_plan(wider, default_run_dir(wider), "auto").notes
        with pytest.raises(UserError, match=f"^{run.path}: Permission denied$"):
            make_plan(sweep, run.path, "auto")


def test_a_start_is_noted(run: RunDir) -> None:
    run.note_start("raynas sweep a.yaml", host="here")
    run.note_start("raynas sweep a.yaml")
    first, second = run.manifest()["starts"]
    assert (first["command"], first["host"]) == ("raynas sweep a.yaml", "here")
    assert first["started_at"] <= second["started_at"]
    assert run.manifest()["python"] == "3.11"


def test_the_config_can_be_replaced(run: RunDir) -> None:
    run.write_config(sweep_of(num_trials=7).resolved())
    assert run.sweep().config.sweep.num_trials == 7


def test_what_a_killed_create_leaves_is_no_obstacle(tmp_path: Path) -> None:
    for name in ("manifest.json", "lock", ".config.yaml.0123.tmp"):
        (tmp_path / name).write_text("{}")
    assert not RunDir.is_run(tmp_path)
    assert RunDir.create(tmp_path, CONFIG, {}).sweep().resolved() == CONFIG


def test_create_refuses_a_run_and_a_foreign_folder(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a run already"):
        RunDir.create(run.path, CONFIG, {})
    with pytest.raises(UserError, match="not a run; choose another"):
        RunDir.create(tmp_path, CONFIG, {})  # holds runs/
    with pytest.raises(UserError, match="not a directory"):
        RunDir.create(run.path / "config.yaml", CONFIG, {})
    with pytest.raises(UserError, match="cannot make a run directory"):
        RunDir.create(run.path / "config.yaml" / "below", CONFIG, {})


def test_open_says_what_is_wrong(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        RunDir.open(tmp_path / "missing")
    with pytest.raises(UserError, match="not a directory"):
        RunDir.open(run.path / "config.yaml")
    with pytest.raises(UserError, match="not a run directory"):
        RunDir.open(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1", "line 1"),
        ("a: 1\na: 2", "line 2, column 1: the key 'a' stands here a second time"),
        ("just text", "expected the settings of a sweep"),
        ("", "expected the settings of a sweep"),
        ("model: {}", "name: is missing"),
        ("name: x\nmodel: 3", "model: 3 is not allowed: must be 'key: value' lines"),
        ("name: x\nmodel: {decay: high}", "model.decay: 'high' is not allowed: must be a number between 0 and 1"),
        ("name: x\nmodel: {decay: {choice: []}}", "model.decay: choice must be a list of at least one value"),
        ("name: x\nmodel: {decay: {choice: [9]}}", "model.decay: 9 is not allowed: must be a number between 0 and 1"),
        ("name: x\ndata: {flip: {choice: [true]}}", "data.flip: cannot be varied"),
    ],
)
def test_a_garbled_config_is_one_line(run: RunDir, text: str, said: str) -> None:
    (run.path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(f"{run.path}/config.yaml: {said}")):
        run.sweep()


def test_a_config_of_another_version_is_read_without_what_it_alone_knows(run: RunDir) -> None:
    written = parse((run.path / "config.yaml").read_text())
    written["model"] |= {"attention": {"choice": ["gone.py:Attention", "ct"]}, "wings": 2, "beak": {"choice": [1, 2]}}
    written["model"]["attention_reduction"] = {"choice": [4, 8], "when": {"model.beak": 2}}
    written["nest"] = {"size": 3}
    del written["model"]["v_th"]
    run.write_config(written)
    sweep = run.sweep()
    assert [one.path for one in sweep.outer] == ["model.attention", "model.beak", "model.attention_reduction"]
    assert sweep.num_trials() == 6
    assert (sweep.config.model.v_th, sweep.config.model.attention.name) == (0.5, "gone.py:Attention")
    assert sweep.resolved()["model"].items() > written["model"].items(), "what is not known is not lost"
    assert sweep.resolved()["nest"] == {"size": 3}
    refused, _ = compare(sweep, sweep_of(model={"v_th": 0.5}))
    assert {"model.wings", "model.beak", "nest"} <= {line.split(":")[0] for line in refused}


@pytest.mark.parametrize("uid", ["", "..", "../x", "a/b", "/etc", "a b", "a\n", "é"])
def test_no_uid_leads_out_of_the_directory(run: RunDir, uid: str) -> None:
    with pytest.raises(UserError, match="uid"):
        run.trial(uid)


def test_trials_are_listed_by_uid(run: RunDir) -> None:
    for uid in ("p0001-s0", "p0000-s1"):
        run.trial(uid).create()
    (run.path / "trials" / "notes.txt").write_text("not a trial")
    (run.path / "trials" / ".hidden").mkdir()
    assert [trial.uid for trial in run.trials()] == ["p0000-s1", "p0001-s0"]


# Records


SCALARS = st.one_of(st.text(max_size=5), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))


@given(
    metrics=st.dictionaries(st.text(max_size=5), st.floats(), max_size=3),
    outer=st.dictionaries(st.text(max_size=5), SCALARS),
    error=st.none() | st.text(),
)
def test_a_record_is_one_line_and_reads_back(
    metrics: dict[str, float], outer: dict[str, str | bool | int | float], error: str | None
) -> None:
    original = record(metrics=metrics, outer=outer, error=error)
    line = original.to_line()
    assert line.isascii()
    assert line.isprintable()
    finite = {name: value for name, value in metrics.items() if original.metric(name) is not None}
    assert TrialRecord.from_line(line) == dataclasses.replace(original, metrics=finite)


def test_the_last_line_of_a_trial_counts(run: RunDir) -> None:
    run.append(record("p0000-s0", end_reason="failed", metrics={}, error="out of memory"))
    run.append(record("p0001-s0"))
    run.append(record("p0000-s0", metrics={"accuracy": 0.75}))
    assert [(one.uid, one.metric("accuracy")) for one in run.records()] == [("p0001-s0", 0.5), ("p0000-s0", 0.75)]


def test_a_torn_last_line_is_ignored_and_mended(run: RunDir) -> None:
    run.append(record("p0000-s0"))
    with (run.path / "trials.jsonl").open("a") as file:
        file.write(record("p0001-s0").to_line())  # whole but for its newline
    assert [one.uid for one in run.records()] == ["p0000-s0"]
    run.append(record("p0002-s0"))
    assert [one.uid for one in run.records()] == ["p0000-s0", "p0002-s0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": None}, "'seed' has the wrong type"),
        ({"seed": True}, "'seed' has the wrong type"),
        ({"end_reason": "vanished"}, "must be one of finished, failed, early_stopped"),
        ({"outer": {"model.decay": [1]}}, "plain values"),
        ({"metrics": {"accuracy": "high"}}, "numbers"),
    ],
)
def test_a_garbled_record_is_named_by_file_and_line(run: RunDir, change: dict[str, Any], message: str) -> None:
    run.append(record())
    with (run.path / "trials.jsonl").open("a") as file:
        file.write(json.dumps(json.loads(record().to_line()) | change) + "\n")
    with pytest.raises(UserError, match=rf"trials\.jsonl, line 2: .*{message}"):
        run.records()


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", "\x00\x00", "[" * 10**5])
def test_a_line_that_is_no_record_is_named(run: RunDir, line: str) -> None:
    (run.path / "trials.jsonl").write_text(f"{record().to_line()}\n{line}\n{record().to_line()}\n")
    with pytest.raises(UserError, match=r"trials\.jsonl, line 2: "):
        run.records()


def test_a_process_killed_while_it_appends_leaves_a_readable_file(run: RunDir) -> None:
    code = """
import sys
from pathlib import Path
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir
run = RunDir.open(Path(sys.argv[1]))
for number in range(10**6):
    run.append(TrialRecord(f"p{number}-s0", number, 0, {}, "finished", 1, 1.0, {"accuracy": 0.5}, "x" * 20_000))
    print("begun" if number == 0 else "", flush=True)
"""
    num_records = 0
    for _ in range(3):
        process = start(code, run)
        time.sleep(0.1)
        kill(process)
        num_lines = (run.path / "trials.jsonl").read_text().count("\n")
        assert num_lines > num_records
        num_records = num_lines
        assert {one.uid for one in run.records()} >= {"p0-s0"}


def test_a_driver_keeps_others_out(run: RunDir) -> None:
    with run.lock():
        holder = run.holder()
        assert holder is not None
        assert holder.pid == os.getpid()
        with pytest.raises(UserError, match=f"^{run.path}: another driver is at work here: process {os.getpid()} on "):
            run.lock().__enter__()
    assert run.holder() is None

"""The files of a run garbled, lost or outgrown, as users meet it: every start is a process, every sweep a real one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sweeper import Ended, Sweeper

pytestmark = pytest.mark.ray

NARROW: dict[str, Any] = {"trial": "fake", "model.attention": {"choice": ["none", "ct"]}, "sweep.num_seeds": 1}
WIDE = {**NARROW, "model.attention": {"choice": ["none", "ct", "ma"]}, "model.decay": {"choice": [0.2, 0.3]}}


@pytest.fixture(scope="module")
def finished(shared_sweeper: Sweeper) -> Path:
    ended = shared_sweeper.run("--run-dir", "run", settings=NARROW)
    assert ended.code == 0, ended.err
    return shared_sweeper.folder / "run"


def read(sweeper: Sweeper, verb: str) -> Ended:
    done = subprocess.run(
        [sys.executable, "-m", f"raynas_snn.{verb}", "run"],
        cwd=sweeper.folder,
        capture_output=True,
        text=True,
        env=sweeper.environment,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_a_garbled_export_and_a_torn_record_cost_nothing(finished: Path, shared_sweeper: Sweeper) -> None:
    before = shared_sweeper.records()
    (finished / "study.journal").write_bytes(b"\0garbled")
    records = (finished / "trials.jsonl").read_bytes()
    (finished / "trials.jsonl").write_bytes(records[:-20])
    assert "1 finished" in read(shared_sweeper, "status").out
    again = shared_sweeper.run("--run-dir", "run", settings=NARROW)
    assert again.code == 0, again.err
    assert again.out.splitlines()[0] == "Nothing to do: all 2 trials have ended."
    assert len(shared_sweeper.proposals()) == 2
    assert [{**record, "ended_at": ""} for record in shared_sweeper.records()] == [
        {**record, "ended_at": ""} for record in before
    ]


def test_a_garbled_record_is_one_line_and_is_left_alone(finished: Path, shared_sweeper: Sweeper) -> None:
    path = finished / "trials.jsonl"
    whole = path.read_bytes()
    first, *others = whole.splitlines(keepends=True)
    garbled = b"".join([first[:30] + b"\0\xff\n", *others])
    path.write_bytes(garbled)
    for verb in ("sweep", "status", "report"):
        run = verb == "sweep"
        ended = shared_sweeper.run("--run-dir", "run", settings=NARROW) if run else read(shared_sweeper, verb)
        assert ended.code == 2
        assert "trials.jsonl, line 1: " in ended.err
        assert len(ended.err.splitlines()) == 1
        assert path.read_bytes() == garbled
    path.write_bytes(whole)


def test_a_wider_sweep_runs_only_what_is_new(finished: Path, shared_sweeper: Sweeper) -> None:
    before = {record["uid"]: record for record in shared_sweeper.records()}
    dry = shared_sweeper.run("--run-dir", "run", "--dry-run", settings=WIDE)
    assert "wider: model.attention: {choice: ['none', 'ct']} -> {choice: ['none', 'ct', 'ma']}" in dry.out
    ended = shared_sweeper.run("--json", "--run-dir", "run", settings=WIDE)
    assert ended.code == 0, ended.err
    assert "wider: model.decay: 0.2 -> {choice: [0.2, 0.3]}" in ended.err
    assert (ended.json["num_trials"], ended.json["num_finished"], ended.json["num_run"]) == (6, 6, 4)
    after = {record["uid"]: record for record in shared_sweeper.records()}
    for uid, record in before.items():
        assert after[uid] == {**record, "outer": {**record["outer"], "model.decay": 0.2}}
    assert [tuple(after[f"p{number:04d}-s0"]["outer"].values()) for number in range(6)] == [
        ("none", 0.2),
        ("ct", 0.2),
        ("none", 0.3),
        ("ct", 0.3),
        ("ma", 0.2),
        ("ma", 0.3),
    ]
    assert [(row["factor"], row["level"], row["n"], row["num_pairs"]) for row in ended.json["rows"]] == [
        ("model.attention", "none", 2, None),
        ("model.attention", "ct", 2, 2),
        ("model.attention", "ma", 2, 2),
        ("model.decay", 0.2, 3, None),
        ("model.decay", 0.3, 3, 3),
    ]
    assert "6 planned: 6 finished" in read(shared_sweeper, "status").out
    narrower = shared_sweeper.run("--run-dir", "run", settings=NARROW)
    assert narrower.code == 2
    assert "model.attention: {choice: ['none', 'ct', 'ma']} -> {choice: ['none', 'ct']}" in narrower.err
    assert json.loads((finished / "manifest.json").read_text())["starts"]

"""The files of a report, recomputed from ``trials.jsonl`` alone: plain JSON, plain loops, none of our functions."""

import csv
import itertools
import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from scipy import stats
from sweeps import sweep_of

from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir
from raynas_snn.tables.report_files import write_report

LEVELS = {
    "model.attention": ["none", "a_b|c & 100%", "ct"],
    "model.channels": [8, 16],
    "model.detach_reset": [False, True],
}
SWEEP = sweep_of(
    model={path.split(".")[1]: {"choice": levels} for path, levels in LEVELS.items()},
    sampler="random",
    objectives={"accuracy": "maximize", "spikes": "minimize"},
    max_spikes=80.0,
)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Records of up to eight proposals with up to two seeds each, some of which were run twice."""
    written = []
    for proposal in range(draw(st.integers(0, 8))):
        outer = {path: draw(st.sampled_from(levels)) for path, levels in LEVELS.items()}
        for seed in draw(st.sampled_from([[0], [1], [0, 1], [0, 1, 0]])):
            metrics = {
                "accuracy": draw(st.sampled_from([0.25, 0.5, 0.625, 1.0]) | st.floats(0, 1)),
                "spikes": draw(st.integers(0, 100)),
                "params": draw(st.sampled_from([1e5, 2e5])),
            }
            if draw(st.integers(0, 9)) == 0:
                del metrics["accuracy"]
            reason = draw(st.sampled_from(["finished"] * 6 + ["failed", "early_stopped", "infeasible"]))
            uid = f"p{proposal:04d}-s{seed}"
            written.append(TrialRecord(uid, proposal, seed, outer, reason, 3, 2.0, metrics).to_line())
    return written


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def average(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def assert_same(cell: str, value: float | None) -> None:
    assert (cell == "") == (value is None)
    if value is not None:
        assert float(cell) == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """One run for all examples: making one waits for the disk."""
    return RunDir.create(tmp_path_factory.mktemp("runs") / "run", SWEEP.resolved(), {})


@examples(25)
@given(written=lines())
def test_every_file_agrees_with_the_records(run: RunDir, written: list[str]) -> None:
    (run.path / "trials.jsonl").write_text("".join(f"{line}\n" for line in written), encoding="utf-8")
    files = write_report(run).files
    trials = {trial["uid"]: trial for trial in map(json.loads, written)}  # the last line of a trial counts
    done = [trial for trial in trials.values() if trial["end_reason"] == "finished"]
    check_ablation(read_csv(files["csv"]), list(trials.values()), done)
    check_networks(read_csv(files["networks_csv"]), done)
    check_pareto(read_csv(files["pareto_csv"]), done)
    for key in ("markdown", "networks_markdown", "pareto_markdown"):
        check_markdown(files[key].read_text(encoding="utf-8"))
    for key in ("latex", "networks_latex"):
        check_latex(files[key].read_text(encoding="utf-8"))


def check_ablation(rows: list[dict[str, str]], trials: list[Any], done: list[Any]) -> None:
    expected = [(path, level) for path, levels in LEVELS.items() for level in levels]
    assert [(row["factor"], row["level"]) for row in rows] == [
        (path, str(level).lower() if isinstance(level, bool) else str(level)) for path, level in expected
    ]
    for row, (path, level) in zip(rows, expected, strict=True):
        for reason in ("early_stopped", "failed", "infeasible"):
            ended = [one for one in trials if one["outer"][path] == level and one["end_reason"] == reason]
            assert row[f"num_{reason}"] == str(len(ended))
        here = [one for one in done if one["outer"][path] == level]
        assert row["n"] == str(len(here))
        accuracies = [one["metrics"].get("accuracy") for one in here]
        assert_same(row["accuracy_mean"], average(accuracies))
        for metric in ("spikes", "params"):
            assert_same(row[metric], average([one["metrics"][metric] for one in here]))
        if len(here) > 1 and None not in accuracies:
            low, high = stats.t.interval(0.95, len(here) - 1)
            half = (high - low) / 2 * stats.sem(accuracies)
            assert float(row["accuracy_ci95"]) == pytest.approx(half, abs=1e-9)
        else:
            assert row["accuracy_ci95"] == ""
        if level == LEVELS[path][0]:
            assert row["num_pairs"] == ""
            assert_same(row["delta_vs_baseline"], 0.0 if here else None)
            continue
        gains: list[float | None] = []
        for one in here:
            like = {**one["outer"], path: LEVELS[path][0]}
            partners = [other for other in done if other["outer"] == like and other["seed"] == one["seed"]]
            if partners:
                theirs = average([other["metrics"].get("accuracy") for other in partners])
                mine = one["metrics"].get("accuracy")
                gains.append(None if mine is None or theirs is None else mine - theirs)
        assert row["num_pairs"] == str(len(gains))
        assert_same(row["delta_vs_baseline"], average(gains))


def by_proposal(done: list[Any]) -> dict[int, list[Any]]:
    """Trials by proposal; one that is made again belongs to the first of its values."""
    groups: dict[int, list[Any]] = {}
    for one in done:
        first = min(other["proposal"] for other in done if other["outer"] == one["outer"])
        groups.setdefault(first, []).append(one)
    return groups


def check_networks(rows: list[dict[str, str]], done: list[Any]) -> None:
    groups = by_proposal(done)
    assert sorted(int(row["proposal"]) for row in rows) == sorted(groups)
    places = []
    for row in rows:
        trials = groups[int(row["proposal"])]
        outer = trials[0]["outer"]
        places.append([levels.index(outer[path]) for path, levels in LEVELS.items()])
        accuracies = [one["metrics"].get("accuracy") for one in trials]
        assert_same(row["accuracy_mean"], average(accuracies))
        can_spread = len(accuracies) > 1 and None not in accuracies
        assert_same(row["accuracy_std"], statistics.stdev(accuracies) if can_spread else None)
        assert row["num_seeds"] == str(len(trials))
        assert (row["channels"], row["num_steps"], row["dataset"]) == (str(outer["model.channels"]), "2", "digits")
        spikes = sum(one["metrics"]["spikes"] for one in trials) / len(trials)
        assert row["within_limits"] == ("true" if spikes <= 80 else "false")
        assert row["model.detach_reset"] == str(outer["model.detach_reset"]).lower()
        assert f"(detach_reset {row['model.detach_reset']})" in row["network"]
    assert places == sorted(places), "the order of the sweep file"


def check_pareto(rows: list[dict[str, str]], done: list[Any]) -> None:
    points = {}
    for proposal, trials in by_proposal(done).items():
        accuracy = average([one["metrics"].get("accuracy") for one in trials])
        spikes = average([one["metrics"]["spikes"] for one in trials])
        assert spikes is not None
        if accuracy is not None and spikes <= 80:
            points[proposal] = (accuracy, spikes)
    beaten = {
        one
        for one, other in itertools.permutations(points, 2)
        if points[other][0] >= points[one][0] and points[other][1] <= points[one][1] and points[other] != points[one]
    }
    assert {int(row["proposal"]) for row in rows} == set(points) - beaten
    accuracies = [float(row["accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)


def check_markdown(text: str) -> None:
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) >= 2
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert all(line.endswith("|") for line in table)


def check_latex(text: str) -> None:
    body = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("%"))
    bare = re.sub(r"\\[\\{}$&#%_]", "", body)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not set(bare) & set('#%^~"`')
    assert re.findall(r"\\begin\{(\w+)\}", bare) == re.findall(r"\\end\{(\w+)\}", bare)[::-1] == ["table", "tabular"]
    spec = re.search(r"\\begin\{tabular\}\{([lr]+)\}", bare)
    assert spec is not None
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert rows
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(spec[1])}

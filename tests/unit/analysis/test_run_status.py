"""The verbs status and report: from the files of a run to the screen."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sweeps import sweep_of

from raynas_snn import report, status
from raynas_snn.analysis.run_status import read_progress
from raynas_snn.config import Sweep
from raynas_snn.core.errors import EXIT_DONE, EXIT_USAGE
from raynas_snn.core.files import write_json
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir


def ablation(**changes: Any) -> Sweep:
    return sweep_of(name="ablation", model={"attention": {"choice": ["none", "ct", "ma"]}}, num_seeds=2, **changes)


def begin(run: RunDir, proposal: int, repeat: int) -> None:
    trial = ablation().trial_config(proposal, repeat, {"model.attention": "ct"})
    write_json(run.trial(trial.uid).create().config, trial.model_dump())


def finished(uid: str, accuracy: float, **metrics: float) -> TrialRecord:
    numbers = {"accuracy": accuracy, "spikes": 1234.0, "energy_uj": 0.5, "params": 1e6} | metrics
    return TrialRecord(uid, 0, 0, {"model.attention": "none"}, "finished", 5, 1.0, numbers)


def failed(uid: str, error: str) -> TrialRecord:
    return TrialRecord(uid, 0, 0, {"model.attention": "ct"}, "failed", 1, 1.0, error=error)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Six trials planned: two finished, one failed, one under way, two not begun."""
    run = RunDir.create(tmp_path / "run", ablation().resolved(), {})
    run.note_start("raynas sweep ablation.yaml")
    run.append(finished("p0000-s0", 0.5))
    run.append(finished("p0000-s1", 0.75))
    run.append(failed("p0001-s0", "Traceback (most recent call last):\n  File ...\nRuntimeError: [out] of memory"))
    begin(run, 0, 0)
    begin(run, 1, 1)
    run.trial("p0000-s0").append_curve({"epoch": 5})
    run.trial("p0001-s1").append_curve({"epoch": 1, "phase": "search", "accuracy": 0.25, "spikes": float("nan")})
    run.trial("p0001-s1").append_curve({"epoch": 2, "phase": "search", "accuracy": 0.375, "spikes": 45678.0})
    return run


def test_what_runs_is_told_from_what_was_interrupted(run: RunDir) -> None:
    counts = {
        "finished": 2,
        "failed": 1,
        "early_stopped": 0,
        "infeasible": 0,
        "running": 0,
        "interrupted": 1,
        "waiting": 2,
    }
    progress = read_progress(run)
    assert progress.counts == counts
    assert (progress.driver, progress.is_complete) == (None, False)
    with run.lock():
        progress = read_progress(run)
    assert progress.counts == counts | {"running": 1, "interrupted": 0}
    (trial,) = progress.open_trials
    assert (trial.uid, trial.phase, trial.epoch, trial.accuracy) == ("p0001-s1", "search", 2, 0.375)
    assert (trial.spikes, trial.outer) == (45678.0, {"model.attention": "ct"})


def test_a_trial_that_was_given_out_is_open_before_its_first_epoch(run: RunDir) -> None:
    begin(run, 2, 0)
    begun = read_progress(run).open_trials
    assert [(trial.uid, trial.epoch) for trial in begun] == [("p0001-s1", 2), ("p0002-s0", None)]


def test_a_failure_is_one_line(run: RunDir) -> None:
    assert read_progress(run).failures == {"p0001-s0": "RuntimeError: [out] of memory"}


@pytest.mark.parametrize(
    ("objectives", "uid"),
    [
        ({"accuracy": "maximize", "spikes": "minimize"}, "p0000-s1"),
        ({"spikes": "minimize"}, "p0002-s0"),
        ({"sops": "minimize"}, None),
    ],
)
def test_the_best_is_told_by_the_first_objective(run: RunDir, objectives: dict[str, str], uid: str | None) -> None:
    run.append(finished("p0002-s0", 0.6, spikes=1.0))
    run.append(finished("p0002-s1", float("nan"), spikes=float("nan")))
    run.write_config(ablation(objectives=objectives).resolved())
    best = read_progress(run).best
    assert (best.uid if best else None) == uid


def test_a_trial_over_a_limit_is_never_the_best(run: RunDir) -> None:
    run.append(finished("p0002-s0", 0.9, spikes=5000.0))
    assert read_progress(run).best == run.records()[-1]
    run.write_config(ablation(max_spikes=4999.5).resolved())
    best = read_progress(run).best
    assert best is not None
    assert best.uid == "p0000-s1"


def test_every_way_to_end_is_counted_and_named(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    run.append(TrialRecord("p0002-s0", 2, 0, {}, "early_stopped", 3, 1.0, {"accuracy": 0.99}))
    run.append(TrialRecord("p0002-s1", 2, 1, {}, "infeasible", 0, 1.0, {}, "params 12,345 > sweep.max_params 10,000"))
    assert status.main([str(run.path)]) == EXIT_DONE
    out = capsys.readouterr().out
    assert "6 planned: 2 finished, 1 failed, 1 early-stopped, 1 infeasible, 1 interrupted" in out
    assert "early-stopped  p0002-s0: after epoch 3" in out
    assert "infeasible  p0002-s1: params 12,345 > sweep.max_params 10,000" in out
    assert "best so far by accuracy: p0000-s1" in out
    assert status.main([str(run.path), "--json"]) == EXIT_DONE
    data = json.loads(capsys.readouterr().out)
    assert data["early_stopped"] == {"p0002-s0": 3}
    assert list(data["infeasible"]) == ["p0002-s1"]


def test_status_for_people(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    with run.lock():
        assert status.main([str(run.path)]) == EXIT_DONE
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == f"ablation {run.path}"
    assert lines[1].startswith("driver process ")
    assert lines[2] == "trials 6 planned: 2 finished, 1 failed, 1 running, 2 waiting"
    assert "p0001-s1 running search 2 37.50 45.7k attention=ct" in lines
    assert "failed p0001-s0: RuntimeError: [out] of memory" in lines
    best = "best so far by accuracy: p0000-s1: accuracy 75.00 %, 1.23k spikes, 0.5 uJ, 1M params (attention=none)"
    assert lines[-1] == best


def test_status_says_how_to_go_on(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main([str(run.path)]) == EXIT_DONE
    assert "none; continue with: raynas sweep ablation.yaml" in capsys.readouterr().out
    for uid in ("p0001-s1", "p0002-s0", "p0002-s1"):
        run.append(finished(uid, 0.5))
    assert status.main([str(run.path)]) == EXIT_DONE
    assert "all trials have ended" in capsys.readouterr().out


def test_status_shows_a_bounded_number_of_failures(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        run.append(failed(f"p{number:04d}-s7", "broken"))
    assert status.main([str(run.path)]) == EXIT_DONE
    out = capsys.readouterr().out
    assert out.count("broken") < 30
    assert "and 11 more; --json shows all" in out


def test_status_of_a_new_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir.create(tmp_path / "run", ablation().resolved(), {})
    assert status.main([str(run.path)]) == EXIT_DONE
    assert "6 planned: 6 waiting" in capsys.readouterr().out


def test_status_as_json(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    with run.lock():
        assert status.main([str(run.path), "--json"]) == EXIT_DONE
    data = json.loads(capsys.readouterr().out)
    assert data["num_planned"] == 6
    assert data["counts"]["running"] == 1
    assert data["driver"]["pid"]
    assert data["open_trials"][0]["spikes"] == 45678.0
    assert data["best"]["metrics"]["accuracy"] == 0.75
    assert data["failures"] == {"p0001-s0": "RuntimeError: [out] of memory"}


def test_report_for_people(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(run.path)]) == EXIT_DONE
    out = capsys.readouterr().out
    assert "62.50 ± 158.83" in out
    for name in ("ablation.csv", "ablation.md", "ablation.tex", "networks.csv", "networks.md", "networks.tex"):
        assert f"written: {run.report / name}" in out
        assert (run.report / name).exists()
    assert "DARTS" not in out, "one network is no list"
    assert "pareto" not in out.lower()


def test_report_of_several_networks_and_objectives(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    objectives = {"accuracy": "maximize", "spikes": "minimize"}
    run.write_config(ablation(objectives=objectives).resolved())
    for proposal, (attention, accuracy, spikes) in enumerate([("ct", 0.8, 900.0), ("ma", 0.7, 2000.0)], start=1):
        metrics = {"accuracy": accuracy, "spikes": spikes}
        run.append(
            TrialRecord(f"p{proposal}-s0", proposal, 0, {"model.attention": attention}, "finished", 5, 1.0, metrics)
        )
    run.trial("p1-s0").create().genotype.write_text("{}")
    assert report.main([str(run.path)]) == EXIT_DONE
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "DARTS 62.50 ± 17.68 2 16 2 1.000 1.23k 0.5" in lines
    assert "CT-DARTS 80.00 1 16 2 - 900 -" in lines
    assert "1 1 80.00 900 ct trials/p1-s0/genotype.json" in lines
    assert "warning: Differences of model.attention rest on few pairs of trials (" not in out

    assert report.main([str(run.path), "--json"]) == EXIT_DONE
    data = json.loads(capsys.readouterr().out)
    assert [one["network"] for one in data["networks"]] == ["DARTS", "CT-DARTS", "MA-DARTS"]
    assert [point["proposal"] for point in data["pareto"]] == [1]
    assert set(data["files"]) == {
        "csv", "markdown", "latex", "networks_csv", "networks_markdown", "networks_latex", "pareto_csv",
        "pareto_markdown",
    }  # fmt: skip
    assert all(Path(path).is_file() for path in data["files"].values())


def test_report_as_json(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    run.write_config(ablation(sampler="tpe", num_trials=3).resolved())
    assert report.main([str(run.path), "--json"]) == EXIT_DONE
    data = json.loads(capsys.readouterr().out)
    assert [row["level"] for row in data["rows"]] == ["none", "ct", "ma"]
    assert data["rows"][0]["accuracy_mean"] == 0.625
    assert data["rows"][2]["accuracy_mean"] is None
    assert "'tpe' may choose proposals by earlier results" in data["warnings"][0]
    assert data["pareto"] is None
    assert data["files"]["csv"] == str(run.report / "ablation.csv")


@pytest.mark.parametrize("verb", [status, report])
def test_mistakes_are_one_line(verb: Any, run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run.path / "trials.jsonl").write_text("{}\n")
    for arguments in ([str(tmp_path)], [str(tmp_path / "missing")], [], [str(run.path), "--jsno"], [str(run.path)]):
        assert verb.main(arguments) == EXIT_USAGE
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1


def test_status_imports_nothing_heavy(run: RunDir) -> None:
    code = (
        "import sys; from raynas_snn.status import main; main(sys.argv[1:]);"
        "sys.exit(any(name in sys.modules for name in ('ray', 'torch', 'optuna', 'numpy', 'scipy')))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "6 planned" in result.stdout

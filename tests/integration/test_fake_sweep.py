"""The orchestration with instant trials: real Ray, real Optuna, real files."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from clusters import cluster
from event_files import shown_by_tensorboard
from optuna.trial import TrialState
from sweeper import Ended, Sweeper, interrupt, wait_until

from raynas_snn.run.trial_dir import TrialDir

pytestmark = pytest.mark.ray

FAKE = {"trial": "fake"}

TROUBLE = """
import os
import signal
import time
from raynas_snn.interfaces.trial import TrialFailure, TrialRecipe
from trials.fake import fake


def trouble(trial, context):
    if trial.model.num_steps == 2:
        raise RuntimeError("two lines\\nof reason")
    if trial.model.num_steps == 3:
        raise TrialFailure("a lower search.lr may help")
    if trial.model.num_steps == 4:
        os.abort()
    first = context.directory / "first"
    if trial.model.num_steps == 7 and not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    metrics = fake(trial, context)
    if trial.model.num_steps == 6:
        return metrics | {"confusion": [1, 2]}
    return metrics | ({"accuracy": float("nan")} if trial.model.num_steps == 5 else {})


def slow(trial, context):
    for epoch in range(1, 1000):
        context.report({"epoch": epoch, "phase": "search", "accuracy": 0.5, "spikes": 1.0})
        time.sleep(0.2)


RECIPE = TrialRecipe(run=trouble, total_epochs=lambda trial: 3, uses_workers=False)
SLOW = TrialRecipe(run=slow, total_epochs=lambda trial: 1000, uses_workers=False)
"""


@pytest.fixture(scope="module")
def finished(shared_sweeper: Sweeper) -> Ended:
    return shared_sweeper.run("--json", "--run-dir", "run", settings=FAKE)


def test_a_sweep_ends_with_one_object_on_stdout_and_few_lines_beside_it(finished: Ended) -> None:
    assert finished.code == 0, finished.err
    summary = finished.json
    assert (summary["num_trials"], summary["num_finished"], summary["num_failed"]) == (6, 6, 0)
    assert [(row["factor"], row["level"], row["n"]) for row in summary["rows"]] == [
        ("model.attention", level, 2) for level in ("none", "ct", "ma")
    ]
    assert "http://127.0.0.1:" in finished.err  # the dashboard
    assert "raylet" not in finished.err
    assert "WARNING" not in finished.err
    assert len(finished.err.splitlines()) < 40


def test_the_run_directory_holds_everything_once(finished: Ended, shared_sweeper: Sweeper) -> None:
    run = shared_sweeper.folder / "run"
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.yaml",
        "manifest.json",
        "study.journal",
        "trials.jsonl",
        "lock",
        "trials",
        "tb",
        "report",
        "ray.log",
    }
    uids = [f"p{proposal:04d}-s{seed}" for proposal in range(3) for seed in range(2)]
    assert sorted(record["uid"] for record in shared_sweeper.records()) == uids
    assert sorted(path.name for path in (run / "trials").iterdir()) == uids
    for uid in uids:
        curve = {row["epoch"]: row["accuracy"] for row in TrialDir(run / "trials" / uid).read_curve()}
        assert list(curve) == list(range(1, 8))
        shown = shown_by_tensorboard(run / "tb" / uid)
        assert shown["search/accuracy"] | shown["retrain/accuracy"] == pytest.approx(curve)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["packages"]["ray"]
    assert len(manifest["data"]["sha256"]) == 64
    assert manifest["seeds"] == [0, 1]
    assert manifest["starts"][0]["command"].startswith("python -m raynas_snn.sweep")


def test_optuna_is_told_the_mean_over_seeds_and_how_each_ended(finished: Ended, shared_sweeper: Sweeper) -> None:
    accuracies: dict[int, list[float]] = {}
    for record in shared_sweeper.records():
        accuracies.setdefault(record["proposal"], []).append(record["metrics"]["accuracy"])
    for trial in shared_sweeper.proposals():
        assert trial.state == TrialState.COMPLETE
        assert trial.value == pytest.approx(sum(accuracies[trial.number]) / 2)
        for repeat in range(2):
            assert trial.user_attrs[f"p{trial.number:04d}-s{repeat}"]["end_reason"] == "finished"
            assert trial.user_attrs[f"p{trial.number:04d}-s{repeat}"]["epochs"] == 7


def test_the_same_command_again_does_nothing_and_says_so(finished: Ended, shared_sweeper: Sweeper) -> None:
    before = (shared_sweeper.folder / "run" / "trials.jsonl").read_bytes()
    again = shared_sweeper.run("--run-dir", "run", settings=FAKE)
    assert again.code == 0
    assert again.out.startswith("Nothing to do: all 6 trials have ended.\n")
    assert "attention" in again.out
    assert (shared_sweeper.folder / "run" / "trials.jsonl").read_bytes() == before


def test_another_meaning_is_refused_field_by_field(finished: Ended, shared_sweeper: Sweeper) -> None:
    before = (shared_sweeper.folder / "run" / "config.yaml").read_bytes()
    other = shared_sweeper.run("--run-dir", "run", settings={**FAKE, "model.decay": 0.3, "search.epochs": 9})
    assert other.code == 2
    assert "model.decay: 0.2 -> 0.3; search.epochs: 1 -> 9" in other.err
    assert len(other.err.splitlines()) == 1
    assert (shared_sweeper.folder / "run" / "config.yaml").read_bytes() == before


def test_more_seeds_run_only_what_is_missing(finished: Ended, shared_sweeper: Sweeper) -> None:
    before = shared_sweeper.records()
    more = shared_sweeper.run("--json", "--run-dir", "run", settings={**FAKE, "sweep.num_seeds": 3})
    assert more.code == 0, more.err
    assert (more.json["num_trials"], more.json["num_run"]) == (9, 3)
    after = shared_sweeper.records()
    assert after[:6] == before
    assert sorted(record["uid"] for record in after[6:]) == ["p0000-s2", "p0001-s2", "p0002-s2"]


def test_status_reads_it_all_without_ray(finished: Ended, shared_sweeper: Sweeper) -> None:
    code = "import sys; sys.modules['ray'] = None; from raynas_snn.status import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--json"], cwd=shared_sweeper.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["finished"] >= 6


def test_failed_trials_are_recorded_with_their_reason_and_stay_out_of_the_means(sweeper: Sweeper) -> None:
    (sweeper.folder / "trouble.py").write_text(TROUBLE)
    ended = sweeper.run(
        "--json",
        "--run-dir",
        "run",
        settings={
            "trial": "trouble:RECIPE",
            "model.attention": "none",
            "model.num_steps": {"choice": [1, 2, 3, 4, 5, 6, 7]},
            "sweep.num_seeds": 1,
            "resources.heartbeat_seconds": 8,
        },
    )
    assert ended.code == 3, ended.err
    records = {record["outer"]["model.num_steps"]: record for record in sweeper.records()}
    assert [records[steps]["end_reason"] for steps in (1, 2, 3, 4, 5, 6, 7)] == [
        "finished",
        *["failed"] * 5,
        "finished",
    ]
    assert records[2]["error"].startswith("RuntimeError: two lines of reason (details: ")
    assert records[3]["error"] == "a lower search.lr may help"
    assert records[4]["error"].startswith("the trial's process crashed in native code: Fatal Python error: Aborted")
    assert records[5]["error"] == "the objective 'accuracy' is nan"
    assert records[6]["error"] == "trial 'trouble:RECIPE' must return numbers; these are none: confusion"
    rows = {row["level"]: row for row in ended.json["rows"]}
    assert [rows[steps]["num_failed"] for steps in (1, 2, 3, 4, 5, 6, 7)] == [0, 1, 1, 1, 1, 1, 0]
    assert rows[5]["accuracy_mean"] is None
    states = [trial.state for trial in sweeper.proposals()]
    assert states == [TrialState.COMPLETE, *[TrialState.FAIL] * 5, TrialState.COMPLETE]
    trials = sweeper.folder / "run" / "trials"
    assert "RuntimeError" in (trials / "p0001-s0" / "error.txt").read_text()
    assert 'File "' in (trials / "p0003-s0" / "error.txt").read_text()  # where it crashed
    assert "p0006-s0  warning   its process has sent no heartbeat for 8 s and was killed" in ended.err
    assert not list(trials.rglob("fatal-*"))


def test_an_interrupted_sweep_says_how_to_continue(sweeper: Sweeper) -> None:
    (sweeper.folder / "trouble.py").write_text(TROUBLE)
    settings = {"trial": "trouble:SLOW", "model.attention": {"choice": ["none", "ct"]}}
    process = sweeper.start("--run-dir", "run", settings=settings)
    wait_until(lambda: len(sweeper.curve("p0000-s0")) > 1, process)
    rival = sweeper.run("--run-dir", "run", settings=settings)
    assert rival.code == 2
    assert f"another driver is at work here: process {process.pid} on {socket.gethostname()}" in rival.err
    ended = interrupt(process, signal.SIGTERM)  # as batch systems send it; Ctrl-C takes the same way
    assert ended.code == 130, ended.err
    last = ended.out.splitlines()[-1]
    assert last.startswith("Interrupted. To continue: python -m raynas_snn.sweep --run-dir run ")
    assert '["none", "ct"]' in last  # brackets are no markup
    assert "Traceback" not in ended.err
    assert not sweeper.records()


@pytest.fixture
def running_ray(sweeper: Sweeper) -> Iterator[str]:
    """The address of a Ray that was there before and asks for a token."""
    with cluster(sweeper, num_cpus=2, num_gpus=1) as made:
        yield made.address


def test_a_running_ray_is_joined_and_left_running_and_two_trials_share_a_gpu(
    sweeper: Sweeper, running_ray: str
) -> None:
    for run, gpus, side_by_side in (("first", 0.5, 2), ("second", 1.0, 1)):
        settings = {**FAKE, "sweep.num_seeds": 1, "resources.gpus_per_worker": gpus}
        ended = sweeper.run("--address", running_ray, "--run-dir", run, settings=settings)
        assert ended.code == 0, ended.err
        assert f"3 trials to run, {side_by_side} at a time" in ended.out
        assert len(sweeper.records(run)) == 3


def test_no_ray_at_the_address_is_one_line_and_writes_nothing(sweeper: Sweeper) -> None:
    ended = sweeper.run("--address", "127.0.0.1:1", "--run-dir", "run", settings=FAKE)
    assert ended.code == 2
    assert ended.err.startswith("error: --address: no Ray answers at '127.0.0.1:1'")
    assert len(ended.err.splitlines()) == 1
    assert not (sweeper.folder / "run").exists()


def test_a_trial_that_can_never_fit_is_an_error_at_once(sweeper: Sweeper) -> None:
    ended = sweeper.run("--run-dir", "run", settings={**FAKE, "resources.cpus_per_worker": 500})
    assert ended.code == 2
    assert "a trial needs 1 worker with 500 CPU and 0 GPU, which never fit" in ended.err
    assert not (sweeper.folder / "run").exists()

"""Early stopping, limits, points, what another run teaches, and a time limit: real Ray, real Optuna, made-up curves."""

import os
from typing import Any

import pytest
from optuna.trial import TrialState
from sweeper import Sweeper

pytestmark = pytest.mark.ray

RECIPES = """
import time
from raynas_snn.interfaces.trial import TrialInfeasible, TrialRecipe

EPOCHS = 9


def curve(trial, context):
    if trial.model.channels > 16:
        raise TrialInfeasible("params 32,000 > sweep.max_params 20,000", {"params": 32000.0})
    pause = context.directory.parents[2] / "pause"
    reached = context.directory / "reached"
    begin = int(reached.read_text()) if reached.exists() else 1  # the epoch of the checkpoint is reported again
    for epoch in range(begin, EPOCHS + 1):
        reached.write_text(str(epoch))
        phase = "search" if epoch <= 2 else "retrain"
        warning = {"warning": "no spikes"} if trial.proposal == 0 else {}
        accuracy = trial.model.decay * epoch / EPOCHS
        context.report({"epoch": epoch, "phase": phase, "accuracy": accuracy, "spikes": 10.0, **warning})
        time.sleep(float(pause.read_text()) if pause.exists() else 0.02)
    return {"accuracy": accuracy, "spikes": 10.0, "params": 1000.0 * trial.model.channels, "seconds": 1.0}


INSTANT = TrialRecipe(run=curve, total_epochs=lambda trial: EPOCHS, uses_workers=False)
WORKERS = TrialRecipe(run=curve, total_epochs=lambda trial: EPOCHS)
"""
ASHA: dict[str, Any] = {
    "trial": "recipes:INSTANT",
    "model.attention": "none",
    "model.decay": {"choice": [0.9, 0.2, 0.1]},
    "search.epochs": 2,
    "sweep.num_seeds": 1,
    "sweep.scheduler": "asha",
    "sweep.scheduler.reduction_factor": 2,
    "resources.max_concurrent": 1,
}


@pytest.fixture
def sweeper(sweeper: Sweeper) -> Sweeper:
    (sweeper.folder / "recipes.py").write_text(RECIPES)
    return sweeper


def reasons(sweeper: Sweeper, run: str = "run") -> dict[str, tuple[str, int]]:
    return {record["uid"]: (record["end_reason"], record["epochs"]) for record in sweeper.records(run)}


def test_asha_stops_trials_with_workers_and_their_resources_are_free_again(sweeper: Sweeper) -> None:
    everything = {"resources.cpus_per_worker": os.cpu_count()}  # the next trial waits for what a stopped one held
    ended = sweeper.run("--run-dir", "run", settings={**ASHA, **everything, "trial": "recipes:WORKERS"})
    assert ended.code == 0, ended.err
    assert reasons(sweeper) == {
        "p0000-s0": ("finished", 9),
        "p0001-s0": ("early_stopped", 3),  # the first rung: the search and one epoch more
        "p0002-s0": ("early_stopped", 3),
    }
    states = [proposal.state for proposal in sweeper.proposals()]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED]
    assert "3 of 3 trials ended (2 stopped early), 0 running" in ended.out
    assert ended.out.count("p0000-s0  warning   no spikes") == 1


@pytest.mark.long
def test_time_is_up_in_time_and_rungs_outlive_the_driver(sweeper: Sweeper) -> None:
    first = sweeper.run("--run-dir", "run", "--num-trials", "1", settings=ASHA)
    assert (first.code, reasons(sweeper)) == (0, {"p0000-s0": ("finished", 9)}), first.err

    (sweeper.folder / "pause").write_text("3")
    ended = sweeper.run("--run-dir", "run", "--max-hours", "0.0025", settings=ASHA)
    assert ended.code == 130, ended.err
    last = ended.out.splitlines()[-1]
    assert last.startswith("Time is up after 0.0025 h. To continue: python -m raynas_snn.sweep --run-dir run ")
    assert "--max-hours 0.0025" in last
    assert "Traceback" not in ended.err
    assert list(reasons(sweeper)) == ["p0000-s0"]

    (sweeper.folder / "pause").unlink()
    assert sweeper.run("--run-dir", "run", settings=ASHA).code == 0
    assert reasons(sweeper) == {
        "p0000-s0": ("finished", 9),
        "p0001-s0": ("early_stopped", 3),
        "p0002-s0": ("early_stopped", 3),
    }
    assert [row[0] for row in sweeper.curve("p0001-s0")][:3] == ["1", "2", "3"]


@pytest.mark.long
def test_a_sweep_with_points_learns_from_another_and_keeps_its_limit(sweeper: Sweeper) -> None:
    varied: dict[str, Any] = {
        "trial": "recipes:INSTANT",
        "model.attention": {"choice": ["none", "ma"]},
        "model.attention.reduction": {"choice": [4, 8], "when": {"model.attention": "ma"}},
        "model.channels": {"choice": [8, 32]},
        "sweep.num_seeds": 1,
        "sweep.max_params": 20_000,
    }
    first = sweeper.run("--run-dir", "first", settings=varied)
    assert first.code == 0, first.err
    ends = [record["end_reason"] for record in sweeper.records("first")]
    assert (ends.count("finished"), ends.count("infeasible")) == (3, 3)
    assert "over the limit  params 32,000 > sweep.max_params 20,000" in first.out

    hunting = {
        **varied,
        "sweep.sampler": "nsga2",
        "sweep.num_trials": 4,
        "sweep.sampler.population_size": 2,
        "sweep.objectives": {"accuracy": "maximize", "spikes": "minimize"},
        "sweep.points": [{"model.attention": "ma", "model.attention.reduction": 8, "model.channels": 8}],
        "sweep.warm_start": "first",
    }
    second = sweeper.run("--run-dir", "second", settings=hunting)
    assert second.code == 0, second.err
    assert "learns from 3 proposals of first" in second.out
    records = sweeper.records("second")
    assert sorted(record["uid"] for record in records) == [f"p000{number}-s0" for number in range(4)]
    assert next(record for record in records if record["proposal"] == 0)["outer"] == {
        "model.attention": "ma",
        "model.attention.reduction": 8,
        "model.channels": 8,
    }

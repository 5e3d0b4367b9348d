"""Sweeps on paper: real Optuna, real files, instant results, no Ray."""

import random
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial

from raynas_snn.cluster.ledger import Ledger
from raynas_snn.cluster.study import open_study
from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.results.files import read_lines, write_json
from raynas_snn.results.run_dir import RunDir

RANGES = ("trial=fake", "model.decay={float: [0.1, 0.9]}", "model.v_th={float: [0.1, 2.0], log: true}")
CONDITION = "model.attention_reduction={choice: [4, 8], when: {model.attention: [ct, ma]}}"
TWO_OBJECTIVES = "sweep.objectives={accuracy: maximize, spikes: minimize}"
SAMPLERS = [
    ("sweep.sampler=random",),
    ("sweep.sampler=random", CONDITION),
    ("sweep.sampler=tpe",),
    ("sweep.sampler=tpe", CONDITION),
    ("sweep.sampler=tpe", TWO_OBJECTIVES, "sweep.max_spikes=50"),
    ("sweep.sampler=nsga2", "sweep.population_size=4"),
    ("sweep.sampler=nsga2", "sweep.population_size=4", TWO_OBJECTIVES, "sweep.max_spikes=50", CONDITION),
]


def sampled(num_trials: int, *overrides: str) -> Sweep:
    settings = (*RANGES, "sweep.sampler=random", "sweep.num_seeds=1", *overrides, f"sweep.num_trials={num_trials}")
    return load_sweep(None, settings)


def result(trial: TrialConfig) -> dict:
    chance = random.Random(trial.uid)
    return {"epochs": 3, "metrics": {"accuracy": chance.random(), "spikes": 100 * chance.random(), "seconds": 1.5}}


def start(sweep: Sweep, path: Path) -> Ledger:
    """Opens the books as a driver does that goes on to run something."""
    run = RunDir(path) if RunDir.is_run(path) else RunDir.create(path, sweep.resolved(), {})
    ledger = Ledger(sweep, run)
    run.write_config(sweep.resolved())
    return ledger


def run_all(sweep: Sweep, path: Path) -> Ledger:
    ledger = start(sweep, path)
    while (trial := ledger.next_trial()) is not None:
        ledger.finish(trial, result(trial))
    return ledger


def give_out(ledger: Ledger) -> TrialConfig:
    """Hands out the next trial as the driver does: its folder then says what it is."""
    trial = ledger.next_trial()
    assert trial is not None
    write_json(ledger.run.trial(trial.uid).create().config, trial.model_dump())
    return trial


def outer(ledger: Ledger) -> dict:
    return {uid: record.outer for uid, record in ledger.records.items()}


def study_trials(ledger: Ledger) -> Sequence[FrozenTrial]:
    return open_study(ledger.sweep, ledger.run.journal).get_trials()


def lines(path: Path) -> list[str]:
    """The records of a run as they are written, in order."""
    return read_lines(path / "trials.jsonl")

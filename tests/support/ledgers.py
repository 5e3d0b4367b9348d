"""Sweeps on paper: real Optuna, real files, instant results, no Ray."""

import random
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.files import read_lines
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.journal_export import STUDY_NAME
from raynas_snn.study.ledger import Ledger
from raynas_snn.study.warm_start import warm_start_facts

RANGES = ("trial=fake", "model.decay={float: [0.1, 0.9]}", "model.v_th={float: [0.1, 2.0], log: true}")
CONDITION = "model.attention.reduction={choice: [4, 8]}"  # which ma has
TWO_OBJECTIVES = "sweep.objectives={accuracy: maximize, spikes: minimize}"
SAMPLERS = [
    ("sweep.sampler=random",),
    ("sweep.sampler=random", CONDITION),
    ("sweep.sampler=tpe",),
    ("sweep.sampler=tpe", CONDITION),
    ("sweep.sampler=tpe", TWO_OBJECTIVES, "sweep.max_spikes=50"),
    ("sweep.sampler={name: nsga2, population_size: 4}",),
    ("sweep.sampler={name: nsga2, population_size: 4}", TWO_OBJECTIVES, "sweep.max_spikes=50", CONDITION),
]


def sampled(num_trials: int, *overrides: str) -> Sweep:
    settings = (*RANGES, "sweep.sampler=random", "sweep.num_seeds=1", *overrides, f"sweep.num_trials={num_trials}")
    return load_sweep(None, settings)


def result(trial: TrialConfig) -> dict:
    chance = random.Random(trial.uid)
    return {"epochs": 3, "metrics": {"accuracy": chance.random(), "spikes": 100 * chance.random(), "seconds": 1.5}}


def start(sweep: Sweep, path: Path) -> Ledger:
    """Opens the books as a driver does that goes on to run something."""
    run = RunDir(path) if RunDir.is_run(path) else RunDir.create(path, sweep.resolved(), warm_start_facts(sweep))
    ledger = Ledger(sweep, run)
    run.write_config(sweep.resolved())
    return ledger


def run_all(sweep: Sweep, path: Path) -> Ledger:
    ledger = start(sweep, path)
    while (trial := ledger.next_trial()) is not None:
        ledger.finish(trial, result(trial))
    return ledger


def give_out(ledger: Ledger) -> TrialConfig:
    """Hands out the next trial, of which there must be one."""
    trial = ledger.next_trial()
    assert trial is not None
    return trial


def outer(ledger: Ledger) -> dict:
    return {uid: record.outer for uid, record in ledger.records.items()}


def study_trials(ledger: Ledger) -> Sequence[FrozenTrial]:
    """The study as optuna-dashboard finds it."""
    storage = JournalStorage(JournalFileBackend(str(ledger.run.journal)))
    return optuna.load_study(study_name=STUDY_NAME, storage=storage).get_trials()


def lines(path: Path) -> list[str]:
    """The records of a run as they are written, in order."""
    return read_lines(path / "trials.jsonl")

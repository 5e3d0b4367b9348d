"""What the driver does when Tune speaks of a trial. Tune's own trials, no Ray cluster."""

import io
from pathlib import Path

import optuna
import pytest
from ray.tune.experiment import Trial
from rich.console import Console

from raynas_snn.cluster.callbacks import Bookkeeper
from raynas_snn.cluster.display import LineDisplay
from raynas_snn.cluster.interruption import Interruption
from raynas_snn.cluster.ledger import Ledger
from raynas_snn.cluster.progress import SweepProgress
from raynas_snn.config import load_sweep
from raynas_snn.results.files import write_json
from raynas_snn.results.run_dir import RunDir


@pytest.fixture(autouse=True)
def quiet_optuna():
    verbosity = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(verbosity)


def test_tune_keeps_little_of_a_trial_that_has_ended(tmp_path: Path) -> None:
    sweep = load_sweep(None, ("trial=fake",))
    ledger = Ledger(sweep, RunDir.create(tmp_path / "run", sweep.resolved(), {}))
    progress = SweepProgress(ledger.num_trials)
    bookkeeper = Bookkeeper(ledger, progress, LineDisplay(progress, Console(file=io.StringIO())), Interruption())
    config = ledger.next_trial()
    trial = Trial("fake", config={"trial": config.model_dump_json()}, stub=True)

    bookkeeper.on_trial_start(0, [trial], trial)
    for epoch in range(1, 12):
        row = {"epoch": epoch, "phase": "search", "accuracy": epoch / 20, "spikes": 1000.0 + epoch}
        bookkeeper.on_trial_result(0, [trial], trial, row)
        trial.update_last_result(row)
    assert len(trial.metric_analysis) == len(trial.metric_n_steps) == 3
    write_json(ledger.run.trial(config.uid).result, {"epochs": 11, "metrics": {"accuracy": 0.55, "spikes": 1011.0}})
    bookkeeper.on_trial_complete(0, [trial], trial)

    assert ledger.records[config.uid].metrics == {"accuracy": 0.55, "spikes": 1011.0}
    assert not trial.metric_analysis
    assert not trial.metric_n_steps

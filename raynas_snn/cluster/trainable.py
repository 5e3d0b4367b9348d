"""One trial on Ray: a Tune function that trains with Ray Train.

The trial's folder in the run directory is the only thing that survives: it holds the checkpoint, the curve and the
result. Every process here may die at any moment and be started again with the same arguments.
"""

import socket
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune

from raynas_snn.config.schema import TrialConfig
from raynas_snn.errors import UserError
from raynas_snn.registry import resolve
from raynas_snn.results.cells import draw_cells
from raynas_snn.results.files import read_json, write_json, write_text
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.trial_dir import TrialDir
from raynas_snn.trial import EpochRow, TrialContext, TrialFailure, TrialInfeasible, TrialRecipe


def run_trial(config: dict[str, Any]) -> None:
    """What Tune starts: a process that does no work itself but runs the trial's workers.

    Args:
        config: ``trial`` (a `TrialConfig` as JSON), ``run_dir``, ``scratch`` (for Ray's own files), ``max_failures``.
    """
    trial = TrialConfig.model_validate_json(config["trial"])
    folder = RunDir(Path(config["run_dir"])).trial(trial.uid)
    for of_earlier_attempt in (folder.error, folder.result):
        of_earlier_attempt.unlink(missing_ok=True)
    try:
        if recipe_of(trial.trial).uses_workers:
            from raynas_snn.cluster.trainer import run_on_workers  # imports torch

            run_on_workers(run_worker, config, trial)
        else:
            _run_recipe(trial, config["run_dir"], tune.report, device="cpu", rank=0)
    except Exception as error:  # for good: Tune would try again, but Train has done so already
        if not folder.error.is_file():  # a worker died without a word
            _write_error(folder, error)
        reason = folder.error.read_text().splitlines()[-1]
        write_json(folder.result, {"epochs": folder.last_epoch(), "error": f"{reason} (details: {folder.error})"})


def run_worker(config: dict[str, Any]) -> None:
    """What Ray Train starts on every worker of a trial."""
    from ray import train
    from ray.train.torch import get_device

    from raynas_snn.training.distributed import World, limit_threads

    trial = TrialConfig.model_validate_json(config["trial"])
    limit_threads(trial.resources.cpus_per_worker)
    _run_recipe(trial, config["run_dir"], train.report, str(get_device()), World.current().rank)


def recipe_of(name: str) -> TrialRecipe:
    """The registered kind of trial."""
    recipe = resolve("trials", name)
    if not isinstance(recipe, TrialRecipe):
        raise UserError(f"trial: {name!r} is not a TrialRecipe")
    return recipe


def _run_recipe(trial: TrialConfig, run_dir: str, report: Any, device: str, rank: int) -> None:
    """Runs a recipe with the trial's folder around it; worker 0 writes the files."""
    run_path = Path(run_dir)
    if not run_path.is_dir():
        raise FileNotFoundError(
            f"{run_dir} does not exist on {socket.gethostname()}: on several machines --run-dir must be on a "
            "file system that all of them share"
        )
    run = RunDir(run_path)
    folder = run.trial(trial.uid).create()
    writer = _Writer(folder, run.tb / trial.uid) if rank == 0 else None
    epochs = 0

    def on_epoch(row: EpochRow) -> None:
        nonlocal epochs
        epochs = int(row["epoch"])
        if writer is not None:
            writer.epoch(row)
        report({key: value for key, value in row.items() if value != ""})

    try:
        metrics = recipe_of(trial.trial).run(trial, TrialContext(folder.path, on_epoch, device))
        _check_numbers(trial.trial, metrics)
        result: dict[str, Any] = {"epochs": epochs, "metrics": metrics}
    except TrialInfeasible as error:
        result = {"epochs": epochs, "infeasible": str(error), "metrics": error.metrics}
    except (UserError, TrialFailure) as error:  # the same would happen again: no further attempt
        if writer is None:  # the first worker may know nothing of it
            raise
        result = {"epochs": epochs, "error": " ".join(str(error).split())}
    except Exception as error:
        if writer is not None:
            _write_error(folder, error)
        raise
    finally:
        if writer is not None:
            writer.close()
    if writer is not None:
        genotype = read_json(folder.genotype)
        if genotype is not None:
            write_text(folder.cells, draw_cells(genotype))
        write_json(folder.result, result)  # the trial's last act


def _check_numbers(name: str, metrics: object) -> None:
    """Makes sure that a recipe has returned what can be booked."""
    if not isinstance(metrics, Mapping):
        raise TrialFailure(f"trial {name!r} must return numbers by name, not {type(metrics).__name__}")
    wrong = [
        str(key) for key, value in metrics.items() if isinstance(value, bool) or not isinstance(value, int | float)
    ]
    if wrong:
        raise TrialFailure(f"trial {name!r} must return numbers; these are none: {', '.join(wrong[:5])}")


def _write_error(folder: TrialDir, error: Exception) -> None:
    """Writes the traceback, and as last line what records and screens show."""
    summary = f"{type(error).__name__}: {' '.join(str(error).split())}"
    write_text(folder.error, f"{traceback.format_exc()}\n{summary}\n")


class _Writer:
    """What the first worker of a trial writes as it goes: the curve and TensorBoard events."""

    def __init__(self, folder: TrialDir, events: Path) -> None:
        from tensorboardX import SummaryWriter

        self._folder = folder
        self._last_epoch = folder.last_epoch()
        self._events = SummaryWriter(str(events), flush_secs=30, write_to_disk=True)

    def epoch(self, row: EpochRow) -> None:
        """Adds an epoch; one that an earlier attempt has written is left alone."""
        epoch = int(row["epoch"])
        if epoch <= self._last_epoch:
            return
        self._last_epoch = epoch
        self._folder.append_curve(dict(row))
        for key, value in row.items():
            if isinstance(value, int | float) and key != "epoch":
                self._events.add_scalar(f"{row['phase']}/{key}", value, epoch)
        self._events.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._events.close()

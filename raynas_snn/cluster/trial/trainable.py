"""One trial on Ray: a Tune function that trains with Ray Train.

All state that must survive a crash is in the trial's folder in the run directory: checkpoint, curve and result. Any
process here may die at any moment and be restarted with the same arguments.
"""

import socket
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune

from raynas_snn.cluster.runtime.heartbeat import heartbeats
from raynas_snn.cluster.trial.crash_stacks import leave_crash_stack, take_crash_stacks
from raynas_snn.cluster.trial.exception_text import HOPELESS, exception_text, is_about_another_worker
from raynas_snn.cluster.trial.storage_session import fetched, send_failure, stored
from raynas_snn.cluster.trial.trial_writer import TrialWriter
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.errors import StorageFault, UserError, storage_fault, writing_to
from raynas_snn.core.files import read_json, read_text, write_json, write_text
from raynas_snn.core.registry import resolve
from raynas_snn.interfaces.trial import EpochRow, TrialContext, TrialCrash, TrialFailure, TrialInfeasible, TrialRecipe
from raynas_snn.run.run_dir import RunDir
from raynas_snn.run.trial_dir import TrialDir
from raynas_snn.tables.cell_drawing import draw_cells

STORAGE_FAULT = "storage_fault"  # in a report to Tune: the disk cannot be written, which is not the trial's failure


def run_trial(config: dict[str, Any]) -> None:
    """The Tune trainable: runs the trial's workers and does no training itself.

    Args:
        config: ``trial`` (a `TrialConfig` as JSON), ``run_dir``, ``scratch`` (for Ray's own files), ``max_failures``.
    """
    trial = TrialConfig.model_validate_json(config["trial"])
    folder = RunDir(Path(config["run_dir"])).trial(trial.uid)
    with heartbeats(heartbeat_key(config["scratch"], trial.uid), trial.resources.heartbeat_seconds):
        try:
            _attempt(config, trial, folder)
        except StorageFault as fault:  # nothing can be written now: the driver is told
            tune.report({STORAGE_FAULT: str(fault)})


def heartbeat_key(scratch: str, uid: str) -> str:
    """The key of a trial's heartbeats during one start of a sweep."""
    return f"{scratch}/{uid}"


def _attempt(config: dict[str, Any], trial: TrialConfig, folder: TrialDir) -> None:
    """Runs a trial to the end, and writes down why it failed if it does; raises `StorageFault` only."""
    try:
        for of_earlier_attempt in (folder.error, folder.result):
            of_earlier_attempt.unlink(missing_ok=True)
        take_crash_stacks(folder)
        if recipe_of(trial.trial).uses_workers:
            from raynas_snn.cluster.trial.trainer import run_on_workers  # imports torch

            with fetched(config, trial.uid):
                run_on_workers(run_worker, config, trial, folder)
        else:
            with stored(config, trial.uid, tune.report) as report:
                _run_recipe(trial, config["run_dir"], report, device="cpu", rank=0)
    except Exception as error:  # for good: Tune would try again, but Train has done so already
        _note_failure(error, trial, folder)
        send_failure(config, trial.uid)


def _note_failure(error: Exception, trial: TrialConfig, folder: TrialDir) -> None:
    """Writes the result of a trial whose last attempt failed."""
    from raynas_snn.cluster.trial.failure_reasons import fault_of_storage, hopeless, reason_of  # imports Ray Train

    fault = fault_of_storage(error, folder.path)
    if fault is not None:
        raise fault
    final = hopeless(error)
    if final is not None:
        write_json(folder.result, {"epochs": _epochs_of(folder), "error": exception_text(final)})
        return
    stacks = take_crash_stacks(folder)
    reason = reason_of(error, stacks, trial.resources.heartbeat_seconds)
    if (read_text(folder.error) or "").splitlines()[-1:] != [reason]:  # no worker has written more than Ray knows
        write_text(folder.error, f"{stacks}\n{traceback.format_exc()}\n{reason}\n")
    write_json(folder.result, {"epochs": _epochs_of(folder), "error": f"{reason} (details: {folder.error})"})


def _epochs_of(folder: TrialDir) -> int:
    try:
        return folder.last_epoch()
    except UserError:  # a curve that cannot be read, which may be why the trial failed
        return 0


def run_worker(config: dict[str, Any]) -> None:
    """The function that Ray Train runs on every worker of a trial."""
    from ray import train
    from ray.train.torch import get_device

    from raynas_snn.training.distributed import World, limit_threads

    trial = TrialConfig.model_validate_json(config["trial"])
    limit_threads(trial.resources.cpus_per_worker)
    world = World.current()
    with stored(config, trial.uid, train.report, world.rank, world.size) as report:
        _run_recipe(trial, config["run_dir"], report, str(get_device()), world.rank)


def recipe_of(name: str) -> TrialRecipe:
    """The registered kind of trial."""
    recipe = resolve("trials", name)
    if not isinstance(recipe, TrialRecipe):
        raise UserError(f"trial: {name!r} is not a TrialRecipe")
    return recipe


def _run_recipe(trial: TrialConfig, run_dir: str, report: Any, device: str, rank: int) -> None:
    """Runs a recipe with the trial's folder around it; worker 0 writes the files.

    Raises:
        UserError: Where the same would happen again; likewise `StorageFault` and `TrialFailure`.
        TrialCrash: For what else the recipe raised, unless it is about another worker.
    """
    run_path = Path(run_dir)
    if not run_path.is_dir():
        raise FileNotFoundError(
            f"{run_dir} does not exist on {socket.gethostname()}: on several machines --run-dir must be on a "
            "file system that all of them share, or give --storage"
        )
    run = RunDir(run_path)
    folder = run.trial(trial.uid)
    try:
        with writing_to(folder.path):
            folder.create()
        with leave_crash_stack(folder, rank), _writer(run, folder, rank) as writer:
            result = _result_of(trial, folder, writer, report, device)
            if rank == 0:
                genotype = read_json(folder.genotype)
                if genotype is not None:
                    write_text(folder.cells, draw_cells(genotype))
                write_json(folder.result, result)  # written last
    except HOPELESS:
        raise
    except Exception as error:
        fault = storage_fault(error, folder.path)
        if fault is not None:
            raise fault from error
        if is_about_another_worker(error):
            raise
        write_text(folder.error, f"{traceback.format_exc()}\n{exception_text(error)}\n")
        raise TrialCrash(exception_text(error)) from error  # whatever it was, this can be sent to another process


def _result_of(
    trial: TrialConfig, folder: TrialDir, writer: TrialWriter | None, report: Any, device: str
) -> dict[str, Any]:
    """Runs a recipe to its end, and returns what its result file holds."""
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
    except TrialInfeasible as error:  # on all workers alike
        return {"epochs": epochs, "infeasible": str(error), "metrics": error.metrics}
    return {"epochs": epochs, "metrics": metrics}


@contextmanager
def _writer(run: RunDir, folder: TrialDir, rank: int) -> Iterator[TrialWriter | None]:
    """The writer of a trial's epochs, for the first worker only."""
    if rank != 0:
        yield None
        return
    writer = TrialWriter(folder, run.tb / folder.uid)
    try:
        yield writer
    finally:
        writer.close()


def _check_numbers(name: str, metrics: object) -> None:
    """Makes sure that a recipe has returned what can be booked."""
    if not isinstance(metrics, Mapping):
        raise TrialFailure(f"trial {name!r} must return numbers by name, not {type(metrics).__name__}")
    wrong = [
        str(key) for key, value in metrics.items() if isinstance(value, bool) or not isinstance(value, int | float)
    ]
    if wrong:
        raise TrialFailure(f"trial {name!r} must return numbers; these are none: {', '.join(wrong[:5])}")

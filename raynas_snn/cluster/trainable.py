"""One trial on Ray: a Tune function that trains with Ray Train.

The trial's folder in the run directory is the only thing that survives: it holds the checkpoint, the curve and the
result. Every process here may die at any moment and be started again with the same arguments.
"""

import socket
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune

from raynas_snn.cluster.heartbeat import beating
from raynas_snn.cluster.last_words import hear_last_words, last_words
from raynas_snn.cluster.mirroring import fetched, mirrored, send_result
from raynas_snn.cluster.sayings import HOPELESS, is_of_others, said_by
from raynas_snn.cluster.trial_writer import TrialWriter
from raynas_snn.config.schema import TrialConfig
from raynas_snn.errors import StorageFault, UserError, storage_fault, writing_to
from raynas_snn.registry import resolve
from raynas_snn.results.cells import draw_cells
from raynas_snn.results.files import read_json, read_text, write_json, write_text
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.trial_dir import TrialDir
from raynas_snn.trial import EpochRow, TrialContext, TrialCrash, TrialFailure, TrialInfeasible, TrialRecipe

STORAGE_FAULT = "storage_fault"  # in a report to Tune: the disk takes no more, and the trial is not to blame


def run_trial(config: dict[str, Any]) -> None:
    """What Tune starts: a process that does no work itself but runs the trial's workers.

    Args:
        config: ``trial`` (a `TrialConfig` as JSON), ``run_dir``, ``scratch`` (for Ray's own files), ``max_failures``.
    """
    trial = TrialConfig.model_validate_json(config["trial"])
    folder = RunDir(Path(config["run_dir"])).trial(trial.uid)
    with beating(heartbeat_key(config["scratch"], trial.uid), trial.resources.heartbeat_seconds):
        try:
            _attempt(config, trial, folder)
        except StorageFault as fault:  # nothing can be written now: the driver is told
            tune.report({STORAGE_FAULT: str(fault)})


def heartbeat_key(scratch: str, uid: str) -> str:
    """What a trial's signs of life are called, in one start of a sweep."""
    return f"{scratch}/{uid}"


def _attempt(config: dict[str, Any], trial: TrialConfig, folder: TrialDir) -> None:
    """Runs a trial to the end, and writes down why it failed if it does; raises `StorageFault` only."""
    try:
        for of_earlier_attempt in (folder.error, folder.result):
            of_earlier_attempt.unlink(missing_ok=True)
        hear_last_words(folder)
        if recipe_of(trial.trial).uses_workers:
            from raynas_snn.cluster.trainer import run_on_workers  # imports torch

            with fetched(config, trial.uid):
                run_on_workers(run_worker, config, trial, folder)
        else:
            with mirrored(config, trial.uid, tune.report) as report:
                _run_recipe(trial, config["run_dir"], report, device="cpu", rank=0)
    except Exception as error:  # for good: Tune would try again, but Train has done so already
        _note_failure(error, trial, folder)
        send_result(config, trial.uid)


def _note_failure(error: Exception, trial: TrialConfig, folder: TrialDir) -> None:
    """Writes the result of a trial whose last attempt failed."""
    from raynas_snn.cluster.reasons import fault_of_storage, hopeless, reason_of  # imports Ray Train

    fault = fault_of_storage(error, folder.path)
    if fault is not None:
        raise fault
    final = hopeless(error)
    if final is not None:
        write_json(folder.result, {"epochs": _epochs_of(folder), "error": said_by(final)})
        return
    words = hear_last_words(folder)
    reason = reason_of(error, words, trial.resources.heartbeat_seconds)
    if (read_text(folder.error) or "").splitlines()[-1:] != [reason]:  # no worker has written more than Ray knows
        write_text(folder.error, f"{words}\n{traceback.format_exc()}\n{reason}\n")
    write_json(folder.result, {"epochs": _epochs_of(folder), "error": f"{reason} (details: {folder.error})"})


def _epochs_of(folder: TrialDir) -> int:
    try:
        return folder.last_epoch()
    except UserError:  # a curve that cannot be read, which may be why the trial failed
        return 0


def run_worker(config: dict[str, Any]) -> None:
    """What Ray Train starts on every worker of a trial."""
    from ray import train
    from ray.train.torch import get_device

    from raynas_snn.training.distributed import World, limit_threads

    trial = TrialConfig.model_validate_json(config["trial"])
    limit_threads(trial.resources.cpus_per_worker)
    world = World.current()
    with mirrored(config, trial.uid, train.report, world.rank, world.size) as report:
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
        with last_words(folder, rank), _writer(run, folder, rank) as writer:
            result = _result_of(trial, folder, writer, report, device)
            if rank == 0:
                genotype = read_json(folder.genotype)
                if genotype is not None:
                    write_text(folder.cells, draw_cells(genotype))
                write_json(folder.result, result)  # the trial's last act
    except HOPELESS:
        raise
    except Exception as error:
        fault = storage_fault(error, folder.path)
        if fault is not None:
            raise fault from error
        if is_of_others(error):
            raise
        write_text(folder.error, f"{traceback.format_exc()}\n{said_by(error)}\n")
        raise TrialCrash(said_by(error)) from error  # whatever it was, this can be sent to another process


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

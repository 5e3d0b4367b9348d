"""One sweep from start to end, or from wherever it stopped."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import tune
from rich.console import Console

from raynas_snn.cluster.callbacks import Bookkeeper
from raynas_snn.cluster.connection import concurrency, connect
from raynas_snn.cluster.display import display_for
from raynas_snn.cluster.halving import make_scheduler, rungs_between
from raynas_snn.cluster.interruption import Interruption
from raynas_snn.cluster.ledger import Ledger
from raynas_snn.cluster.parts import check_parts
from raynas_snn.cluster.progress import SweepProgress
from raynas_snn.cluster.quiet import output_to
from raynas_snn.cluster.searcher import LedgerSearcher
from raynas_snn.cluster.trainable import recipe_of, run_trial
from raynas_snn.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_TRIALS_FAILED
from raynas_snn.manifest import build_manifest, command_line
from raynas_snn.plan import Plan
from raynas_snn.results.run_dir import RunDir

RAY_LOG = "ray.log"  # what Ray and Tune say while they run
DRIVER_MEMORY = 1e6  # bytes; a trial's driver process asks for no CPU, or its workers could not have them


@dataclass(frozen=True)
class SweepOutcome:
    """How a start of a sweep ended.

    Attributes:
        exit_code: See `raynas_snn.errors`.
        num_trials: Trials of the sweep.
        num_finished: Finished so far, in earlier starts too.
        num_failed: Failed so far.
        num_early_stopped: Stopped by the scheduler so far.
        num_infeasible: Over a limit so far, and so not trained.
        num_run: Trials that ended in this start.
    """

    exit_code: int
    num_trials: int
    num_finished: int
    num_failed: int
    num_early_stopped: int
    num_infeasible: int
    num_run: int


def run_sweep(
    plan: Plan, address: str | None, console: Console, max_hours: float | None = None, begun: float | None = None
) -> SweepOutcome:
    """Runs what is missing of a sweep; nothing is written before Ray is there and a trial fits on it.

    Args:
        plan: What to do and where, from `raynas_snn.plan.make_plan`.
        address: A running Ray to join; None takes RAY_ADDRESS or starts a private one.
        console: Where progress goes, on a stream of its own: Ray's output is sent elsewhere meanwhile.
        max_hours: When to interrupt what is running; None for never.
        begun: From when to count these hours, by `time.monotonic`; None from now.

    Raises:
        UserError: If another driver works on the run, no Ray answers at the address, no trial can ever fit, asha
            could never stop one, or what the sweep file names is not what it is named for.
    """
    interruption, sweep = Interruption(max_hours, begun), plan.sweep
    check_parts(sweep)
    if sweep.config.sweep.scheduler == "asha":
        rungs_between(sweep)
    with ExitStack() as stack:
        if plan.continues:
            run = RunDir.open(plan.run_dir)
            stack.enter_context(run.lock())
            ledger = Ledger(sweep, run)
            if ledger.num_missing == 0:
                run.write_config(sweep.resolved())
                console.print(f"Nothing to do: all {ledger.num_trials} trials have ended.", highlight=False)
                return _outcome(ledger, num_run=0)
        stack.enter_context(output_to(os.devnull))
        dashboard_url = stack.enter_context(connect(address))
        stack.enter_context(interruption.by_signals())  # after Ray has set its own handlers
        side_by_side = concurrency(sweep.config.resources)
        if not plan.continues:
            nodes = [dict(node["Resources"]) for node in ray.nodes()]
            run = RunDir.create(plan.run_dir, sweep.resolved(), build_manifest(sweep, nodes))
            stack.enter_context(run.lock())
            ledger = Ledger(sweep, run)
        run.note_start(command_line())
        run.write_config(sweep.resolved())
        _announce(console, ledger, dashboard_url, side_by_side, plan.continues)
        ended_before = len(ledger.records)
        try:
            with interruption.by_time(), output_to(run.path / RAY_LOG):
                _run_missing(ledger, side_by_side, console, interruption)
        except KeyboardInterrupt:
            reason = f"Time is up after {max_hours:g} h" if interruption.time_is_up else "Interrupted"
            console.print(f"{reason}. To continue: {command_line()}", highlight=False, soft_wrap=True)
            return _outcome(ledger, len(ledger.records) - ended_before, interrupted=True)
    return _outcome(ledger, len(ledger.records) - ended_before)


def _run_missing(ledger: Ledger, side_by_side: int, console: Console, interruption: Interruption) -> None:
    """Lets Tune run the missing trials with a new Tuner; no state of an earlier one is read."""
    config = ledger.sweep.config
    progress = SweepProgress(ledger.num_trials, Counter(record.end_reason for record in ledger.records.values()))
    with _scratch(ledger.run) as scratch, display_for(progress, console) as display:
        constants = {
            "run_dir": str(ledger.run.path.absolute()),
            "scratch": str(scratch),
            "max_failures": config.sweep.max_failures,
        }
        own_process = {"CPU": config.resources.cpus_per_worker, "GPU": config.resources.gpus_per_worker}
        uses_workers = recipe_of(config.trial).uses_workers
        tune.Tuner(
            tune.with_resources(run_trial, {"memory": DRIVER_MEMORY} if uses_workers else own_process),
            tune_config=tune.TuneConfig(
                search_alg=LedgerSearcher(ledger, constants),
                scheduler=make_scheduler(ledger.sweep, ledger.run, ledger.records),
                num_samples=ledger.num_missing,
                max_concurrent_trials=side_by_side,
                # A trial that is stopped leaves its workers behind; they go when its process does.
                reuse_actors=config.sweep.scheduler == "none",
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(scratch),
                verbose=0,
                callbacks=[Bookkeeper(ledger, progress, display, interruption)],
                failure_config=tune.FailureConfig(max_failures=1),  # a node may be lost under a trial's driver
            ),
        ).fit()


@contextmanager
def _scratch(run: RunDir) -> Iterator[Path]:
    """A folder for Ray's own files, inside the run directory so that all machines see it; removed afterwards."""
    for stale in run.path.glob("ray-*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=run.path.absolute()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _announce(console: Console, ledger: Ledger, dashboard_url: str | None, side_by_side: int, continued: bool) -> None:
    ended = len(ledger.records)
    verb = f"continues, {ended} of {ledger.num_trials} trials have ended" if continued else "starts"
    lines: list[str] = [
        f"{ledger.sweep.config.name} {verb}: {ledger.num_missing} trials to run, {side_by_side} at a time",
        f"run directory  {ledger.run.path}",
        f"tensorboard    tensorboard --logdir {os.path.relpath(ledger.run.path / 'tb')}",
    ]
    if ledger.num_lessons:
        lines.insert(1, f"learns from {ledger.num_lessons} proposals of {ledger.sweep.config.sweep.warm_start}")
    if dashboard_url:
        lines.append(f"dashboard      {dashboard_url} (token: ray get-auth-token)")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _outcome(ledger: Ledger, num_run: int, interrupted: bool = False) -> SweepOutcome:
    reasons = Counter(record.end_reason for record in ledger.records.values())
    code = EXIT_INTERRUPTED if interrupted else EXIT_TRIALS_FAILED if reasons["failed"] else EXIT_DONE
    return SweepOutcome(
        exit_code=code,
        num_trials=ledger.num_trials,
        num_finished=reasons["finished"],
        num_failed=reasons["failed"],
        num_early_stopped=reasons["early_stopped"],
        num_infeasible=reasons["infeasible"],
        num_run=num_run,
    )

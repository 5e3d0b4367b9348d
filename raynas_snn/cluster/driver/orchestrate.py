"""Runs one sweep from its start, or from where it stopped, to its end."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ray import tune
from rich.console import Console

from raynas_snn.cluster.compat import head_queries
from raynas_snn.cluster.compat.tune_failures import deaths_counted_once, deaths_of_any_kind
from raynas_snn.cluster.driver.callbacks import Bookkeeper
from raynas_snn.cluster.driver.display import display_for
from raynas_snn.cluster.driver.interruption import Interruption
from raynas_snn.cluster.driver.output import output_to
from raynas_snn.cluster.driver.poll import Poll
from raynas_snn.cluster.driver.preflight import check_components
from raynas_snn.cluster.driver.progress import SweepProgress
from raynas_snn.cluster.driver.schedulers import make_scheduler
from raynas_snn.cluster.driver.searcher import LedgerSearcher
from raynas_snn.cluster.runtime.capacity import Capacity
from raynas_snn.cluster.runtime.connection import connect
from raynas_snn.cluster.runtime.head_watch import watched
from raynas_snn.cluster.runtime.orphans import remove_orphans, wait_for_earlier_drivers
from raynas_snn.cluster.trial.storage_session import STORAGE
from raynas_snn.cluster.trial.trainable import recipe_of, run_trial
from raynas_snn.core.errors import EXIT_DONE, EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_TRIALS_FAILED
from raynas_snn.remote.run_copy import RunCopy
from raynas_snn.run.lease import Lease
from raynas_snn.run.provenance import build_manifest, command_line
from raynas_snn.run.records import EndReason
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.ledger import Ledger
from raynas_snn.study.plan import Plan
from raynas_snn.study.warm_start import warm_start_facts

RAY_LOG = "ray.log"  # output of Ray and Tune
_ANSWER_SECONDS = 5.0  # timeout for the head node after an error
DRIVER_MEMORY = 1e6  # bytes; a trial's driver process asks for no CPU, or its workers could not have them


@dataclass(frozen=True)
class SweepOutcome:
    """How a start of a sweep ended.

    Attributes:
        exit_code: See `raynas_snn.core.errors`.
        num_trials: Trials of the sweep.
        num_finished: Finished so far, also under earlier drivers.
        num_failed: Failed so far.
        num_early_stopped: Stopped by the scheduler so far.
        num_infeasible: Over a limit so far, and therefore not trained.
        num_run: Trials that ended under this driver.
    """

    exit_code: int
    num_trials: int
    num_finished: int
    num_failed: int
    num_early_stopped: int
    num_infeasible: int
    num_run: int


def run_sweep(
    plan: Plan,
    address: str | None,
    console: Console,
    max_hours: float | None = None,
    begun: float | None = None,
    copy: RunCopy | None = None,
) -> SweepOutcome:
    """Runs the missing trials of a sweep; writes nothing before Ray is running and a trial fits on it.

    Args:
        plan: The sweep and its run directory, from `raynas_snn.study.plan.make_plan`.
        address: A running Ray to join; None uses RAY_ADDRESS or starts a private one.
        console: Where progress goes. It must have its own stream, because Ray's output is redirected meanwhile.
        max_hours: When to interrupt the sweep; None for never.
        begun: From when to count these hours, by `time.monotonic`; None from now.
        copy: The run in a storage, connected; None without one.

    Raises:
        UserError: If another driver works on the run, no Ray answers at the address, no trial can ever fit, or
            what the sweep file names is not what it is named for.
        ClusterError: If a private Ray does not start.
    """
    interruption, sweep = Interruption(max_hours, begun), plan.sweep
    check_components(sweep, RunDir(plan.run_dir))
    with ExitStack() as stack:
        stack.enter_context(interruption.by_signals())
        if plan.continues:
            run = RunDir.open(plan.run_dir)
            lease = stack.enter_context(run.lock(partial(_print, console)))
            ledger = Ledger(sweep, run)
            for note in ledger.notes:
                _print(console, note)
            if ledger.num_missing == 0:
                run.write_config(sweep.resolved())
                _print(console, f"Nothing to do: all {ledger.num_trials} trials have ended.")
                return _outcome(ledger, _exit_code(ledger), num_run=0)
        stack.enter_context(output_to(os.devnull))
        connection = stack.enter_context(connect(address, plan.run_dir))
        interruption.listen()  # Ray has set handlers of its own
        capacity = Capacity(sweep.config.resources)
        capacity.check()
        if not connection.is_private:
            _clean(console, plan.run_dir)
        if not plan.continues:
            manifest = build_manifest(sweep, capacity.cluster.nodes) | warm_start_facts(sweep)
            run = RunDir.create(plan.run_dir, sweep.resolved(), manifest)
            lease = stack.enter_context(run.lock(partial(_print, console)))
            ledger = Ledger(sweep, run)
        run.note_start(command_line(), **({} if copy is None else {"storage": copy.url}))
        run.write_config(sweep.resolved())
        if copy is not None:
            copy.begin()
        _announce(console, ledger, connection.dashboard_url, capacity.trials(), plan)
        ended_before = len(ledger.records)
        gone = f"The Ray at {connection.address} is gone. To continue: {command_line()}"
        try:
            with watched(interruption.ray_is_gone, if_stuck=lambda: _leave_hard(console, gone)):
                _run_missing(ledger, capacity, console, interruption, lease, copy)
            interruption.close()
            code = _exit_code(ledger)
        except KeyboardInterrupt:
            interruption.close()
            connection.is_lost = interruption.cause == "ray"
            _print(console, gone if connection.is_lost else f"{interruption.reason}. To continue: {command_line()}")
            code = EXIT_FAILURE if connection.is_lost else EXIT_INTERRUPTED
        except Exception:
            interruption.close()
            if head_queries.answers(_ANSWER_SECONDS):
                raise
            connection.is_lost = True
            _print(console, gone)
            code = EXIT_FAILURE
    return _outcome(ledger, code, len(ledger.records) - ended_before)


def _run_missing(
    ledger: Ledger,
    capacity: Capacity,
    console: Console,
    interruption: Interruption,
    lease: Lease,
    copy: RunCopy | None,
) -> None:
    """Lets Tune run the missing trials with a new Tuner; no state of an earlier one is read."""
    config = ledger.sweep.config
    progress = SweepProgress(ledger.num_trials, _ends(ledger))
    with ExitStack() as stack:
        stack.enter_context(output_to(ledger.run.path / RAY_LOG))
        scratch = stack.enter_context(_scratch(ledger.run))
        display = stack.enter_context(display_for(progress, console))
        stack.enter_context(interruption.graceful(lambda: progress.running))
        run_dir = str(ledger.run.path.absolute())
        constants = {
            "run_dir": run_dir,
            "scratch": str(scratch),
            "max_failures": config.sweep.max_failures,
            **({} if copy is None else {STORAGE: copy.address}),
        }
        own_process = {"CPU": config.resources.cpus_per_worker, "GPU": config.resources.gpus_per_worker}
        uses_workers = recipe_of(config.trial).uses_workers
        confirm = (lease if copy is None else copy).check
        poll = Poll(interruption, capacity, remove_orphans, progress, display, confirm)
        bookkeeper = Bookkeeper(ledger, progress, display, poll, copy)
        scheduler = make_scheduler(ledger.sweep, ledger.run, ledger.records)
        tuner = tune.Tuner(
            tune.with_resources(run_trial, {"memory": DRIVER_MEMORY} if uses_workers else own_process),
            tune_config=tune.TuneConfig(
                search_alg=LedgerSearcher(ledger, constants, capacity, poll, copy),
                scheduler=scheduler,
                num_samples=ledger.num_missing,
                # A trial that is stopped leaves its workers behind; they go when its process does.
                reuse_actors=scheduler is None,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(scratch),
                verbose=0,
                callbacks=[bookkeeper],
                failure_config=tune.FailureConfig(max_failures=1),  # a node may be lost under a trial's driver
            ),
        )
        stack.enter_context(deaths_of_any_kind())
        stack.enter_context(deaths_counted_once())
        try:
            tuner.fit()
        finally:
            if bookkeeper.fault is not None:  # whatever Tune has made of it
                raise bookkeeper.fault


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


def _clean(console: Console, run_dir: Path) -> None:
    """Removes orphaned placement groups of killed drivers from a cluster that survived them."""
    wait_for_earlier_drivers(str(run_dir.absolute()))
    removed = remove_orphans()
    if removed:
        things = f"{removed} placement group{'s' * (removed > 1)}"
        _print(console, f"removed {things} that killed drivers had left on this Ray")


def _announce(console: Console, ledger: Ledger, dashboard_url: str | None, side_by_side: int, plan: Plan) -> None:
    ended = len(ledger.records)
    verb = f"continues, {ended} of {ledger.num_trials} trials have ended" if plan.continues else "starts"
    lines: list[str] = [
        f"{ledger.sweep.config.name} {verb}: {ledger.num_missing} trials to run, {side_by_side} at a time",
        f"run directory  {ledger.run.path}",
        *plan.notes,
        f"tensorboard    tensorboard --logdir {os.path.relpath(ledger.run.path / 'tb')}",
    ]
    if ledger.num_warm_start:
        lines.insert(1, f"learns from {ledger.num_warm_start} proposals of {ledger.sweep.config.sweep.warm_start}")
    if dashboard_url:
        lines.append(f"dashboard      {dashboard_url} (token: ray get-auth-token)")
    for line in lines:
        _print(console, line)


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _leave_hard(console: Console, line: str) -> None:
    """Ends the process while its main thread sits in a call that does not come back."""
    _print(console, line)
    os._exit(EXIT_FAILURE)


def _ends(ledger: Ledger) -> Counter[EndReason]:
    return Counter(record.end_reason for record in ledger.records.values())


def _exit_code(ledger: Ledger) -> int:
    return EXIT_TRIALS_FAILED if _ends(ledger)["failed"] else EXIT_DONE


def _outcome(ledger: Ledger, exit_code: int, num_run: int) -> SweepOutcome:
    reasons = _ends(ledger)
    return SweepOutcome(
        exit_code=exit_code,
        num_trials=ledger.num_trials,
        num_finished=reasons["finished"],
        num_failed=reasons["failed"],
        num_early_stopped=reasons["early_stopped"],
        num_infeasible=reasons["infeasible"],
        num_run=num_run,
    )

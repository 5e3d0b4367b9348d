"""The verb ``python -m raynas_snn.status``: shows what a run is doing. It reads files only."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from raynas_snn.analysis.run_status import OpenTrial, Progress, read_progress
from raynas_snn.cli import Arguments, Parser, run_verb
from raynas_snn.core.errors import EXIT_DONE
from raynas_snn.core.scalars import Scalar
from raynas_snn.core.screen import make_console, make_table, percent, short_names, short_number, short_scalar
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir

_MAX_SHOWN = 20  # of each way to end


def make_parser() -> argparse.ArgumentParser:
    """The flags of the verb."""
    parser = Parser(
        "python -m raynas_snn.status",
        "Shows what a run has finished, what is running and what is missing. Reads files only.",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="run directory of a sweep")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: Arguments = None) -> int:
    """Runs the verb and returns its exit code."""
    return run_verb(_status, argv)


def _status(argv: Arguments) -> int:
    options = make_parser().parse_args(argv)
    progress = read_progress(RunDir.open(options.run_dir))
    if options.json:
        print(json.dumps(progress.as_dict(), indent=2))
    else:
        print_progress(progress, make_console())
    return EXIT_DONE


def print_progress(progress: Progress, console: Console) -> None:
    """Prints the state of a run for people."""
    console.print(f"{progress.name}  {progress.run_dir}")
    if progress.driver:
        console.print(f"driver  {progress.driver}")
    elif progress.is_complete:
        console.print("driver  none; all trials have ended")
    else:
        how = f"; continue with: {progress.command}" if progress.command else ""
        console.print(f"driver  none{how}", soft_wrap=True)
    counts = [f"{number} {state.replace('_', '-')}" for state, number in progress.counts.items() if number]
    beyond = f" ({sum(progress.num_beyond)} beyond those asked for now)" if any(progress.num_beyond) else ""
    console.print(f"trials  {progress.num_planned} planned: {', '.join(counts) or 'none'}{beyond}", soft_wrap=True)
    if progress.open_trials:
        console.print()
        _print_open(progress.open_trials, console)
    stopped = {uid: f"after epoch {epochs}" for uid, epochs in progress.early_stopped.items()}
    for how, reasons in (
        ("failed", progress.failures),
        ("infeasible", progress.infeasible),
        ("early-stopped", stopped),
    ):
        _print_ended(how, reasons, console)
    if progress.best:
        console.print()
        console.print(f"best so far by {progress.objective}: {_describe(progress.best)}", soft_wrap=True)


def _print_open(trials: Sequence[OpenTrial], console: Console) -> None:
    table = make_table(
        ["trial", "state", "phase", "epoch", "accuracy %", "spikes", "outer parameters"],
        numbers=["epoch", "accuracy %", "spikes"],
    )
    for trial in trials:
        table.add_row(
            trial.uid,
            trial.state,
            trial.phase or "-",
            "-" if trial.epoch is None else str(trial.epoch),
            "-" if trial.accuracy is None else percent(trial.accuracy),
            "-" if trial.spikes is None else short_number(trial.spikes),
            _settings(trial.outer),
        )
    console.print(table)


def _print_ended(how: str, reasons: Mapping[str, str], console: Console) -> None:
    if not reasons:
        return
    console.print()
    for uid, reason in list(reasons.items())[:_MAX_SHOWN]:
        console.print(f"{how}  {uid}: {reason}", soft_wrap=True)
    if len(reasons) > _MAX_SHOWN:
        console.print(f"{how}  and {len(reasons) - _MAX_SHOWN} more; --json shows all")


def _describe(record: TrialRecord) -> str:
    numbers = []
    if (accuracy := record.metric("accuracy")) is not None:
        numbers.append(f"accuracy {percent(accuracy)} %")
    for name, unit in (("spikes", "spikes"), ("energy_uj", "uJ"), ("params", "params")):
        if (value := record.metric(name)) is not None:
            numbers.append(f"{short_number(value)} {unit}")
    settings = _settings(record.outer)
    return f"{record.uid}: {', '.join(numbers)}" + (f" ({settings})" if settings else "")


def _settings(outer: Mapping[str, Scalar]) -> str:
    names = short_names(list(outer))
    return ", ".join(f"{names[path]}={short_scalar(value)}" for path, value in outer.items())


if __name__ == "__main__":
    sys.exit(main())

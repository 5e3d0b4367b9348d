"""The verb ``python -m raynas_snn.sweep``: starts a sweep or continues it."""

import argparse
import json
import math
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

from raynas_snn.cli import Arguments, Parser, run_verb
from raynas_snn.cluster.compat.supported_ray import check_ray_version
from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.listing import described_options
from raynas_snn.config.yaml_text import dump, show
from raynas_snn.core import registry
from raynas_snn.core.errors import EXIT_DONE, EXIT_FAILURE, EXIT_INTERRUPTED, StorageFault, UserError, storage_fault
from raynas_snn.interfaces.dataset import find_dataset
from raynas_snn.remote.run_copy import RunCopy, refuse_without_storage
from raynas_snn.run.provenance import command_line
from raynas_snn.study.plan import Plan, default_run_dir, make_plan

LONGEST_HOURS = 100_000
_OPTION_COLUMN = 24


def make_parser() -> argparse.ArgumentParser:
    """The flags of the verb; there are few on purpose, everything else is a field of the sweep file."""
    parser = Parser(
        "python -m raynas_snn.sweep",
        "Runs a neural architecture search for spiking networks over the outer parameters of a sweep file.\n"
        "The same command starts a sweep and continues it where it stopped.",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="sweep file; without one, a small default")
    parser.add_argument(
        "--set",
        metavar="A.B=V",
        action="append",
        default=[],
        dest="overrides",
        help="override a field of the file, the value in YAML; may be given several times",
    )
    parser.add_argument("--num-trials", metavar="N", type=int, help="proposals to make; short for sweep.num_trials")
    parser.add_argument("--run-dir", metavar="D", type=Path, help="where to keep the run (runs/NAME-HASH)")
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="keep the run there, by which machines that share no disk work together and any of them can continue: "
        "s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, file:///FOLDER",
    )
    parser.add_argument(
        "--resume",
        choices=["auto", "must", "never"],
        default="auto",
        help="auto continues what the run directory holds or starts; must only continues, never only starts",
    )
    parser.add_argument(
        "--address",
        metavar="A",
        help="Ray cluster to join, or auto; without it $RAY_ADDRESS, else a Ray of its own on this machine",
    )
    parser.add_argument(
        "--max-hours", metavar="H", type=_hours, help="interrupt what is running after H hours, as Ctrl-C would"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="say what would run, and stop")
    instead.add_argument("--print-config", action="store_true", help="print the file with every default, and stop")
    instead.add_argument(
        "--list",
        metavar="KIND",
        dest="kind",
        help=f"list the names of a kind, and stop: {', '.join(registry.KINDS)}",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _hours(text: str) -> float:
    """A length of time that a timer can be set to."""
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours <= LONGEST_HOURS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and at most {LONGEST_HOURS}")
    return hours


def main(argv: Arguments = None) -> int:
    """Runs the verb and returns its exit code."""
    return run_verb(_sweep, argv)


def _sweep(argv: Arguments) -> int:
    options = make_parser().parse_args(argv)
    if options.kind is not None:
        _print_listing(options.kind, options.json)
        return EXIT_DONE
    sweep = load_sweep(options.file, options.overrides, options.num_trials)
    if options.print_config:
        resolved = sweep.resolved()
        print(json.dumps(resolved, indent=2) if options.json else dump(resolved).rstrip())
        return EXIT_DONE
    check_ray_version()
    _check_data(sweep)
    run_dir = options.run_dir or default_run_dir(sweep)
    if options.storage is None:
        refuse_without_storage(run_dir)
        copy, plan = None, make_plan(sweep, run_dir, options.resume)
    else:
        copy = RunCopy(options.storage, run_dir)
        plan = copy.plan(lambda path: make_plan(sweep, path, options.resume))
        plan = replace(plan, run_dir=run_dir, storage=str(copy.storage))
    if options.dry_run:
        print(json.dumps(plan.as_dict(), indent=2) if options.json else plan.text())
        return EXIT_DONE
    return _run(plan, copy, options.address, options.max_hours, options.json)


def _run(plan: Plan, copy: RunCopy | None, address: str | None, max_hours: float | None, as_json: bool) -> int:
    from raynas_snn.cluster.driver.orchestrate import run_sweep  # imports ray, which takes seconds
    from raynas_snn.cluster.driver.output import own_stream
    from raynas_snn.core.screen import PlainConsole
    from raynas_snn.report import print_report, report_as_dict
    from raynas_snn.run.run_dir import RunDir
    from raynas_snn.tables.report_files import write_report

    begun = time.monotonic()
    data = plan.sweep.config.data
    for line in find_dataset(data.name).prepare(data):
        print(f"warning: {line}", file=sys.stderr)
    console = PlainConsole(file=own_stream(stderr=as_json))
    if copy is not None:
        copy.say = lambda line: console.print(line, soft_wrap=True)
    try:
        with nullcontext() if copy is None else copy.connected():
            outcome = run_sweep(plan, address, console, max_hours, begun, copy)
            run = RunDir.open(plan.run_dir)
            report = write_report(run)
    except (OSError, StorageFault) as error:  # Ray and Tune write there, too
        fault = storage_fault(error, plan.run_dir)
        if fault is None:
            raise
        raise StorageFault(f"{fault}: {command_line()}") from None
    if as_json:
        print(json.dumps({**report_as_dict(run, report), **asdict(outcome)}, indent=2), file=own_stream(stderr=False))
    elif outcome.exit_code not in (EXIT_INTERRUPTED, EXIT_FAILURE):
        print_report(report)
    return outcome.exit_code


def _check_data(sweep: Sweep) -> None:
    try:
        find_dataset(sweep.config.data.name).check(sweep.config.data)
    except UserError as error:
        raise UserError(f"{sweep.source}: {error}") from None


def _print_listing(kind: str, as_json: bool) -> None:
    rows = registry.listing(kind)
    if as_json:
        things = [
            {"name": name, "description": text, "from": origin, "options": described_options(kind, name)}
            for name, text, origin in rows
        ]
        print(json.dumps({kind: things}, indent=2))
        return
    width = max(len(name) for name, _, _ in rows)
    for name, text, origin in rows:
        print(f"{name:<{width}}  {text}" + ("" if origin == "built in" else f" [{origin}]"))
        for option in described_options(kind, name):
            written = f"{option['name']}: {show(option['default'])}"
            print(f"{'':<{width}}    {written:<{_OPTION_COLUMN}} {option['takes']}; {option['description']}")


if __name__ == "__main__":
    sys.exit(main())

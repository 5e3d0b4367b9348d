"""The verb ``python -m raynas_snn.report``: writes and prints the tables of a run. Needs no Ray."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from raynas_snn.cli import Arguments, Parser, run_verb
from raynas_snn.core.errors import EXIT_DONE
from raynas_snn.core.files import plain
from raynas_snn.core.screen import make_console
from raynas_snn.run.run_dir import RunDir
from raynas_snn.tables import ablation_table, networks_table, pareto_table
from raynas_snn.tables.report_files import Report, write_report


def make_parser() -> argparse.ArgumentParser:
    """The flags of the verb."""
    parser = Parser(
        "python -m raynas_snn.report",
        "Writes the tables of a run (ablation, networks, Pareto front) as CSV, Markdown and LaTeX, and prints the most "
        "important columns.",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="run directory of a sweep")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: Arguments = None) -> int:
    """Runs the verb and returns its exit code."""
    return run_verb(_report, argv)


def _report(argv: Arguments) -> int:
    options = make_parser().parse_args(argv)
    run = RunDir.open(options.run_dir)
    report = write_report(run)
    if options.json:
        print(json.dumps(report_as_dict(run, report), indent=2))
    else:
        print_report(report)
    return EXIT_DONE


def print_report(report: Report) -> None:
    """Prints the most important columns of the tables, what to doubt about them, and where they lie."""
    console = make_console()
    console.print(ablation_table.to_terminal(report.rows))
    console.print()
    console.print(ablation_table.SCREEN_NOTE, soft_wrap=True)
    if len(report.networks) > 1:
        console.print()
        console.print(networks_table.to_terminal(report.networks))
        console.print()
        console.print(networks_table.screen_note(report.networks), soft_wrap=True)
    if report.pareto is not None:
        console.print()
        console.print(pareto_table.to_terminal(report.pareto, report.sweep))
        console.print()
        console.print(pareto_table.SCREEN_NOTE, soft_wrap=True)
    for warning in report.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)
    for path in report.files.values():
        console.print(f"written: {path}", soft_wrap=True)


def report_as_dict(run: RunDir, report: Report) -> dict[str, object]:
    """The tables for programs; ``pareto`` is None if the sweep has one objective."""
    return {
        "run_dir": str(run.path),
        "files": {key: str(path) for key, path in report.files.items()},
        "warnings": list(report.warnings),
        "rows": [plain(asdict(row)) for row in report.rows],
        "networks": [plain(asdict(network)) for network in report.networks],
        "pareto": None if report.pareto is None else [plain(asdict(point)) for point in report.pareto],
    }


if __name__ == "__main__":
    sys.exit(main())

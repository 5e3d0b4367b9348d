"""The verb ``python -m raynas_snn.report``: writes and prints the ablation tables of a run. Needs no Ray."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from raynas_snn.cli import Arguments, Parser, run_verb
from raynas_snn.errors import EXIT_DONE
from raynas_snn.results.analysis import AblationRow
from raynas_snn.results.files import plain
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.screen import make_console
from raynas_snn.results.tables import SCREEN_NOTE, adaptive_warning, to_terminal, write_report


def make_parser() -> argparse.ArgumentParser:
    """The flags of the verb."""
    parser = Parser(
        "python -m raynas_snn.report",
        "Writes the ablation tables of a run as CSV and Markdown, and prints the most important columns.",
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
    rows = write_report(run)
    if options.json:
        print(json.dumps(report_as_dict(run, rows), indent=2))
    else:
        print_report(run, rows)
    return EXIT_DONE


def print_report(run: RunDir, rows: list[AblationRow]) -> None:
    """Prints the most important columns of the tables, and where the tables lie."""
    console = make_console()
    console.print(to_terminal(rows))
    console.print()
    console.print(SCREEN_NOTE, soft_wrap=True)
    if warning := adaptive_warning(run.config()):
        console.print(f"warning: {warning}", soft_wrap=True)
    for path in (run.ablation_csv, run.ablation_markdown):
        console.print(f"written: {path}", soft_wrap=True)


def report_as_dict(run: RunDir, rows: list[AblationRow]) -> dict[str, object]:
    """The tables for programs."""
    return {
        "run_dir": str(run.path),
        "files": {"csv": str(run.ablation_csv), "markdown": str(run.ablation_markdown)},
        "warning": adaptive_warning(run.config()),
        "rows": [plain(asdict(row)) for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())

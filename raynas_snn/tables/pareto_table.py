"""The Pareto front as CSV and Markdown, and for the terminal."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.table import Table

from raynas_snn.analysis.pareto import ParetoPoint
from raynas_snn.config import Sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.screen import percent, short_names, short_number, short_scalar
from raynas_snn.core.text import visible
from raynas_snn.run.run_dir import RunDir
from raynas_snn.tables import captions as notes
from raynas_snn.tables.columns import MISSING, Column, csv_text, screen_table
from raynas_snn.tables.markdown import escape, markdown_list, markdown_table
from raynas_snn.tables.retrain_file import retrain_sweep_file

SCREEN_NOTE = "Pareto front: proposals that no other one beats; means over n seeds; cells lie in the run directory"

FOLDER = "pareto"  # in the folder of the report, for the sweep files of the points

_FRACTIONS = ("accuracy", "search_accuracy")
_FRONT = (
    "Finished proposals that no other one beats: none is at least as good in every objective and better in one. "
    "Objectives are means over the finished seeds."
)


def to_csv(points: Sequence[ParetoPoint], sweep: Sweep) -> str:
    """Returns the front as CSV: proposal, trials, each objective, each outer parameter, file with the cells."""
    objectives, paths = list(sweep.config.sweep.objectives), [parameter.path for parameter in sweep.outer]
    return csv_text(
        ["proposal", "trials", *objectives, *paths, "genotype"],
        [
            [
                point.proposal,
                " ".join(point.trials),
                *(point.objectives[name] for name in objectives),
                *(point.outer.get(path) for path in paths),
                point.genotype,
            ]
            for point in points
        ],
    )


def to_markdown(points: Sequence[ParetoPoint], sweep: Sweep, run: RunDir, warnings: Sequence[str] = ()) -> str:
    """Returns a page with the front, and with how the cells of a point are trained again."""
    page = [
        f"# {escape(sweep.config.name)}: Pareto front\n",
        markdown_table(_columns(sweep), points),
        markdown_list([_FRONT, *_limits(sweep)]),
        "Beside this page lies a sweep file for each point; it trains the point's cells again, with its settings:\n",
        f"```\npython -m raynas_snn.sweep {_quoted(run.report / FOLDER / _file_of(points[0]))}\n```\n"
        if points
        else "",
    ]
    return "\n".join([*page, *(f"**Warning.** {escape(warning)}\n" for warning in warnings)])


def to_sweep_files(
    points: Sequence[ParetoPoint], sweep: Sweep, run: RunDir, trial_of: Callable[[str], TrialConfig | None]
) -> dict[str, str]:
    """Returns a sweep file for each point whose cells are there, by name of the file: ``p0003.yaml``.

    Args:
        points: The front.
        sweep: The sweep of the run.
        run: Where the cells are.
        trial_of: The settings of a trial by uid.
    """
    files = {}
    for point in points:
        trial = trial_of(point.trials[0])
        if point.genotype is not None and trial is not None:
            files[_file_of(point)] = retrain_sweep_file(sweep, trial, run.path / point.genotype)
    return files


def _quoted(path: Path) -> str:
    return shlex.quote(visible(str(path)))


def _file_of(point: ParetoPoint) -> str:
    return f"p{point.proposal:04d}.yaml"


def to_terminal(points: Sequence[ParetoPoint], sweep: Sweep) -> Table:
    """Returns the front for a terminal."""
    return screen_table(_columns(sweep), points)


def _limits(sweep: Sweep) -> list[str]:
    limits = notes.limits(sweep.config.sweep.limits)
    return [f"Only proposals within the limits of the sweep: {limits}."] if limits else []


def _columns(sweep: Sweep) -> list[Column[ParetoPoint]]:
    names = short_names([parameter.path for parameter in sweep.outer])
    return [
        Column(lambda point: str(point.proposal), "Proposal", None, "proposal"),
        Column(lambda point: str(len(point.trials)), "Seeds", None, "n"),
        *(_objective(name, direction) for name, direction in sweep.config.sweep.objectives.items()),
        *(_outer(path, name) for path, name in names.items()),
        Column(lambda point: point.genotype, "Cells", None, "cells", is_number=False),
    ]


def _objective(name: str, direction: str) -> Column[ParetoPoint]:
    is_fraction = name in _FRACTIONS
    header = f"{name}{' %' if is_fraction else ''} ({direction[:3]})"

    def text(point: ParetoPoint) -> str:
        value = point.objectives[name]
        return percent(value) if is_fraction else short_number(value)

    return Column(text, header, None, header)


def _outer(path: str, name: str) -> Column[ParetoPoint]:
    def text(point: ParetoPoint) -> str:
        return short_scalar(point.outer[path]) if path in point.outer else MISSING

    return Column(text, name, None, name, is_number=False)

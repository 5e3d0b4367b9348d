"""The Pareto front as CSV, in Markdown, and on the terminal."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from raynas_snn.config.outer import OuterParameter
from raynas_snn.results import notes
from raynas_snn.results.again import retraining_file
from raynas_snn.results.columns import MISSING, Column, csv_text, screen_table
from raynas_snn.results.markdown import escape, markdown_list, markdown_table
from raynas_snn.results.pareto import Point, objectives_of
from raynas_snn.results.planned import setting
from raynas_snn.results.proposals import limits_of
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.screen import percent, short_names, short_number, short_scalar
from raynas_snn.visible import visible

SCREEN_NOTE = "Pareto front: proposals that no other one beats; means over n seeds; cells lie in the run directory"

FOLDER = "pareto"  # in the folder of the report, for the sweep files of the points

_FRACTIONS = ("accuracy", "search_accuracy")
_FRONT = (
    "Finished proposals that no other one beats: none is at least as good in every objective and better in one. "
    "Objectives are means over the finished seeds."
)


def to_csv(points: Sequence[Point], config: Mapping[str, Any], parameters: Sequence[OuterParameter]) -> str:
    """Returns the front as CSV: proposal, trials, each objective, each outer parameter, file with the cells."""
    objectives, paths = list(objectives_of(config)), [parameter.path for parameter in parameters]
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


def to_markdown(
    points: Sequence[Point],
    config: Mapping[str, Any],
    parameters: Sequence[OuterParameter],
    run: RunDir,
    warnings: Sequence[str] = (),
) -> str:
    """Returns a page with the front, and with how the cells of a point are trained again."""
    page = [
        f"# {escape(str(setting(config, 'name')))}: Pareto front\n",
        markdown_table(_columns(config, parameters), points),
        markdown_list([_FRONT, *_limits(config)]),
        "Beside this page lies a sweep file for each point; it trains the point's cells again, with its settings:\n",
        f"```\npython -m raynas_snn.sweep {_quoted(run.report / FOLDER / _file_of(points[0]))}\n```\n"
        if points
        else "",
    ]
    return "\n".join([*page, *(f"**Warning.** {escape(warning)}\n" for warning in warnings)])


def to_sweep_files(points: Sequence[Point], config: Mapping[str, Any], run: RunDir) -> dict[str, str]:
    """Returns a sweep file for each point whose cells are there, by name of the file: ``p0003.yaml``."""
    files = {}
    for point in points:
        settings = run.trial(point.trials[0]).read_config()
        if point.genotype is not None and settings is not None:
            files[_file_of(point)] = retraining_file(config, settings, run.path / point.genotype)
    return files


def _quoted(path: Path) -> str:
    return shlex.quote(visible(str(path)))


def _file_of(point: Point) -> str:
    return f"p{point.proposal:04d}.yaml"


def to_terminal(points: Sequence[Point], config: Mapping[str, Any], parameters: Sequence[OuterParameter]) -> Table:
    """Returns the front for a terminal."""
    return screen_table(_columns(config, parameters), points)


def _limits(config: Mapping[str, Any]) -> list[str]:
    limits = notes.limits(limits_of(config))
    return [f"Only proposals within the limits of the sweep: {limits}."] if limits else []


def _columns(config: Mapping[str, Any], parameters: Sequence[OuterParameter]) -> list[Column[Point]]:
    names = short_names([parameter.path for parameter in parameters])
    return [
        Column(lambda point: str(point.proposal), "Proposal", None, "proposal"),
        Column(lambda point: str(len(point.trials)), "Seeds", None, "n"),
        *(_objective(name, direction) for name, direction in objectives_of(config).items()),
        *(_outer(path, name) for path, name in names.items()),
        Column(lambda point: point.genotype, "Cells", None, "cells", is_number=False),
    ]


def _objective(name: str, direction: str) -> Column[Point]:
    is_fraction = name in _FRACTIONS
    header = f"{name}{' %' if is_fraction else ''} ({direction[:3]})"

    def text(point: Point) -> str:
        value = point.objectives[name]
        return percent(value) if is_fraction else short_number(value)

    return Column(text, header, None, header)


def _outer(path: str, name: str) -> Column[Point]:
    def text(point: Point) -> str:
        return short_scalar(point.outer[path]) if path in point.outer else MISSING

    return Column(text, name, None, name, is_number=False)

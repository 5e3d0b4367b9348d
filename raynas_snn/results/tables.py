"""The ablation table as CSV for programs, Markdown for papers, and on the terminal.

Files for programs hold fractions in full precision; people read percent.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from rich.table import Table

from raynas_snn.errors import UserError
from raynas_snn.results.analysis import AblationRow, ablation
from raynas_snn.results.files import write_text
from raynas_snn.results.planned import outer_parameters, setting
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.screen import duration, make_table, percent, scalar, short_names, short_number

COLUMNS = tuple(field.name for field in fields(AblationRow))

ADAPTIVE_WARNING = (
    "The sampler '{sampler}' may choose proposals by earlier results: it tries good regions more often, which "
    "biases means over levels. Use grid or random for an ablation."
)

SCREEN_NOTE = "accuracy: mean ± half width of the 95 % interval; spikes and energy (uJ) are per image"

_INDEPENDENT_SAMPLERS = ("grid", "random")

_NOTES = """\
- Accuracy: mean over the n finished trials, on test images that were held out of search and training, with
  the half width of the 95 % interval by Student's t (n - 1 degrees of freedom; none for n = 1).
- Difference: percentage points to the first level of the factor; mean over the pairs of finished trials that
  agree in all other factors and in the seed. Ranges are shown in bins, without difference.
- Spikes, SOPs (synaptic operations) and energy are per test image, summed over all time steps.
- Energy = 4.6 pJ per MAC (layers that read real values) + 0.9 pJ per AC (one SOP; layers that read spikes),
  32-bit float at 45 nm (Horowitz, ISSCC 2014). Compute only: memory traffic is not part of it.
- Params, spikes, SOPs, energy and time are means over the n finished trials; time is per trial.
- Failed and early-stopped trials are counted, never averaged. A dash stands for a number that cannot be told.
"""


@dataclass(frozen=True)
class _Column:
    markdown: str
    screen: str | None  # None: too wide for a terminal
    text: Callable[[AblationRow], str | None]


def _short(name: str) -> Callable[[AblationRow], str | None]:
    def text(row: AblationRow) -> str | None:
        value: float | None = getattr(row, name)
        return None if value is None else short_number(value)

    return text


def _accuracy(row: AblationRow) -> str | None:
    if row.accuracy_mean is None:
        return None
    mean = percent(row.accuracy_mean)
    return mean if row.accuracy_ci95 is None else f"{mean} ± {percent(row.accuracy_ci95)}"


def _difference(row: AblationRow) -> str | None:
    return None if row.delta_vs_baseline is None else percent(row.delta_vs_baseline, sign=True)


_NUMBERS = (
    _Column("n", "n", lambda row: str(row.n)),
    _Column("Accuracy (%)", "accuracy %", _accuracy),
    _Column("Difference (pp)", "diff", _difference),
    _Column("Params", "params", _short("params")),
    _Column("Params with auxiliary", None, _short("params_with_auxiliary")),
    _Column("Spikes", "spikes", _short("spikes")),
    _Column("SOPs", None, _short("sops")),
    _Column("Energy (µJ)", "uJ", _short("energy_uj")),
    _Column("Time", "time", lambda row: None if row.seconds is None else duration(row.seconds)),
    _Column("Early-stopped", None, lambda row: str(row.num_early_stopped)),
    _Column("Failed", "failed", lambda row: str(row.num_failed)),
)


def to_csv(rows: Sequence[AblationRow]) -> str:
    """Returns the table as CSV: the fields of `AblationRow`, in full precision, empty for None."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([scalar(value) if isinstance(value, bool) else value for value in astuple(row)])
    return text.getvalue()


def to_markdown(rows: Sequence[AblationRow], config: Mapping[str, Any]) -> str:
    """Returns a page with the table in percent and with notes that say how each number came about.

    Args:
        rows: The table.
        config: The resolved sweep file.
    """
    names = short_names(_factors(rows))
    name, data, space, sampler, num_seeds = (
        _escape(str(setting(config, path)))
        for path in ("name", "data.name", "space", "sweep.sampler", "sweep.num_seeds")
    )
    lines = [
        f"# {name}: ablation",
        "",
        f"Data set: {data}. Search space: {space}. Sampler: {sampler}. Seeds per proposal: {num_seeds}.",
        "",
        _markdown_row(["Factor", "Level", *(column.markdown for column in _NUMBERS)]),
        _markdown_row(["---", "---", *("---:" for _ in _NUMBERS)]),
    ]
    for row in rows:
        cells = [column.text(row) or "-" for column in _NUMBERS]
        lines.append(_markdown_row([_escape(names[row.factor]), _escape(scalar(row.level)), *cells]))
    warning = adaptive_warning(config)
    notes = _NOTES + (f"\n**Warning.** {_escape(warning)}\n" if warning else "")
    return "\n".join(lines) + "\n\n" + notes


def to_terminal(rows: Sequence[AblationRow]) -> Table:
    """Returns the table for a terminal of 80 columns, with the numbers that matter most."""
    columns = [column for column in _NUMBERS if column.screen is not None]
    headers = [column.screen or "" for column in columns]
    table = make_table(["factor", "level", *headers], numbers=headers)
    names = short_names(_factors(rows))
    previous = None
    for row in rows:
        factor = names[row.factor] if row.factor != previous else ""
        table.add_row(factor, scalar(row.level), *(column.text(row) or "-" for column in columns))
        previous = row.factor
    return table


def adaptive_warning(config: Mapping[str, Any]) -> str | None:
    """Returns why an ablation of this sweep is to be read with care, or None."""
    sampler = setting(config, "sweep.sampler")
    return None if sampler in _INDEPENDENT_SAMPLERS else ADAPTIVE_WARNING.format(sampler=sampler)


def write_report(run: RunDir) -> list[AblationRow]:
    """Writes ``report/ablation.csv`` and ``report/ablation.md`` of a run, and returns the table.

    Raises:
        UserError: If the run is garbled or the folder cannot be written.
    """
    config = run.config()
    rows = ablation(run.records(), outer_parameters(config))
    try:
        run.report.mkdir(exist_ok=True)
        write_text(run.ablation_csv, to_csv(rows))
        write_text(run.ablation_markdown, to_markdown(rows, config))
    except OSError as error:
        raise UserError(f"{run.report}: cannot write the report: {error.strerror}") from None
    return rows


def _factors(rows: Sequence[AblationRow]) -> list[str]:
    return list(dict.fromkeys(row.factor for row in rows))


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    text = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("&", "&amp;").replace("<", "&lt;")

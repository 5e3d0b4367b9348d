"""The ablation table as CSV, Markdown and LaTeX, and for the terminal.

CSV holds fractions in full precision; the other formats show percent.
"""

from collections.abc import Sequence
from dataclasses import astuple, fields

from rich.table import Table

from raynas_snn.analysis.ablation import AblationRow
from raynas_snn.config import Sweep
from raynas_snn.config.search_parameter import OuterParameter
from raynas_snn.core.screen import duration, mean_and_spread, percent, scalar, short_names
from raynas_snn.tables import captions as notes
from raynas_snn.tables.columns import Column, csv_text, number, screen_table
from raynas_snn.tables.latex import latex_table
from raynas_snn.tables.markdown import escape, markdown_list, markdown_table

SCREEN_NOTE = (
    "accuracy: mean ± half width of the 95 % interval; spikes and energy (uJ) are per image; left out are trials that "
    "were stopped early, failed or were over a limit"
)

_COLUMNS = tuple(field.name for field in fields(AblationRow))
_ACCURACY = (
    "Accuracy: mean over the n finished trials, ± half width of the 95 % interval by Student's t "
    "(n - 1 degrees of freedom; none for n = 1). Every trial counts as one observation: seeds of one proposal are "
    "not grouped, and what other factors do is part of the spread."
)
_DIFFERENCE = (
    "Difference: percentage points to the first level of the factor; mean over pairs of finished trials that agree "
    "in the seed and in all other factors but those that exist only at some levels of this one. Pairs: trials of the "
    "level that have such a partner; several partners of one trial are averaged. Ranges are shown in bins, without "
    "difference."
)
_MEANS = "Params, spikes, SOPs, energy and time are means over the n finished trials; time is per trial."


def to_csv(rows: Sequence[AblationRow]) -> str:
    """Returns the table as CSV: the fields of `AblationRow`, in full precision, empty for None."""
    return csv_text(_COLUMNS, [astuple(row) for row in rows])


def to_markdown(rows: Sequence[AblationRow], sweep: Sweep, warnings: Sequence[str] = ()) -> str:
    """Returns a page with the table in percent and with notes that say how each number came about.

    Args:
        rows: The table.
        sweep: The sweep of the run.
        warnings: What a reader has to know before believing the numbers.
    """
    config = sweep.config
    intro = (
        f"Data set: {escape(config.data.name)}. Search space: {escape(config.space)}. "
        f"Sampler: {escape(config.sweep.sampler.name)}. Seeds per proposal: {config.sweep.num_seeds}."
    )
    remarks = [notes.HELD_OUT, _ACCURACY, _DIFFERENCE, notes.PER_IMAGE, notes.ENERGY, _MEANS, notes.ONLY_FINISHED]
    remarks += [_condition(parameter) for parameter in sweep.outer if parameter.when]
    page = [
        f"# {escape(config.name)}: ablation\n",
        f"{intro}\n",
        markdown_table(_columns(rows), rows),
        markdown_list(remarks),
    ]
    return "\n".join([*page, *(f"**Warning.** {escape(warning)}\n" for warning in warnings)])


def to_latex(rows: Sequence[AblationRow], sweep: Sweep, warnings: Sequence[str] = ()) -> str:
    """Returns the table as a LaTeX ``table`` whose caption says how the numbers came about."""
    config, settings = sweep.config, sweep.config.sweep
    caption = (
        f"Ablation on {config.data.name} (sampler {settings.sampler.name}, {settings.num_seeds} seeds per proposal). "
        f"{notes.HELD_OUT} {_ACCURACY} {_DIFFERENCE} Params without the auxiliary classifier. "
        f"{notes.PER_IMAGE} {notes.ENERGY} "
        "Left out: early-stopped, failed and infeasible trials, which enter no number."
    )
    label = f"{config.name}-ablation"
    return latex_table(_columns(rows), rows, caption, label, warnings, group=lambda row: row.factor)


def to_terminal(rows: Sequence[AblationRow]) -> Table:
    """Returns the table for a terminal of 80 columns, with the numbers that matter most."""
    return screen_table(_columns(rows), rows)


def _columns(rows: Sequence[AblationRow]) -> list[Column[AblationRow]]:
    names = short_names(list(dict.fromkeys(row.factor for row in rows)))
    first_levels = {row.factor: row.level for row in reversed(rows)}

    only_failures = not any(row.num_early_stopped or row.num_infeasible for row in rows)

    def factor_once(row: AblationRow) -> str:
        return names[row.factor] if row.level == first_levels[row.factor] else ""

    return [
        Column(lambda row: names[row.factor], "Factor", None, None, is_number=False),
        Column(factor_once, None, "Factor", "factor", is_number=False),
        Column(lambda row: scalar(row.level), "Level", "Level", "level", is_number=False),
        Column(lambda row: str(row.n), "n", "n", "n"),
        Column(_accuracy, "Accuracy (%)", "Accuracy (%)", "accuracy %"),
        Column(_difference, "Difference (pp)", "Difference (pp)", "diff"),
        Column(lambda row: None if row.num_pairs is None else str(row.num_pairs), "Pairs", "Pairs", None),
        Column(number("params"), "Params", "Params", "params"),
        Column(number("params_with_auxiliary"), "Params with auxiliary", None, None),
        Column(number("spikes"), "Spikes", "Spikes", "spikes"),
        Column(number("sops"), "SOPs", "SOPs", None),
        Column(number("energy_uj"), "Energy (µJ)", "Energy (µJ)", "uJ"),
        Column(lambda row: None if row.seconds is None else duration(row.seconds), "Time", None, "time"),
        Column(_left_out, None, "Left out", "failed" if only_failures else "left out"),
        Column(lambda row: str(row.num_early_stopped), "Early-stopped", None, None),
        Column(lambda row: str(row.num_failed), "Failed", None, None),
        Column(lambda row: str(row.num_infeasible), "Infeasible", None, None),
    ]


def _accuracy(row: AblationRow) -> str | None:
    return mean_and_spread(row.accuracy_mean, row.accuracy_ci95)


def _difference(row: AblationRow) -> str | None:
    return None if row.delta_vs_baseline is None else percent(row.delta_vs_baseline, sign=True)


def _left_out(row: AblationRow) -> str:
    return str(row.num_early_stopped + row.num_failed + row.num_infeasible)


def _condition(parameter: OuterParameter) -> str:
    conditions = [f"{path} is {' or '.join(map(scalar, levels))}" for path, levels in parameter.when]
    return f"{parameter.path} counts only trials in which {' and '.join(conditions)}; elsewhere it plays no part."

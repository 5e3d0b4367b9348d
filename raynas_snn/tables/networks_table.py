"""The table of networks as CSV, as Markdown and LaTeX in the layout of the MA-DARTS paper, and for the terminal."""

from collections.abc import Callable, Sequence
from dataclasses import fields

from rich.table import Table

from raynas_snn.analysis.networks import STRATEGIES, Network
from raynas_snn.config import Sweep
from raynas_snn.core.screen import mean_and_spread, scalar
from raynas_snn.tables import captions as notes
from raynas_snn.tables.columns import Column, csv_text, number, screen_table
from raynas_snn.tables.latex import latex_table
from raynas_snn.tables.markdown import escape, markdown_list, markdown_table

_MAX_ON_SCREEN = 15
_COLUMNS = tuple(field.name for field in fields(Network) if field.name != "outer")
_MEANS = (
    "Every number is the mean over the finished seeds of one proposal; ± is the sample standard deviation of the "
    "accuracy over them (none for one seed). Proposals without a finished trial are left out."
)
_PARAMS = "Params in millions, without and with the auxiliary classifier; the MA-DARTS paper counts with it."
_BEST = (
    "Bold: the best accuracy among networks of the same search, attention and width, or, if those are all single, "
    "of the same width, or of all."
)
_ELSEWHERE = {
    "sahd": "SNASNet-SAHD: random cells of this search space, scored without training as SNASNet does.",
    "evolution": "AutoSNN-Evolution: evolution over this search space with the fitness of AutoSNN.",
}


def to_csv(rows: Sequence[Network], sweep: Sweep) -> str:
    """Returns the networks as CSV in full precision, with one more column for each outer parameter."""
    paths = [parameter.path for parameter in sweep.outer]
    return csv_text(
        [*_COLUMNS, *paths],
        [[*(getattr(row, name) for name in _COLUMNS), *(row.outer.get(path) for path in paths)] for row in rows],
    )


def to_markdown(rows: Sequence[Network], sweep: Sweep, warnings: Sequence[str] = ()) -> str:
    """Returns a page with the networks and with notes that say how each number came about."""
    page = [
        f"# {escape(sweep.config.name)}: networks\n",
        markdown_table(_COLUMNS_FOR_PEOPLE, rows),
        markdown_list([notes.HELD_OUT, *_remarks(rows, sweep), notes.ONLY_FINISHED]),
    ]
    return "\n".join([*page, *(f"**Warning.** {escape(warning)}\n" for warning in warnings)])


def to_latex(rows: Sequence[Network], sweep: Sweep, warnings: Sequence[str] = ()) -> str:
    """Returns the networks as a LaTeX ``table`` whose caption says how the numbers came about."""
    caption = " ".join([f"Networks found on {sweep.config.data.name}.", notes.HELD_OUT, *_remarks(rows, sweep)])
    return latex_table(_COLUMNS_FOR_PEOPLE, rows, caption, f"{sweep.config.name}-networks", warnings)


def to_terminal(rows: Sequence[Network]) -> Table:
    """Returns the networks for a terminal, the 15 best by accuracy if there are more."""
    return screen_table(_COLUMNS_FOR_PEOPLE, _shown(rows))


def screen_note(rows: Sequence[Network]) -> str:
    """Says which networks the terminal shows and which it leaves out."""
    note = "networks: mean ± standard deviation over n seeds; params in millions, without the auxiliary classifier"
    if len(rows) > _MAX_ON_SCREEN:
        note += f"; the {_MAX_ON_SCREEN} best of {len(rows)} by accuracy, all are in the files"
    if not all(row.within_limits for row in rows):
        note += "; †: over a limit of the sweep"
    return note


def _shown(rows: Sequence[Network]) -> Sequence[Network]:
    if len(rows) <= _MAX_ON_SCREEN:
        return rows
    return sorted(rows, key=lambda row: -1.0 if row.accuracy_mean is None else row.accuracy_mean, reverse=True)[
        :_MAX_ON_SCREEN
    ]


def _remarks(rows: Sequence[Network], sweep: Sweep) -> list[str]:
    remarks = [_MEANS, _PARAMS, notes.PER_IMAGE, notes.ENERGY, _BEST]
    remarks += [text for name, text in _ELSEWHERE.items() if any(STRATEGIES[name] in row.network for row in rows)]
    if limits := notes.limits(sweep.config.sweep.limits):
        remarks.append(f"†: not within the limits of the sweep ({limits}), and so never the best.")
    return remarks


def _millions(name: str) -> Callable[[Network], str | None]:
    def text(row: Network) -> str | None:
        value: float | None = getattr(row, name)
        return None if value is None else f"{value / 1e6:.3f}"

    return text


def _setting(name: str) -> Callable[[Network], str | None]:
    def text(row: Network) -> str | None:
        value = getattr(row, name)
        return None if value is None else scalar(value)

    return text


def _accuracy(row: Network) -> str | None:
    return mean_and_spread(row.accuracy_mean, row.accuracy_std)


_COLUMNS_FOR_PEOPLE: list[Column[Network]] = [
    Column(
        lambda row: row.network + ("" if row.within_limits else " †"), "Network", "Network", "network", is_number=False
    ),
    Column(_accuracy, "Accuracy (%)", "Accuracy (%)", "accuracy %", is_best=lambda row: row.is_best),
    Column(lambda row: str(row.num_seeds), "Seeds", "Seeds", "n"),
    Column(_setting("channels"), "Ch", "Ch", "ch"),
    Column(_setting("num_steps"), "T", "T", "T"),
    Column(_millions("params"), "Params (M)", "Params (M)", "params"),
    Column(_millions("params_with_auxiliary"), "Params with aux. (M)", "with aux. (M)", None),
    Column(number("spikes"), "Spikes", "Spikes", "spikes"),
    Column(number("energy_uj"), "Energy (µJ)", "Energy (µJ)", "uJ"),
    Column(lambda row: row.dataset, "Dataset", "Dataset", None, is_number=False),
]

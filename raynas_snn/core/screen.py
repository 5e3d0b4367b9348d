"""Formats numbers and names for terminals and tables."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from raynas_snn.core.scalars import Scalar
from raynas_snn.core.text import visible

_PIPE_WIDTH = 240


class PlainConsole(Console):
    """A console that prints text literally: without markup, and with control characters escaped."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Escapes every printed text, whether a line or a cell of a table."""
        return super().render_str("\n".join(map(visible, text.split("\n"))), **options)


def make_console() -> Console:
    """Returns a console for the output of a verb; lines are not wrapped unless it is a terminal."""
    return PlainConsole(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def make_table(columns: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """Returns an empty table without lines; the columns named in ``numbers`` are flush right and never cut."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        if name in numbers:
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold")
    return table


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Maps ``model.attention`` to ``attention``, unless two paths have the same last part."""
    ends = [path.rsplit(".", 1)[-1] for path in paths]
    return {path: end if ends.count(end) == 1 else path for path, end in zip(paths, ends, strict=True)}


def scalar(value: Scalar) -> str:
    """A value as it is written in a sweep file."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def short_scalar(value: Scalar) -> str:
    """A value as it is written in a sweep file, but floats with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else scalar(value)


def percent(fraction: float, sign: bool = False) -> str:
    """``0.9123`` as ``91.23``, with the sign always shown if ``sign``."""
    return f"{round(100 * fraction, 2) + 0.0:{'+' if sign else ''}.2f}"  # + 0.0 turns -0.0 into 0.0


def mean_and_spread(value: float | None, spread: float | None) -> str | None:
    """``91.23 ± 0.45`` of two fractions, ``91.23`` without a spread, None without a value."""
    if value is None:
        return None
    return percent(value) if spread is None else f"{percent(value)} ± {percent(spread)}"


def short_number(value: float) -> str:
    """Three significant digits: ``12.3``, ``45.6k``, ``1.23M``."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * factor:
            return f"{_three_digits(value / factor)}{unit}"
    return _three_digits(value)


def _three_digits(value: float) -> str:
    # The general format would write 999.7 as 1e+03.
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """``12.3s``, ``4m 05s``, ``1h 02m``."""
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours}h {minutes_left:02d}m" if hours else f"{minutes}m {rest:02d}s"


def one_line(text: str) -> str:
    """The most informative line of an error text: the last one of a traceback, otherwise the first."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return "".join(character for character in line if character.isprintable())

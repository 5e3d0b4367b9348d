"""What all tables share: columns with a header for each medium, and CSV."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.table import Table

from raynas_snn.core.scalars import Scalar
from raynas_snn.core.screen import make_table, scalar, short_number

Row = TypeVar("Row")
MISSING = "-"


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table for people.

    Attributes:
        text: Returns the unescaped text of a row's cell; None for an unknown number.
        markdown: Header in Markdown; None leaves the column out.
        latex: Header in LaTeX; None leaves the column out.
        screen: Header on a terminal; None leaves the column out.
        is_number: Whether cells are aligned right.
        is_best: Whether the cell of a row is highlighted.
    """

    text: Callable[[Row], str | None]
    markdown: str | None
    latex: str | None
    screen: str | None
    is_number: bool = True
    is_best: Callable[[Row], bool] = lambda _: False

    def cell(self, row: Row) -> str:
        """The text of a row, a dash for None."""
        text = self.text(row)
        return MISSING if text is None else text


def number(name: str) -> Callable[[Any], str | None]:
    """Returns a function that formats the attribute ``name`` of a row with three significant digits."""

    def text(row: Any) -> str | None:
        value: float | None = getattr(row, name)
        return None if value is None else short_number(value)

    return text


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Scalar | None]]) -> str:
    """Returns a table as CSV: numbers in full precision, booleans as in a sweep file, empty for None."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([scalar(value) if isinstance(value, bool) else value for value in row])
    return text.getvalue()


def screen_table(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> Table:
    """Returns a table for a terminal, of the columns that have a header for it."""
    shown = [(column, column.screen) for column in columns if column.screen is not None]
    table = make_table([name for _, name in shown], numbers=[name for column, name in shown if column.is_number])
    for row in rows:
        table.add_row(*(column.cell(row) for column, _ in shown))
    return table

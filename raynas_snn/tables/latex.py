"""Tables in LaTeX, for papers: booktabs, nothing else."""

import re
from collections.abc import Callable, Sequence

from raynas_snn.core.text import visible
from raynas_snn.tables.columns import Column, Row

# Brackets and stars would be read as arguments of the line break before them.
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "`": r"\char96{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "†": r"$\dagger$",
}
_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))


def escape(text: str) -> str:
    """Returns ``text`` as one line that LaTeX shows as it is."""
    line = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return _PATTERN.sub(lambda match: _SPECIAL[match.group()], line)


def latex_table(
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    caption: str,
    label: str,
    warnings: Sequence[str] = (),
    group: Callable[[Row], object] = lambda _: None,
) -> str:
    r"""Returns a ``table`` environment of the columns that have a header in LaTeX.

    Args:
        columns: What to show.
        rows: The rows in order.
        caption: Plain text, says how the numbers came about.
        label: What ``\ref`` names the table by, without ``tab:``.
        warnings: What to know before printing the table; become comments above it.
        group: Rows that differ in it are set apart by a rule.
    """
    shown = [(column, column.latex) for column in columns if column.latex is not None]
    lines = [
        "% Written by python -m raynas_snn.report; needs \\usepackage{booktabs}.",
        *(f"% Warning: {visible(warning)}" for warning in warnings),
        "\\begin{table}",
        "  \\centering",
        "  \\small",
        f"  \\caption{{{escape(caption)}}}",
        f"  \\label{{tab:{re.sub('[^A-Za-z0-9.-]', '-', label)}}}",
        f"  \\begin{{tabular}}{{{''.join('r' if column.is_number else 'l' for column, _ in shown)}}}",
        "    \\toprule",
        _line([escape(header) for _, header in shown]),
        "    \\midrule",
    ]
    for index, row in enumerate(rows):
        if index and group(row) != group(rows[index - 1]):
            lines.append("    \\midrule")
        lines.append(_line([_cell(column, row) for column, _ in shown]))
    return "\n".join([*lines, "    \\bottomrule", "  \\end{tabular}", "\\end{table}"]) + "\n"


def _cell(column: Column[Row], row: Row) -> str:
    text = escape(column.cell(row))
    if column.is_number and re.match(r"-\d", text):
        text = f"$-${text[1:]}"  # a minus, not a hyphen
    return f"\\textbf{{{text}}}" if column.is_best(row) else text


def _line(cells: Sequence[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"

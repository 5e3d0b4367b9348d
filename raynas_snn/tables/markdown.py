"""Tables in Markdown (GitHub's dialect)."""

import re
from collections.abc import Sequence

from raynas_snn.core.text import visible
from raynas_snn.tables.columns import Column, Row

# An underscore within a word is only an underscore.
_MARKUP = re.compile(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def escape(text: str) -> str:
    """Returns ``text`` as one line that Markdown shows as it is."""
    text = _MARKUP.sub(lambda match: f"\\{match.group()}", visible(" ".join(text.split())))
    return text.replace("&", "&amp;").replace("<", "&lt;")


def markdown_table(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> str:
    """Returns a table of the columns that have a header in Markdown; ends with a newline."""
    shown = [(column, column.markdown) for column in columns if column.markdown is not None]
    lines = [
        _line([escape(header) for _, header in shown]),
        _line(["---:" if column.is_number else "---" for column, _ in shown]),
    ]
    for row in rows:
        cells = [(escape(column.cell(row)), column.is_best(row)) for column, _ in shown]
        lines.append(_line([f"**{text}**" if is_best else text for text, is_best in cells]))
    return "".join(f"{line}\n" for line in lines)


def markdown_list(sentences: Sequence[str]) -> str:
    """Returns sentences as a list; ends with a newline unless it is empty."""
    return "".join(f"- {escape(sentence)}\n" for sentence in sentences)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""Tables as text: what users name stays text, numbers stay numbers, and LaTeX gets what it can read."""

import re
import string
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raynas_snn.tables import latex, markdown
from raynas_snn.tables.columns import Column, csv_text, screen_table

NASTY = st.text(st.sampled_from(string.punctuation + "ab1 \n±µ†"), max_size=12)


@dataclass(frozen=True)
class Pair:
    name: str
    gain: float | None


COLUMNS: list[Column[Pair]] = [
    Column(lambda row: row.name, "Name", "Name", None, is_number=False),
    Column(
        lambda row: None if row.gain is None else f"{row.gain:+.1f}",
        "Gain (%)",
        "Gain (%)",
        "gain",
        is_best=lambda row: row.gain == 1,
    ),
    Column(lambda row: row.name, None, None, "only on screens", is_number=False),
]


def test_a_markdown_table() -> None:
    text = markdown.markdown_table(COLUMNS, [Pair("a", 1), Pair("b|c", None), Pair("d", -2)])
    assert text == "| Name | Gain (%) |\n| --- | ---: |\n| a | **+1.0** |\n| b\\|c | - |\n| d | -2.0 |\n"


def test_a_latex_table() -> None:
    rows = [Pair("a_1", 1), Pair("[b]", -2), Pair("c", None)]
    text = latex.latex_table(COLUMNS, rows, "100 % µJ", "x_y", ["mind\nthe gap"], group=lambda row: row.gain is None)
    assert text.splitlines() == [
        r"% Written by python -m raynas_snn.report; needs \usepackage{booktabs}.",
        r"% Warning: mind the gap",
        r"\begin{table}",
        r"  \centering",
        r"  \small",
        r"  \caption{100 \% $\mu$J}",
        r"  \label{tab:x-y}",
        r"  \begin{tabular}{lr}",
        r"    \toprule",
        r"    Name & Gain (\%) \\",
        r"    \midrule",
        r"    a\_1 & \textbf{+1.0} \\",
        r"    {[}b{]} & $-$2.0 \\",
        r"    \midrule",
        r"    c & - \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


def read_latex(text: str) -> str:
    """Reads back what `latex.escape` writes, as TeX would typeset it."""
    commands = {
        "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
        "textbar": "|", "char34": '"', "char96": "`", "pm": "±", "mu": "µ", "dagger": "†",
    }  # fmt: skip
    parts = re.findall(r"\\([a-z]+\d*)\{\}|\$\\([a-z]+)\$|\{([\[\]*])\}|\\([{}$&#%_])|([^\\{}$&#%_~^])", text)
    return "".join(commands.get(word or symbol, "".join(others)) for word, symbol, *others in parts)


@given(NASTY)
def test_latex_shows_every_text_as_it_is(text: str) -> None:
    escaped = latex.escape(text)
    assert read_latex(escaped) == " ".join(text.split())
    assert not escaped.startswith(("[", "*")), "a line break would take it for its argument"


@given(NASTY)
def test_markdown_shows_every_text_as_it_is(text: str) -> None:
    escaped = markdown.escape(text)
    assert "\n" not in escaped
    back = re.sub(r"\\([\\`*\[\]|~_])", r"\1", escaped).replace("&lt;", "<").replace("&amp;", "&")
    assert back == " ".join(text.split())
    without_escapes = re.sub(r"\\.", "", escaped)
    assert not set(without_escapes) & set("|`*[]<~")


def test_markdown_leaves_the_underscores_of_names_alone() -> None:
    assert markdown.escape("max_pool_3x3 _x_") == r"max_pool_3x3 \_x\_"


def test_csv_keeps_every_digit() -> None:
    text = csv_text(["a", "b,c"], [[0.1 + 0.2, None], [True, 'say "x"']])
    assert text == 'a,"b,c"\n0.30000000000000004,\ntrue,"say ""x"""\n'


@pytest.mark.parametrize(("column", "justify"), [(0, "right"), (1, "left")])
def test_a_screen_table_has_the_columns_for_screens(column: int, justify: str) -> None:
    table = screen_table(COLUMNS, [Pair("a", 1)])
    assert [one.header for one in table.columns] == ["gain", "only on screens"]
    assert table.columns[column].justify == justify

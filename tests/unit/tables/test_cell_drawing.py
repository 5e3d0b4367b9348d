"""The drawing of the cells: well-formed, complete, and nothing lies on top of anything else."""

import itertools
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from raynas_snn.core.errors import UserError
from raynas_snn.tables.cell_drawing import draw_cells

SVG = "{http://www.w3.org/2000/svg}"
OPERATIONS = ["skip_connect", "sep_conv_3x3", "package.module:<A & 'very' long Operation>"]


@st.composite
def cells(draw: st.DrawFn) -> list[list[dict[str, str]]]:
    nodes: list[list[dict[str, str]]] = []
    for index in range(draw(st.integers(1, 6))):
        sources = ["input_0", "input_1", *(f"node_{earlier}" for earlier in range(index))]
        edge = st.fixed_dictionaries({"operation": st.sampled_from(OPERATIONS), "input": st.sampled_from(sources)})
        nodes.append(draw(st.lists(edge, min_size=1, max_size=3)))
    return nodes


GENOTYPES = st.fixed_dictionaries({"normal": cells(), "reduction": cells()})


def in_order(genotype: dict[str, Any]) -> list[list[list[dict[str, str]]]]:
    return [genotype["normal"], genotype["reduction"]]


def boxes(group: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of each node and label."""
    found = []
    for rectangle in group.iter(f"{SVG}rect"):
        left, top, width, height = (float(rectangle.attrib[name]) for name in ("x", "y", "width", "height"))
        found.append((left, top, left + width, top + height))
    return found


def points(path: str) -> list[tuple[float, float]]:
    """Points along a line of the drawing, by its commands M, C and H."""
    x = y = 0.0
    found = []
    for command, text in re.findall(r"([MCH])([^MCH]*)", path):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", text)]
        if command == "M":
            x, y = numbers
        elif command == "H":
            found += [(x + (numbers[0] - x) * step / 50, y) for step in range(51)]
            x = numbers[0]
        else:
            x1, y1, x2, y2, x3, y3 = numbers
            for step in range(21):
                t = step / 20
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
                found.append(
                    (
                        sum(w * v for w, v in zip(weights, (x, x1, x2, x3), strict=True)),
                        sum(w * v for w, v in zip(weights, (y, y1, y2, y3), strict=True)),
                    )
                )
            x, y = x3, y3
    return found


@examples(40)
@given(GENOTYPES)
def test_nothing_overlaps_and_nothing_leaves_the_picture(genotype: dict[str, Any]) -> None:
    root = ElementTree.fromstring(draw_cells(genotype))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for group, nodes in zip(root.findall(f"{SVG}g"), in_order(genotype), strict=True):
        placed = boxes(group)
        assert len(placed) == sum(map(len, nodes)) + len(nodes) + 3
        for one, other in itertools.combinations(placed, 2):
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert all(
            left >= 0 and top >= 0 and right <= width and bottom <= height for left, top, right, bottom in placed
        )
        for path in group.iter(f"{SVG}path"):
            if path.attrib["class"] == "line":
                for x, y in points(path.attrib["d"]):
                    assert not any(
                        left + 1 < x < right - 1 and top + 1 < y < bottom - 1 for left, top, right, bottom in placed
                    )


@examples(40)
@given(GENOTYPES)
def test_every_edge_is_told_in_full(genotype: dict[str, Any]) -> None:
    root = ElementTree.fromstring(draw_cells(genotype))
    told = [title.text for group in root.findall(f"{SVG}g") for title in group.iter(f"{SVG}title")]
    assert told == [
        f"{edge['input']}, {edge['operation']}, node_{index}"
        for nodes in in_order(genotype)
        for index, node in enumerate(nodes)
        for edge in node
    ]


def test_labels_are_escaped() -> None:
    edge = {"operation": "<script>&", "input": "input_0"}
    text = draw_cells({"normal": [[edge]], "reduction": [[edge]]})
    assert "<script>" not in text
    assert "&lt;script&gt;&amp;" in text


@pytest.mark.parametrize(
    ("normal", "message"),
    [
        ([[{"operation": "a", "input": "node_0"}]], "'node_0' is not an earlier node"),
        ([[{"operation": "a", "input": "output"}]], "'output' is not an earlier node"),
        ([[{"operation": "a"}]], "'normal' is not a list of nodes"),
        ([["a"]], "'normal' is not a list of nodes"),
        (3, "'normal' is not a list of nodes"),
    ],
)
def test_what_is_no_genotype_is_refused(normal: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw_cells({"normal": normal, "reduction": []})

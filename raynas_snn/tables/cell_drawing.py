"""Draws the normal and the reduction cell of a genotype as one SVG.

Every node owns a band of the drawing, and every edge into it a lane within that band. Lanes hold nothing
else, and lines change lanes only in the gap to the right of a column: no line runs through a node or a label::

    input_0 ──┬───[ sep_conv_3x3 ]──┐
              │                     node_0 ────────────────────────── output
    input_1 ──┼───[ skip_connect ]──┘    │                              │
              │                          └────[ dil_conv_5x5 ]──┐       │
              └───────────────────────────────[ max_pool_3x3 ]──node_1 ─┘
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from raynas_snn.core.errors import UserError
from raynas_snn.core.text import visible

_INPUTS = ("input_0", "input_1")
_LANE, _BAND_GAP, _MARGIN, _TITLE = 28, 14, 20, 34  # heights, in pixels
_NODE_WIDTH, _NODE_HEIGHT, _TURN = 74, 30, 64
_CHARACTER, _LONGEST_LABEL = 7.0, 28
_COLORS = ("#0b6bcb", "#b4510b", "#2a7d3f", "#8f3aa8", "#b3261e", "#4d5b6a")  # one per source, cyclic

_STYLE = """
  text { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1c2530; }
  .title { font: bold 14px system-ui, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
  .node { fill: #f1f4f8; stroke: #55606e; } .end { fill: #e3eefb; stroke: #2f5f98; }
  .label { fill: #ffffff; stroke: currentColor; }
  .line { fill: none; stroke: currentColor; stroke-width: 1.6; }
  .arrow { fill: currentColor; stroke: none; }
"""


@dataclass(frozen=True)
class _Edge:
    operation: str
    source: str
    target: str
    lane: float  # y of the lane


@dataclass(frozen=True)
class _Point:
    x: float  # middle of the node
    y: float


@dataclass(frozen=True)
class _Drawing:
    parts: Sequence[str]
    width: float
    height: float


def draw_cells(genotype: Mapping[str, Any]) -> str:
    """Returns an SVG of both cells, one above the other.

    Args:
        genotype: For ``"normal"`` and ``"reduction"`` a list of nodes, each a list of edges like
            ``{"operation": "sep_conv_3x3", "input": "input_0"}``.

    Raises:
        UserError: If the genotype is not of this form.
    """
    drawings = [_draw_cell(kind, genotype) for kind in ("normal", "reduction")]
    width = max(drawing.width for drawing in drawings)
    height = sum(drawing.height for drawing in drawings)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img">',
        "<title>Normal and reduction cell</title>",
        f"<style>{_STYLE}</style>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    top = 0.0
    for drawing in drawings:
        lines += [f'<g transform="translate(0 {top:g})">', *drawing.parts, "</g>"]
        top += drawing.height
    return "\n".join([*lines, "</svg>"]) + "\n"


def _draw_cell(kind: str, genotype: Mapping[str, Any]) -> _Drawing:
    nodes = _read_cell(kind, genotype)
    edges, places_y, bottom = _share_out_lanes(nodes)
    layers = _layers(edges)
    label_width = 16 + _CHARACTER * max([len(_clip(edge.operation)) for edge in edges], default=0)
    pitch = _NODE_WIDTH + _TURN + label_width + 30

    last_layer = max(layers.values()) + 1
    places = {
        name: _Point(_MARGIN + _NODE_WIDTH / 2 + pitch * layers[name], places_y[name]) for name in (*_INPUTS, *nodes)
    }
    # Nothing stands between the last nodes and the output but the lines to it.
    output_x = places[_INPUTS[0]].x + pitch * (last_layer - 1) + _NODE_WIDTH + _TURN
    output = _Point(output_x, (_TITLE + bottom) / 2)

    parts = [f'<text class="title" x="{_MARGIN}" y="22">{kind.capitalize()} cell</text>']
    colors = {name: _COLORS[index % len(_COLORS)] for index, name in enumerate(places)}
    parts += [_to_output(places[name], output, colors[name]) for name in nodes]
    parts += [_draw_edge(edge, places, label_width, colors[edge.source]) for edge in edges]
    parts += [_draw_node(name, place, "end" if name in _INPUTS else "node") for name, place in places.items()]
    parts.append(_draw_node("output", output, "end"))
    return _Drawing(parts, output.x + _NODE_WIDTH / 2 + _MARGIN, bottom + _MARGIN)


def _read_cell(kind: str, genotype: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Returns the (operation, source) pairs of each node, by the node's name."""
    nodes: dict[str, list[tuple[str, str]]] = {}
    try:
        for index, written in enumerate(genotype[kind]):
            pairs = [(visible(str(edge["operation"])), str(edge["input"])) for edge in written]
            for _, source in pairs:
                if source not in _INPUTS and source not in nodes:
                    raise UserError(f"genotype: {kind}, node_{index}: '{source}' is not an earlier node")
            nodes[f"node_{index}"] = pairs
    except (KeyError, TypeError):
        raise UserError(f"genotype: '{kind}' is not a list of nodes with operation and input") from None
    return nodes


def _share_out_lanes(
    nodes: Mapping[str, Sequence[tuple[str, str]]],
) -> tuple[list[_Edge], dict[str, float], float]:
    """Returns the edges with their lanes, the y of each node's middle, and the lower end of all bands."""
    edges: list[_Edge] = []
    middles: dict[str, float] = {}
    top = float(_TITLE)
    for name, pairs in nodes.items():
        num_lanes = max(1, len(pairs))
        middles[name] = top + _LANE * num_lanes / 2
        edges += [
            _Edge(operation, source, name, top + _LANE * (number + 0.5))
            for number, (operation, source) in enumerate(pairs)
        ]
        top += _LANE * num_lanes + _BAND_GAP
    bottom = max(top - _BAND_GAP, _TITLE + 4.0 * _LANE)
    for number, name in enumerate(_INPUTS):
        middles[name] = _TITLE + (bottom - _TITLE) * (0.3 + 0.4 * number)
    return edges, middles, bottom


def _layers(edges: Sequence[_Edge]) -> dict[str, int]:
    """Returns the column of each node: one behind the last of its sources."""
    layers = dict.fromkeys(_INPUTS, 0)
    for edge in edges:  # sources come before their targets
        layers[edge.target] = max(layers.get(edge.target, 1), layers[edge.source] + 1)
    return layers


def _draw_edge(edge: _Edge, places: Mapping[str, _Point], label_width: float, color: str) -> str:
    start, end = places[edge.source], places[edge.target]
    start_x, end_x = start.x + _NODE_WIDTH / 2, end.x - _NODE_WIDTH / 2
    label_x = end_x - 26 - label_width
    # The two lines into a node end a little apart, each on the side of its lane.
    entry = end.y + max(-8.0, min(8.0, edge.lane - end.y))
    label = _box("label", label_x, edge.lane - 10, label_width, 20, _clip(edge.operation))
    title = escape(f"{edge.source}, {edge.operation}, {edge.target}")
    return (
        f'<g style="color: {color}"><title>{title}</title>'
        f'<path class="line" d="{_turn(start_x, start.y, start_x + _TURN, edge.lane)} H {label_x:g}"/>'
        f'<path class="line" d="{_turn(label_x + label_width, edge.lane, end_x - 7, entry)}"/>'
        f"{_arrow(end_x, entry)}{label}</g>"
    )


def _to_output(node: _Point, output: _Point, color: str) -> str:
    start_x, end_x = node.x + _NODE_WIDTH / 2, output.x - _NODE_WIDTH / 2
    turn = _turn(end_x - _TURN, node.y, end_x - 7, output.y)
    path = f"M {start_x:g} {node.y:g} H {end_x - _TURN:g} {turn}"
    return f'<g style="color: {color}"><path class="line" d="{path}"/>{_arrow(end_x, output.y)}</g>'


def _turn(from_x: float, from_y: float, to_x: float, to_y: float) -> str:
    """A curve that leaves and arrives level."""
    middle = (from_x + to_x) / 2
    return f"M {from_x:g} {from_y:g} C {middle:g} {from_y:g}, {middle:g} {to_y:g}, {to_x:g} {to_y:g}"


def _arrow(x: float, y: float) -> str:
    return f'<path class="arrow" d="M {x:g} {y:g} l -8 -4 v 8 z"/>'


def _draw_node(name: str, place: _Point, style: str) -> str:
    left, top = place.x - _NODE_WIDTH / 2, place.y - _NODE_HEIGHT / 2
    return _box(style, left, top, _NODE_WIDTH, _NODE_HEIGHT, name)


def _box(style: str, left: float, top: float, width: float, height: float, text: str) -> str:
    middle_x, baseline = left + width / 2, top + height / 2 + 4
    return (
        f'<rect class="{style}" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="6"/>'
        f'<text x="{middle_x:g}" y="{baseline:g}" text-anchor="middle">{escape(text)}</text>'
    )


def _clip(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"

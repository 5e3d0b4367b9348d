"""Genotype, the result of a search: the two operations that each node of the two cells keeps. Saved as JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from raynas_snn.core.errors import UserError
from raynas_snn.core.untrusted_files import parse_json
from raynas_snn.nas.alphas import Mixture
from raynas_snn.nas.edges import edge_index, num_edges

Node = tuple["Edge", ...]

_LONGEST_NAME = 200


@dataclass(frozen=True)
class Edge:
    """One kept connection: an operation and the source it reads (0 and 1 are the cell's inputs)."""

    operation: str
    source: int


@dataclass(frozen=True)
class Genotype:
    """The normal and the reduction cell, a tuple of edges for each node in order.

    >>> node = (Edge("skip_connect", 0), Edge("sep_conv_3x3", 1))
    >>> Genotype(normal=(node,), reduction=(node,)).to_dict()["normal"][0][1]
    {'operation': 'sep_conv_3x3', 'input': 'input_1'}
    """

    normal: tuple[Node, ...]
    reduction: tuple[Node, ...]

    @property
    def num_nodes(self) -> int:
        """Intermediate nodes per cell."""
        return len(self.normal)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and names: ``{"normal": [[{"operation": ..., "input": "input_0"}, ...], ...], ...}``."""
        return {kind: [[_edge_to_dict(e) for e in node] for node in nodes] for kind, nodes in self._cells()}

    def to_json(self) -> str:
        """The same as text, one node per line."""
        cells = []
        for kind, nodes in self.to_dict().items():
            lines = ",\n".join(f"    {json.dumps(node)}" for node in nodes)
            cells.append(f'  "{kind}": [\n{lines}\n  ]')
        return "{\n" + ",\n".join(cells) + "\n}\n"

    @classmethod
    def from_dict(cls, data: object) -> "Genotype":
        """Reads ``to_dict`` back.

        Raises:
            UserError: Names the first invalid entry.
        """
        if not isinstance(data, dict) or set(data) != {"normal", "reduction"}:
            raise UserError("genotype: expected an object with the keys 'normal' and 'reduction'")
        normal, reduction = (_read_cell(kind, data[kind]) for kind in ("normal", "reduction"))
        if len(normal) != len(reduction):
            raise UserError("genotype: the normal and the reduction cell must have the same number of nodes")
        return cls(normal, reduction)

    @classmethod
    def from_json(cls, text: str) -> "Genotype":
        """Reads ``to_json`` back; raises as `from_dict` does."""
        try:
            data = parse_json(text)
        except ValueError as error:
            raise UserError(f"genotype: not JSON: {error}") from None
        return cls.from_dict(data)

    def _cells(self) -> Iterator[tuple[str, tuple[Node, ...]]]:
        yield "normal", self.normal
        yield "reduction", self.reduction


def derive(mixture: Mixture, operations: Sequence[str]) -> Genotype:
    """Discretises softmaxed alphas (DARTS; MA-DARTS section 3.4).

    Each node keeps the two edges whose best operation other than ``none`` has the largest weight, with that operation.

    Args:
        mixture: The softmaxed alphas.
        operations: The names of their columns.
    """
    return Genotype(_derive_cell(mixture.normal, operations), _derive_cell(mixture.reduction, operations))


def _derive_cell(weights: Tensor, operations: Sequence[str]) -> tuple[Node, ...]:
    real = [column for column, name in enumerate(operations) if name != "none"]
    best_weight, best = (found.tolist() for found in weights.detach().cpu()[:, real].max(dim=1))
    nodes: list[Node] = []
    while num_edges(len(nodes)) < len(weights):
        edges = {source: edge_index(len(nodes), source) for source in range(len(nodes) + 2)}
        strongest = sorted(edges, key=lambda source: best_weight[edges[source]], reverse=True)[:2]
        nodes.append(tuple(Edge(operations[real[best[edges[source]]]], source) for source in sorted(strongest)))
    return tuple(nodes)


def _edge_to_dict(edge: Edge) -> dict[str, str]:
    source = f"input_{edge.source}" if edge.source < 2 else f"node_{edge.source - 2}"
    return {"operation": edge.operation, "input": source}


def _read_cell(kind: str, nodes: object) -> tuple[Node, ...]:
    if not isinstance(nodes, list) or not 1 <= len(nodes) <= 16:
        raise UserError(f"genotype: '{kind}' must be a list of 1 to 16 nodes")
    return tuple(_read_node(f"{kind} node {i}", i, node) for i, node in enumerate(nodes))


def _read_node(where: str, index: int, edges: object) -> Node:
    if not isinstance(edges, list) or not 1 <= len(edges) <= index + 2:
        raise UserError(f"genotype: {where} must be a list of 1 to {index + 2} edges")
    known = {f"input_{j}": j for j in range(2)} | {f"node_{j}": j + 2 for j in range(index)}
    node: list[Edge] = []
    for edge in edges:
        if not isinstance(edge, dict) or set(edge) != {"operation", "input"}:
            raise UserError(f"genotype: {where}: an edge has the keys 'operation' and 'input'")
        if not all(isinstance(name, str) for name in edge.values()):
            raise UserError(f"genotype: {where}: 'operation' and 'input' must be names")
        if edge["input"] not in known:
            raise UserError(f"genotype: {where}: unknown input {edge['input'][:80]!r} (known: {', '.join(known)})")
        if len(edge["operation"]) > _LONGEST_NAME:
            raise UserError(f"genotype: {where}: the name of an operation is longer than {_LONGEST_NAME} characters")
        node.append(Edge(edge["operation"], known[edge["input"]]))
    return tuple(node)

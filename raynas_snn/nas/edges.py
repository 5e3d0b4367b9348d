"""The numbering of a cell's edges: by node, then by source.

A cell has the sources 0 and 1 (its two inputs) and 2, 3, ... (its nodes in order). Node n reads the sources 0 to n + 1,
so n + 2 edges lead to it.
"""


def edge_index(node: int, source: int) -> int:
    """The number of the edge from a source to a node, both from 0."""
    return node * (node + 3) // 2 + source


def num_edges(num_nodes: int) -> int:
    """The number of edges of a cell: 14 for four nodes."""
    return edge_index(num_nodes, 0)

"""Drops what no output needs."""

from __future__ import annotations

from tinygraph.build import Builder
from tinygraph.ir import Graph


def dead_code(graph: Graph) -> Graph:
    """Drops nodes that no output needs, and parameters and buffers that no node reads.

    Inputs and outputs stay, used or not: they are the interface. A training graph keeps its
    parameters and buffers, read or not: an optimizer goes by their names.
    """
    build = Builder(graph.mode)
    build.adopt(graph)
    for node in graph.nodes:
        build.add(node)
    after = build.finish(graph.outputs, keep_data=graph.mode == "training")
    same = len(after.nodes) == len(graph.nodes) and len(after.data) == len(graph.data)
    return graph if same else after

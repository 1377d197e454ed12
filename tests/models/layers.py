"""Questions that tests ask about a traced network."""

from __future__ import annotations

import tinygraph as tg
from tinygraph import Graph, Node


def traced(name: str) -> Graph:
    """A built-in network on the input that it is meant for."""
    return tg.trace(tg.models.create(name), *tg.models.inputs(name))


def nodes(graph: Graph, *ops: str) -> list[Node]:
    """The nodes of these ops, in order."""
    return [node for node in graph.nodes if node.op.name in ops]


def maps(graph: Graph, *ops: str) -> list[tuple[int, ...]]:
    """Shapes without the batch of what these ops make, in order."""
    return [node.outputs[0].type.dims[1:] for node in nodes(graph, *ops)]


def params(graph: Graph, module: str) -> int:
    """Parameters of a module and all below it."""
    return sum(v.type.size for v in graph.data if v.kind == "param" and v.name.startswith(module + "."))

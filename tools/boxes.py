"""What a picture of a graph shows: boxes, arrows between them, and the module each box is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tinygraph.ir import Graph, Node, Value
from tinygraph.rewrite import Index
from tinygraph.tools.caption import caption, family
from tinygraph.tools.table import show_shape

Path = tuple[str, ...]
Kind = Literal["op", "module", "port"]


@dataclass(frozen=True, eq=False, slots=True)
class Box:
    """A thing that is drawn.

    Attributes:
        kind: an op; a module shown as one box; an input or output of the graph.
        title: what it is.
        detail: the shape of what it makes.
        about: lines shown when the mouse rests on it.
        path: of the module that it is in.
        family: of the op, which gives its colour; see caption.family.
    """

    kind: Kind
    title: str
    detail: str
    about: tuple[str, ...]
    path: Path = ()
    family: str = "other"


Arrow = tuple[Box, Box]


def boxes(graph: Graph, depth: int | None) -> tuple[list[Box], list[Arrow]]:
    """The boxes and arrows of a graph, in its order. Weights and constants are not drawn.

    Args:
        graph: what is drawn.
        depth: modules this deep in the tree become one box; None keeps every node.
    """
    found: list[Box] = []
    arrows: list[Arrow] = []
    maker: dict[Value, Box] = {}
    for value in graph.inputs:
        maker[value] = Box("port", value.name, _type(value), (f"input {value.name}",))
        found.append(maker[value])
    index = Index(graph)
    for path, nodes in _groups(graph, depth):
        box = _op(nodes[0], graph) if len(nodes) == 1 else _module(path, nodes, index)
        found.append(box)
        starts = [maker[v] for node in nodes for v in node.inputs if v in maker]
        arrows += [(start, box) for start in (starts if box.kind == "op" else dict.fromkeys(starts))]
        maker |= {v: box for node in nodes for v in node.outputs}
    for name, value in graph.outputs:
        if value not in maker:
            maker[value] = Box("port", value.name, _type(value), (f"{value.kind} {value.name}",))
            found.append(maker[value])
        found.append(Box("port", name, _type(value), (f"output {name}",)))
        arrows.append((maker[value], found[-1]))
    return found, arrows


def _op(node: Node, graph: Graph) -> Box:
    about = tuple(filter(None, (node.where.module, node.name, node.where.source)))
    return Box("op", caption(node, graph), _shapes(node.outputs), about, _path(node), family(node))


def _module(path: Path, nodes: Sequence[Node], index: Index) -> Box:
    inside = set(nodes)
    made = [v for node in nodes for v in node.outputs]
    leaving = [v for v in made if v in index.outputs or not inside.issuperset(index.users(v))]
    return Box("module", ".".join(path), f"{len(nodes)} ops, {_shapes(leaving)}", (".".join(path),), path[:-1])


def _groups(graph: Graph, depth: int | None) -> Iterator[tuple[Path, list[Node]]]:
    """Nodes that are drawn as one box, with the path of the module that they are.

    Only neighbours are joined: a module that is called twice is drawn twice, and a leaf's
    calls stay apart.
    """
    composite = {path[:depth] for path in map(_path, graph.nodes) if depth and len(path) > depth}
    run: list[Node] = []
    current: Path = ()
    for node in graph.nodes:
        path = _path(node)[:depth]
        if path not in composite:
            path = ()
        if run and (not path or path != current):
            yield current, run
            run = []
        run.append(node)
        current = path
    if run:
        yield current, run


def _path(node: Node) -> Path:
    return tuple(node.where.module.split(".")) if node.where.module else ()


def _shapes(values: Sequence[Value]) -> str:
    more = ", .." if len(values) > 3 else ""
    return ", ".join(show_shape(v.type.shape) for v in values[:3]) + more


def _type(value: Value) -> str:
    return f"{value.type.dtype.name} {show_shape(value.type.shape)}"

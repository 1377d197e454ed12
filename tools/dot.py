"""A graph as DOT, Graphviz' language: a box for each node, a frame for each module."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import graphviz  # type: ignore[import-untyped]  # has no stubs

from tinygraph.ir import Graph, Node, Value
from tinygraph.tools.caption import caption, family
from tinygraph.tools.model_arg import show_shape
from tinygraph.tools.output import printable

FONT = "Helvetica,Arial,sans-serif"
_MANY_EDGES = 800  # from here on the layout is done roughly: the exact one takes minutes
_LONGEST = 60  # characters of a name

_FILL = {
    "conv": "#d3e3f5",
    "linear": "#cfeaea",
    "norm": "#f6ebcf",
    "activation": "#dcefd7",
    "pool": "#f8dcd4",
    "softmax": "#e8dff3",
    "arithmetic": "#ffffff",
    "movement": "#ededed",
    "other": "#ffffff",
}
_INPUT, _OUTPUT, _MODULE = "#ffffff", "#ffffff", "#f4f4f4"


@dataclass(eq=False)
class _Box:
    """Something that is drawn: an op, a module collapsed into one box, an input or an output."""

    lines: list[str]
    path: tuple[str, ...] = ()
    fill: str = "#ffffff"
    shape: str = "box"
    tooltip: str = ""
    name: str = ""


@dataclass(eq=False)
class _Frame:
    """A module drawn as a frame, or the whole picture."""

    path: tuple[str, ...]
    boxes: list[_Box] = field(default_factory=list)
    frames: dict[str, _Frame] = field(default_factory=dict)


def dot(graph: Graph, depth: int | None = None) -> str:
    """The graph as DOT text; equal graphs give equal text.

    Args:
        graph: drawn without its weights.
        depth: modules this deep in the tree become one box; None draws every node.
    """
    boxes, edges = _boxes(graph, depth)
    for number, box in enumerate(boxes):
        box.name = f"n{number}"
    picture = graphviz.Digraph(
        "G",
        graph_attr={
            "fontname": FONT,
            "fontsize": "9",
            "nodesep": "0.15",
            "ranksep": "0.2",
            "bgcolor": "white",
            **(
                {"nslimit": "1", "nslimit1": "1", "mclimit": "0.1", "splines": "line"}
                if len(edges) >= _MANY_EDGES
                else {}
            ),
        },
        node_attr={"fontname": FONT, "fontsize": "10", "height": "0.3", "margin": "0.09,0.02", "color": "#666666"},
        edge_attr={"arrowsize": "0.5", "color": "#666666"},
    )
    _draw(picture, _frames(boxes))
    for start, end in edges:
        picture.edge(start.name, end.name)
    source: str = picture.source
    return source


# ---- what is drawn ---------------------------------------------------------------------------


def _boxes(graph: Graph, depth: int | None) -> tuple[list[_Box], list[tuple[_Box, _Box]]]:
    boxes: list[_Box] = []
    edges: list[tuple[_Box, _Box]] = []
    maker: dict[Value, _Box] = {}
    for value in graph.inputs:
        maker[value] = _Box(
            [_short(value.name), _type(value)], shape="oval", fill=_INPUT, tooltip=f"input {value.name}"
        )
        boxes.append(maker[value])
    for nodes, collapsed in _groups(graph, depth):
        box = _module(collapsed, nodes) if collapsed else _op(nodes[0], graph)
        boxes.append(box)
        starts = [maker[v] for node in nodes for v in node.inputs if v in maker]
        if collapsed:
            starts = list(dict.fromkeys(starts))
        edges += [(start, box) for start in starts]
        maker |= {v: box for node in nodes for v in node.outputs}
    for name, value in graph.outputs:
        if value not in maker:
            maker[value] = _Box([_short(value.name), _type(value)], tooltip=f"{value.kind} {value.name}")
            boxes.append(maker[value])
        box = _Box([_short(name), _type(value)], shape="oval", fill=_OUTPUT, tooltip=f"output {name}")
        boxes.append(box)
        edges.append((maker[value], box))
    return boxes, edges


def _op(node: Node, graph: Graph) -> _Box:
    outputs = ", ".join(show_shape(v.type.shape) for v in node.outputs[:3])
    tooltip = "\n".join(filter(None, (node.where.module, node.name, node.where.source)))
    return _Box([_short(caption(node, graph)), outputs], _path(node), _FILL[family(node)], tooltip=tooltip)


def _module(path: tuple[str, ...], nodes: Sequence[Node]) -> _Box:
    name = ".".join(path)
    lines = [_short(name), f"{len(nodes)} ops, {show_shape(nodes[-1].outputs[0].type.shape)}"]
    return _Box(lines, path[:-1], _MODULE, shape="box3d", tooltip=name)


def _groups(graph: Graph, depth: int | None) -> Iterator[tuple[list[Node], tuple[str, ...]]]:
    """Nodes drawn as one box, and the path of the module that they are, or () for a single op.

    Only neighbours are joined: a module that is called twice is drawn twice.
    """
    composite = _composite(graph)
    run: list[Node] = []
    module: tuple[str, ...] = ()
    for node in graph.nodes:
        path = _path(node)[:depth] if depth else ()
        path = path if len(path) == depth and path in composite else ()
        if run and (not path or path != module):
            yield run, module if len(run) > 1 else ()
            run = []
        run.append(node)
        module = path
    if run:
        yield run, module if len(run) > 1 else ()


def _composite(graph: Graph) -> set[tuple[str, ...]]:
    """Paths of modules that hold other modules with nodes."""
    return {path[:i] for path in set(map(_path, graph.nodes)) for i in range(1, len(path))}


def _path(node: Node) -> tuple[str, ...]:
    return tuple(node.where.module.split(".")) if node.where.module else ()


def _type(value: Value) -> str:
    return f"{value.type.dtype.name} {show_shape(value.type.shape)}"


# ---- how it is written -----------------------------------------------------------------------


def _frames(boxes: Sequence[_Box]) -> _Frame:
    """The tree of frames; a frame is drawn for a module that has parts of its own."""
    holders = {box.path[:i] for box in boxes for i in range(1, len(box.path))}
    root = _Frame(())
    for box in boxes:
        frame = root
        for i in range(1, len(box.path) + 1):
            path = box.path[:i]
            if path in holders or box.shape == "box3d":
                frame = frame.frames.setdefault(path[-1], _Frame(path))
        frame.boxes.append(box)
    return root


def _draw(picture: graphviz.Digraph, root: _Frame) -> None:
    # Post-order by an explicit stack: a frame is written into its parent once it is complete.
    stack = [(root, picture, iter(list(root.frames.values())))]
    count = 0
    _write_boxes(picture, root)
    while stack:
        _, drawing, rest = stack[-1]
        child = next(rest, None)
        if child is None:
            stack.pop()
            if stack:
                stack[-1][1].subgraph(drawing)
            continue
        inner = graphviz.Digraph(f"cluster{count}")
        count += 1
        inner.attr(
            label=_html([_short(".".join(child.path))]),
            style="rounded",
            color="#bbbbbb",
            fontcolor="#777777",
            labeljust="l",
            margin="6",
        )
        _write_boxes(inner, child)
        stack.append((child, inner, iter(list(child.frames.values()))))


def _write_boxes(drawing: graphviz.Digraph, frame: _Frame) -> None:
    for box in frame.boxes:
        style = "filled" if box.shape == "box3d" else "filled,rounded" if box.shape == "box" else "filled"
        drawing.node(
            box.name, _html(box.lines), shape=box.shape, style=style, fillcolor=box.fill, tooltip=_tooltip(box.tooltip)
        )


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 2]}.."


def _html(lines: Sequence[str]) -> str:
    """A label of one line, or of one line and smaller ones below."""
    first, *rest = (html.escape(line) for line in lines)
    if not rest:
        return f"<{first}>"
    cells = [first, *(f'<FONT POINT-SIZE="8" COLOR="#555555">{line}</FONT>' for line in rest)]
    rows = "".join(f"<TR><TD>{cell}</TD></TR>" for cell in cells)
    return f'<<TABLE BORDER="0" CELLSPACING="1" CELLPADDING="0">{rows}</TABLE>>'


def _tooltip(text: str) -> str:
    lines = (html.escape(_short(line), quote=False) for line in text.split("\n"))
    return "\\n".join(graphviz.escape(line) for line in lines)

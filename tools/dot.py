"""A graph as DOT, Graphviz' language: a box for each node, a frame for each module."""

from __future__ import annotations

import html
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import graphviz  # type: ignore[import-untyped]  # has no stubs

from tinygraph.errors import printable
from tinygraph.ir import Graph
from tinygraph.tools.boxes import Box, Path, boxes

_FONT = "Arial"  # Graphviz knows its metrics without having the font
_LONGEST = 60  # characters of a name

# A good layout of a large picture takes minutes. Long arrows cost most: what counts is how many
# boxes all arrows together go past.
_MANY_ARROWS = 800
_DENSE = 15_000
_TOO_DENSE = 40_000

_PICTURE = {"fontname": _FONT, "fontsize": "9", "nodesep": "0.15", "ranksep": "0.2", "bgcolor": "white"}
_ROUGH = {"nslimit": "1", "mclimit": "0.1"}
_STRAIGHT = {"splines": "line"}
_BOXES = {"fontname": _FONT, "fontsize": "10", "height": "0.3", "margin": "0.09,0.02", "color": "#666666"}
_ARROWS = {"arrowsize": "0.5", "color": "#666666"}
_TRUNK = {"weight": "100"}  # between neighbours: they stand in line, and none above what it reads
_FRAME = {"style": "rounded", "color": "#bbbbbb", "fontcolor": "#777777", "labeljust": "l", "margin": "6"}
_STYLE = {
    "op": {"shape": "box", "style": "filled,rounded"},
    "module": {"shape": "box3d", "style": "filled"},
    "port": {"shape": "oval", "style": "filled"},
}
_FILL = {
    "conv": "#d3e3f5",
    "linear": "#cfeaea",
    "norm": "#f6ebcf",
    "activation": "#dcefd7",
    "pool": "#f8dcd4",
    "softmax": "#e8dff3",
    "movement": "#ededed",
}


def dot(graph: Graph, depth: int | None = None) -> str:
    """The graph as DOT text; equal graphs give equal text.

    Args:
        graph: drawn without its weights.
        depth: modules this deep in the tree become one box; None draws every node.
    """
    found, arrows = boxes(graph, depth)
    place = {box: number for number, box in enumerate(found)}
    names = {box: f"n{number}" for box, number in place.items()}
    passed = sum(place[end] - place[start] for start, end in arrows)
    settings = _PICTURE | (_ROUGH if len(arrows) >= _MANY_ARROWS else {}) | (_STRAIGHT if passed >= _DENSE else {})
    picture = graphviz.Digraph("G", graph_attr=settings, node_attr=_BOXES, edge_attr=_ARROWS)
    _draw(picture, _frames(found), names)
    if passed >= _TOO_DENSE:
        warnings.warn("so many long arrows are laid out roughly; a depth gives a clearer picture", stacklevel=3)
    for start, end in arrows:
        trunk = place[end] == place[start] + 1 and passed < _TOO_DENSE
        picture.edge(names[start], names[end], **(_TRUNK if trunk else {}))
    source: str = picture.source
    return source


@dataclass(eq=False, slots=True)
class _Frame:
    """A module, or the whole picture."""

    path: Path
    boxes: list[Box] = field(default_factory=list)
    frames: dict[Path, _Frame] = field(default_factory=dict)


def _frames(found: Sequence[Box]) -> _Frame:
    """The tree of frames. A module has one if it has parts; a leaf is no more than its box."""
    parents = {box.path[:i] for box in found for i in range(1, len(box.path))}
    parents |= {box.path for box in found if box.kind == "module"}
    root = _Frame(())
    for box in found:
        frame = root
        for i in range(1, len(box.path) + 1):
            path = box.path[:i]
            if path in parents:
                frame = frame.frames.setdefault(path, _Frame(path))
        frame.boxes.append(box)
    return root


def _draw(picture: graphviz.Digraph, root: _Frame, names: dict[Box, str]) -> None:
    # With a stack of its own: a frame goes into its parent once it is complete.
    _draw_boxes(picture, root, names)
    stack = [(picture, iter(root.frames.values()))]
    count = 0
    while stack:
        drawing, rest = stack[-1]
        frame = next(rest, None)
        if frame is not None:
            inner = graphviz.Digraph(f"cluster{count}", graph_attr=_FRAME | {"label": _label([".".join(frame.path)])})
            count += 1
            _draw_boxes(inner, frame, names)
            stack.append((inner, iter(frame.frames.values())))
            continue
        stack.pop()
        if stack:
            stack[-1][0].subgraph(drawing)


def _draw_boxes(drawing: graphviz.Digraph, frame: _Frame, names: dict[Box, str]) -> None:
    for box in frame.boxes:
        fill = _FILL.get(box.family, "#f4f4f4" if box.kind == "module" else "#ffffff")
        label, tooltip = _label([box.title, box.detail]), _tooltip(box.about)
        drawing.node(names[box], label, fillcolor=fill, tooltip=tooltip, **_STYLE[box.kind])


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 2]}.."


def _label(lines: Sequence[str]) -> str:
    """An HTML-like label: a line, and smaller ones below."""
    # Graphviz takes \N and \G for names of its own, and \\ for one backslash.
    first, *rest = (html.escape(_short(line)).replace("\\", "\\\\") for line in lines)
    if not rest:
        return f"<{first}>"
    cells = [first, *(f'<FONT POINT-SIZE="8" COLOR="#555555">{line}</FONT>' for line in rest)]
    rows = "".join(f"<TR><TD>{cell}</TD></TR>" for cell in cells)
    return f'<<TABLE BORDER="0" CELLSPACING="1" CELLPADDING="0">{rows}</TABLE>>'


def _tooltip(lines: Sequence[str]) -> str:
    # Graphviz reads backslashes in tooltips several times over: a slash stands for them.
    return "\\n".join(html.escape(_short(line)).replace("\\", "/") for line in lines)

"""Is this graph well formed?"""

from __future__ import annotations

from typing import get_args

import numpy as np

from tinygraph.build import infer
from tinygraph.errors import ShapeError, VerifyError
from tinygraph.ir import Graph, Mode, Node, TensorType, Value

_WINDOW = 2  # lines of the program shown on each side of the culprit


def verify(graph: Graph) -> Graph:
    """Checks that the graph is well formed, and returns it.

    Values are defined once, before they are read, under unique names; data has the type it
    is declared with; every op accepts its inputs and makes what is written; outputs have
    unique names.

    Raises:
        VerifyError: it is not; the message shows the lines around the culprit.
    """
    if graph.mode not in get_args(Mode):
        raise VerifyError(f"unknown mode {graph.mode!r}")
    defined: set[Value] = set()
    names: set[str] = set()
    for value in graph.inputs:
        _define(value, "input", defined, names)
    for value, data in graph.data.items():
        if value.kind in ("input", "node"):
            raise VerifyError(f"{value!r} has data, but is of kind {value.kind}")
        _define(value, value.kind, defined, names)
        type = TensorType.of(data)
        if type != value.type:
            raise VerifyError(f"the data of {value!r} is {type}")
        if isinstance(data, np.ndarray) and data.flags.writeable:
            raise VerifyError(f"the data of {value!r} is not read-only")
    for position, node in enumerate(graph.nodes):
        try:
            _check(node, defined, names)
        except (VerifyError, ShapeError) as error:
            raise VerifyError(f"{error}\n{_window(graph, position)}") from None
    _outputs(graph, defined)
    return graph


def _define(value: Value, kind: str, defined: set[Value], names: set[str]) -> None:
    if value in defined:
        raise VerifyError(f"{value!r} is defined twice")
    if value.name in names:
        raise VerifyError(f"two values are named {value.name!r}")
    if value.kind != kind:
        raise VerifyError(f"{value!r} is of kind {value.kind}, want {kind}")
    defined.add(value)
    names.add(value.name)


def _check(node: Node, defined: set[Value], names: set[str]) -> None:
    for value in node.inputs:
        if value not in defined:
            raise VerifyError(f"{node.name} reads {value!r} before it is defined")
    types = infer(node.op, node.input_types, node.where)
    if types != node.output_types:
        made = ", ".join(map(str, types))
        raise VerifyError(
            f"{node.op.name} makes {made}, but {node.name} is declared {', '.join(map(str, node.output_types))}"
        )
    for value in node.outputs:
        _define(value, "node", defined, names)


def _outputs(graph: Graph, defined: set[Value]) -> None:
    if not graph.outputs:
        raise VerifyError("the graph has no output")
    names: set[str] = set()
    for name, value in graph.outputs:
        if value not in defined:
            raise VerifyError(f"the output {name!r} is {value!r}, which nothing defines")
        if name in names:
            raise VerifyError(f"two outputs are named {name!r}")
        names.add(name)


def _window(graph: Graph, position: int) -> str:
    from tinygraph.text import node_line

    first = max(0, position - _WINDOW)
    nodes = graph.nodes[first : position + _WINDOW + 1]
    return "\n".join(f"{'->' if first + i == position else '  '} {node_line(n)}" for i, n in enumerate(nodes))

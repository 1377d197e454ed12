"""What a graph costs: parameters, MACs, FLOPs and memory, node by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tinygraph.ir import Graph, Node, Value
from tinygraph.ops.conv import Conv
from tinygraph.ops.pool import Pool
from tinygraph.ops.unknown import Unknown
from tinygraph.ops.windows import extents
from tinygraph.passes.report import Report, Row, Totals
from tinygraph.runtime.lifetimes import peak


def analyze(graph: Graph, bind: Mapping[str, int] | None = None, model: str = "", unread: Sequence[str] = ()) -> Report:
    """Counts what a graph costs, by the conventions of the README.

    A parameter is counted once, at the first node that reads it; in the totals also if no node
    does. Activations are the arrays that nodes make. An op that only looks at its input in
    another way (reshape, transpose) makes none. The peak is the most that inputs and
    activations take at any one time, if each goes after the last node that reads it or a view
    of it, and outputs stay to the end.

    What a node costs is not known if its operator is not, or if sizes are found only when it runs.
    The totals are then the least that it can be, and the report is not complete.

    Args:
        graph: trained, loaded, optimized or not; no numbers are made.
        bind: numbers for open dimensions. Those not given count as 1, and the report says so.
        model: the name that the report bears.
        unread: operators of nodes of a file that did not get into the graph.

    Raises:
        UsageError: no input has a dimension of that name.
        ShapeError: a number does not fit.
    """
    graph, remarks = with_numbers(graph, bind)
    made = rows(graph)
    return Report(
        model,
        tuple((v.name, v.type) for v in graph.inputs),
        totals(graph, made),
        made,
        (*remarks, *diagnostics(graph), *_unknown(made, unread)),
        complete=not unread and all(row.complete for row in made),
    )


def with_numbers(graph: Graph, bind: Mapping[str, int] | None) -> tuple[Graph, list[str]]:
    """The graph with a number for every open dimension, and a remark for each that is assumed to be 1."""
    given = dict(bind or {})
    assumed = [s for s in graph.symbols if s not in given]
    remarks = [f"{symbol} = 1: no number was given for this open dimension" for symbol in assumed]
    return graph.bind(**given, **dict.fromkeys(assumed, 1)), remarks


def totals(graph: Graph, rows: Sequence[Row]) -> Totals:
    """The sums over the rows of a graph, with the parameters that no row counts, and the peak."""
    parameters = _parameters(graph)
    return Totals(
        params=sum(v.type.size for v in parameters),
        trainable_params=sum(v.type.size for v in parameters if v.kind == "param"),
        buffers=sum(v.type.size for v in graph.data if v.kind == "buffer"),
        macs=sum(row.macs or 0 for row in rows),
        flops=sum(row.flops or 0 for row in rows),
        activation_bytes=sum(row.activation_bytes or 0 for row in rows),
        peak_bytes=peak(graph, owners(graph), ("input", "node")),
    )


def diagnostics(graph: Graph) -> list[str]:
    """What a reader of the counts should know of the graph, one line each."""
    return _unread(graph) + _mostly_padding(graph)


def _parameters(graph: Graph) -> list[Value]:
    return [v for v in graph.data if v.kind in ("param", "frozen")]


def rows(graph: Graph) -> tuple[Row, ...]:
    """One row for each node, in order."""
    counted: set[Value] = set()
    made = []
    for node in graph.nodes:
        fresh = [v for v in dict.fromkeys(node.inputs) if v.kind in ("param", "frozen") and v not in counted]
        counted.update(fresh)
        inputs, outputs = node.input_types, node.output_types
        sized = all(t.is_static for t in (*inputs, *outputs))
        known = sized and not isinstance(node.op, Unknown)
        made.append(
            Row(
                name=node.name,
                module=node.where.module,
                source=node.where.source,
                op=node.op.operator if isinstance(node.op, Unknown) else node.op.name,
                input_shapes=tuple(t.shape for t in inputs),
                output_shape=outputs[0].shape,
                params=sum(v.type.size for v in fresh),
                trainable_params=sum(v.type.size for v in fresh if v.kind == "param"),
                macs=node.op.macs(inputs, outputs) if known else None,
                flops=node.op.flops(inputs, outputs) if known else None,
                activation_bytes=_activation_bytes(node) if sized else None,
                complete=known,
            )
        )
    return tuple(made)


def _activation_bytes(node: Node) -> int:
    return 0 if _is_view(node) else sum(t.nbytes for t in node.output_types)


def _is_view(node: Node) -> bool:
    return "view" in node.op.traits


def owners(graph: Graph) -> dict[Value, Value]:
    """The value whose memory each value lies in, if no view needs a copy."""
    owner = {v: v for v in graph.values()}
    for node in graph.nodes:
        if _is_view(node):
            owner |= dict.fromkeys(node.outputs, owner[node.inputs[0]])
    return owner


def _unknown(rows: Sequence[Row], unread: Sequence[str]) -> list[str]:
    """What the counts leave out."""
    unknown = [row.op for row in rows if not row.complete]
    remarks = []
    if unknown:
        remarks.append(f"the cost of {_census(unknown)} is not known; totals are the least that it can be")
    if unread:
        remarks.append(f"not in the table, for the shapes that they make are not known: {_census(unread)}")
    return remarks


def _census(ops: Sequence[str]) -> str:
    return ", ".join(f"{count} {op}" for op, count in Counter(ops).items())


def _unread(graph: Graph) -> list[str]:
    read = {v for node in graph.nodes for v in node.inputs} | {v for _, v in graph.outputs}
    unread = [v for v in _parameters(graph) if v not in read]
    if not unread:
        return []
    size = sum(v.type.size for v in unread)
    return [f"{len(unread)} parameters ({size:,} numbers) are read by no node; the first is {unread[0].name}"]


def _mostly_padding(graph: Graph) -> list[str]:
    """Convolutions and pools whose window spans more than the input without its padding."""
    found = [node for node in graph.nodes if _spans_more(node)]
    if not found:
        return []
    first, ops = found[0], _census([node.op.name for node in found])
    return [
        f"{ops}: the window is larger than the input, and most taps read padding; "
        f"the first is {first.name} on {first.inputs[0].type}; use larger images"
    ]


def _spans_more(node: Node) -> bool:
    if isinstance(node.op, Conv):
        window: tuple[int, ...] = node.inputs[1].type.dims[2:]
    elif isinstance(node.op, Pool):
        window = node.op.kernel_size
    else:
        return False
    if not node.inputs[0].type.is_static:
        return False
    sizes = node.inputs[0].type.dims[2:]
    return any(span > size for span, size in zip(extents(window, node.op.dilation), sizes, strict=True))

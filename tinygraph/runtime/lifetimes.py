"""When each array of a graph may go, and how much memory the living ones take."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from tinygraph.ir import Array, Graph, Kind, Value

_EACH_ITS_OWN: Mapping[Value, Value] = MappingProxyType({})


def lifetimes(graph: Graph, owner: Mapping[Value, Value] = _EACH_ITS_OWN) -> list[tuple[Value, ...]]:
    """For each node, the values that nobody needs after it: read last, or never read at all.

    Outputs of the graph live on, and so do inputs and data that no node reads.

    Args:
        graph: its nodes in order.
        owner: the value whose memory a value lies in, where that is another one: then only owners
            are told of, and one lives until the last reader of any value in its memory.
    """
    needed = {owner.get(v, v) for _, v in graph.outputs}
    dying: list[tuple[Value, ...]] = []
    for node in reversed(graph.nodes):
        held = dict.fromkeys(owner.get(v, v) for v in (*node.outputs, *node.inputs))
        last = tuple(v for v in held if v not in needed)
        needed.update(last)
        dying.append(last)
    dying.reverse()
    return dying


def peak(graph: Graph, owner: Mapping[Value, Value], kinds: tuple[Kind, ...]) -> int:
    """Most bytes of arrays of these kinds that are alive at any one time, by lifetimes(graph, owner).

    Args:
        graph: arrays with a dimension that has no number are not counted.
        owner: the value whose memory each value lies in.
        kinds: "node", or "input" and "node". An input that no node reads counts at the start only.
    """
    dying = lifetimes(graph, owner)
    needed = {v for last in dying for v in last} | {owner[v] for _, v in graph.outputs}
    inputs = [v for v in graph.inputs if v.kind in kinds]
    live = most = sum(_nbytes(v) for v in inputs)
    live -= sum(_nbytes(v) for v in inputs if v not in needed)
    for node, last in zip(graph.nodes, dying, strict=True):
        live += sum(_nbytes(v) for v in node.outputs if owner[v] is v)
        most = max(most, live)
        live -= sum(_nbytes(v) for v in last if v.kind in kinds)
    return most


def _nbytes(value: Value) -> int:
    return value.type.nbytes if value.type.is_static else 0


def owners(graph: Graph, weights: Mapping[Value, Array]) -> dict[Value, Value]:
    """The value whose memory each value lies in: its own, or that of the array it is a view of.

    Whether NumPy makes a view or must copy (a reshape after a transpose) depends on strides.
    So the kernels of ops with the trait "view" are asked, with arrays of one byte an element
    that nobody has written to: pages that are never touched take no memory.

    Args:
        graph: every dimension has a number.
        weights: the array of each param, frozen, buffer and const that the graph reads.
    """
    owner = {v: v for v in graph.values()}
    stand_ins = dict(weights)
    views = [node for node in graph.nodes if "view" in node.op.traits]
    last = {node.inputs[0]: node for node in views}
    for node in views:
        source, result = node.inputs[0], node.outputs[0]
        if source not in stand_ins:
            stand_ins[source] = np.empty(source.type.dims, np.int8)
        stand_in = node.op.kernel(stand_ins[source])
        if np.may_share_memory(stand_in, stand_ins[source]):
            owner[result] = owner[source]
            stand_ins[result] = stand_in
        if last[source] is node:
            del stand_ins[source]
    return owner

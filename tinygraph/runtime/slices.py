"""Joints of channels without copies: what is joined is computed where the joint's result has it.

With the channels last, the inputs of a joint are slices of the last axis of its result: parts of its rows. A kernel
that can write into such parts is given them, so that nothing is left to do for the joint itself. Where a joint's
inputs are some of those of a later one, as in a dense block, it is a slice of that one's result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from tinygraph.ir import Graph, Node, Value
from tinygraph.ops.base import Prepared
from tinygraph.ops.index import Concat


class Slice(NamedTuple):
    """A part of the last axis of another value.

    Attributes:
        host: which one.
        start: where the part begins.
    """

    host: Value
    start: int


def slices(
    graph: Graph, owner: Mapping[Value, Value], prepared: Mapping[Node, Prepared], returned: Sequence[Value]
) -> dict[Value, Slice]:
    """The values that are computed within the result of a joint.

    Args:
        graph: every dimension has a number.
        owner: the value whose memory each value lies in for being a view of it.
        prepared: kernels of the nodes that have one.
        returned: the values that the caller gets.
    """
    joints = [node for node in reversed(graph.nodes) if node in prepared and _joins_rows(node)]
    if not joints:
        return {}
    whole = {owner[v] for v in returned}
    divisible = _divisible(graph, owner, prepared) - whole
    made = {v for node, kernel in prepared.items() if kernel.slice_workspace is not None for v in node.outputs}
    found: dict[Value, Slice] = {}
    for node in joints:
        (result,) = node.outputs
        if result in whole:
            continue
        there = [found.get(v) for v in node.inputs]
        if is_in_place(node, found, there[0]):
            if result in divisible and result not in found and there[0]:
                found[result] = there[0]
        elif not any(there) and len(set(node.inputs)) == len(node.inputs) and divisible & made >= set(node.inputs):
            host, start = found.get(result, Slice(result, 0))
            found |= {v: Slice(host, start + at) for v, at in zip(node.inputs, _starts(node), strict=True)}
    return found


def is_in_place(node: Node, found: Mapping[Value, Slice], first: Slice | None) -> bool:
    """Whether the inputs of a joint lie side by side, from a place on."""
    if first is None:
        return False
    wanted = [Slice(first.host, first.start + at) for at in _starts(node)]
    return [found.get(v) for v in node.inputs] == wanted


def needs_no_step(node: Node, found: Mapping[Value, Slice]) -> bool:
    """Whether the result of a node is there as soon as its inputs are."""
    result = node.outputs[0]
    return _joins_rows(node) and is_in_place(node, found, found.get(result, Slice(result, 0)))


def _joins_rows(node: Node) -> bool:
    return isinstance(node.op, Concat) and node.op.axis in (-1, node.outputs[0].type.ndim - 1)


def _starts(node: Node) -> list[int]:
    """Where each input of a joint begins in the result."""
    return list(accumulate((v.type.dims[-1] for v in node.inputs[:-1]), initial=0))


def _divisible(graph: Graph, owner: Mapping[Value, Value], prepared: Mapping[Node, Prepared]) -> set[Value]:
    """What may lie in parts of rows: computed, and read only by kernels that take it so."""
    found = {v for node in graph.nodes for v in node.outputs if len(node.outputs) == 1 and v.type.size}
    for v, base in owner.items():
        if v is not base:
            found -= {v, base}
    for node in graph.nodes:
        if node not in prepared or not prepared[node].reads_slices:
            found.difference_update(node.inputs)
    return found

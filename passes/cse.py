"""Common subexpressions: what is computed twice is computed once."""

from __future__ import annotations

import hashlib

import numpy as np

from tinygraph.ir import Graph, Node, Value
from tinygraph.rewrite import Replacement, Rewriter

Key = tuple[object, ...]


def cse(graph: Graph) -> Graph:
    """Merges nodes with equal ops and equal inputs into the first of them.

        f(x), f(x)  ->  y, y  where y = f(x)

    Inputs are equal if they are the same value, have been merged, or are constants of the same
    dtype, shape and bits: -0.0 and 0.0 differ, and so do NaNs with different payloads. Ops are
    equal if they are written alike, so that attributes 1, 1.0 and True differ, and 0.0 and -0.0.

    Preconditions: the op is not random. Parameters are never merged, equal numbers or not: they
    are different ones to whoever trains or loads them.
    """
    same = _equal_constants(graph)
    constants = list(same.items())
    groups: dict[Key, list[Node]] = {}
    for node in graph.nodes:
        if "random" in node.op.traits:
            continue
        key = (repr(node.op), *(same.get(v, v) for v in node.inputs))
        group = groups.setdefault(key, [])
        group.append(node)
        if node is not group[0]:
            same |= zip(node.outputs, group[0].outputs, strict=True)
    leaders = {group[0]: group for group in groups.values() if len(group) > 1}

    def rule(node: Node, rw: Rewriter) -> Replacement:
        if node in leaders:
            return rw.emit(node.op, *node.inputs, of=leaders[node])
        return [same[v] for v in node.outputs] if node.outputs[0] in same else None

    rewriter = Rewriter(graph)
    for old, new in constants:
        rewriter.substitute(old, new)
    return rewriter.sweep(rule)


def _equal_constants(graph: Graph) -> dict[Value, Value]:
    """Each constant that has the bits of an earlier one -> that one."""
    first: dict[Key, Value] = {}
    same: dict[Value, Value] = {}
    for value, data in graph.data.items():
        if value.kind == "const" and isinstance(data, np.ndarray):
            bits = hashlib.sha256(np.ascontiguousarray(data).data).digest()
            leader = first.setdefault((value.type, bits), value)
            if leader is not value:
                same[value] = leader
    return same

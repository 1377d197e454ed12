"""Removes nodes that give back their input, and merges reshapes and transposes in a row."""

from __future__ import annotations

import numpy as np

from tinygraph.ir import Graph, Node, Value
from tinygraph.ops.dropout import Dropout
from tinygraph.ops.elementwise import Cast
from tinygraph.ops.index import Concat, Slice
from tinygraph.ops.pad import Pad
from tinygraph.ops.shape import BroadcastTo, Reshape, Transpose
from tinygraph.rewrite import Replacement, Rewriter, rewrite


def simplify(graph: Graph) -> Graph:
    """Removes nodes that do nothing.

        reshape, broadcast_to, cast to the type that x has  ->  x
        transpose by the identity, pad by nothing           ->  x
        slice of everything, concat of one                  ->  x
        dropout with p = 0                                  ->  x
        reshape(reshape(x))                                 ->  reshape(x), or x
        transpose(transpose(x))                             ->  transpose(x), or x

    Each holds bit for bit, for NaN, infinity and -0.0 too: no number is touched. That is why
    x + 0 (it makes -0.0 positive), x * 0, x - x and x / x (not 0 and 1 for NaN and infinity) are
    left alone, and zero padding in front of a pool too: a pool's own padding is no zeros.

    Preconditions: none. The type stays the same, and inputs and outputs keep their names, also
    where nothing is left between them.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, rw: Rewriter) -> Replacement:
    if _does_nothing(node):
        return node.inputs[0]
    if isinstance(node.op, Reshape):
        return _after_reshape(node, rw)
    if isinstance(node.op, Transpose):
        return _after_transpose(node, node.op, rw)
    return None


def _does_nothing(node: Node) -> bool:
    x, y = node.inputs[0] if node.inputs else None, node.outputs[0]
    match node.op:
        case Reshape() | BroadcastTo() | Cast():
            return x is not None and x.type == y.type
        case Transpose(axes=axes):
            return axes == tuple(range(len(axes)))
        case Pad(pads=pads):
            return not np.any(pads)
        case Slice(steps=steps):
            return x is not None and x.type == y.type and all(step > 0 for step in steps)
        case Concat():
            return len(node.inputs) == 1
        case Dropout(p=p):
            return p == 0
    return False


def _after_reshape(node: Node, rw: Rewriter) -> Replacement:
    first = rw.maker(node.inputs[0])
    if first is None or not isinstance(first.op, Reshape):
        return None
    x = first.inputs[0]
    return x if x.type == node.outputs[0].type else rw.emit(node.op, x)


def _after_transpose(node: Node, second: Transpose, rw: Rewriter) -> Replacement:
    first = rw.maker(node.inputs[0])
    if first is None or not isinstance(first.op, Transpose):
        return None
    axes = tuple(first.op.axes[axis] for axis in second.axes)
    x: Value = first.inputs[0]
    return x if axes == tuple(range(len(axes))) else rw.emit(Transpose(axes), x)

"""Arrays that a call rewrites: which ones in place, which ones at its end, and never with numbers that diverged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinygraph.errors import UsageError
from tinygraph.ir import Array, Graph, Node, TensorType, Value
from tinygraph.runtime.fuse import may_overwrite

_BLOCK = 1 << 16  # numbers that are looked at together, one by one


@dataclass(frozen=True)
class Updates:
    """How a call brings each state array to its next numbers.

    Attributes:
        in_place: the state value whose array the key is written into as it is computed.
        copied: (state value, next value) pairs that are copied at the end of the call.
    """

    in_place: Mapping[Value, Value]
    copied: tuple[tuple[Value, Value], ...]


def check(graph: Graph, state: Mapping[Value, Array]) -> None:
    """Raises UsageError unless each array can hold its param or buffer, and none overlap."""
    for value, array in state.items():
        if value not in graph.data or value.kind not in ("param", "frozen", "buffer"):
            raise UsageError(f"state for {value!r}: the graph has no such param or buffer")
        if TensorType.of(array) != value.type:
            raise UsageError(f"state for {value!r} is {TensorType.of(array)}")
        if not (array.flags.writeable and array.flags.c_contiguous and array.flags.aligned):
            raise UsageError(f"state for {value!r} must be writable, C-contiguous and aligned: pass np.array(...)")
    bounds = sorted((*byte_bounds(array), value.name) for value, array in state.items() if array.size)
    for (_, end, name), (start, _, other) in pairwise(bounds):
        if start < end:
            raise UsageError(f"the state of {name!r} and of {other!r} share memory: pass an array for each")


def next_values(graph: Graph, state: Collection[Value]) -> dict[Value, Value]:
    """For each state value, the value of the output that bears its name, if there is one.

    Raises:
        UsageError: an output is of another type than the state that it is to replace.
    """
    named = {v.name: v for v in state}
    found = {}
    for name, value in graph.outputs:
        if name not in named:
            continue
        if value.type != named[name].type:
            raise UsageError(f"the output {name!r} is {value.type}, but the state that it replaces {named[name].type}")
        found[named[name]] = value
    return found


def guarded(graph: Graph, guard: Collection[str | Value]) -> set[Value]:
    """The floating values that must be finite: outputs and values of the graph.

    Args:
        graph: any graph.
        guard: names of outputs; or values, of this graph or of one that it was bound from.

    Raises:
        UsageError: the graph has no such output or value.
    """
    outputs = dict(graph.outputs)
    values = {v.name: v for v in graph.values()} if guard else {}
    found = set()
    for item in guard:
        value = outputs.get(item) if isinstance(item, str) else values.get(item.name)
        if value is None:
            raise UsageError(f"cannot guard {item!r}: the graph computes no such output or value")
        if value.type.dtype.kind == "f":
            found.add(value)
    return found


def updates(
    graph: Graph,
    state: Collection[Value],
    owner: Mapping[Value, Value],
    checked: Collection[Value],
    prepared: Collection[Node],
) -> Updates:
    """Says which next values may be written over the old ones as they are computed.

    That is so where the node is elementwise and writes where it is told, everything in `checked`
    is known by then, and nobody reads the old array, or a view of it, afterwards or at another
    place than the one that is written.

    Args:
        graph: every dimension has a number.
        state: the values that live in state arrays.
        owner: the value whose memory each value lies in.
        checked: values that must be found finite before any state is written.
        prepared: nodes whose kernel writes into arrays that it is given.
    """
    following = {old: new for old, new in next_values(graph, state).items() if new is not old}
    last_read = {owner[v]: i for i, node in enumerate(graph.nodes) for v in node.inputs}
    kept = {owner[v] for name, v in graph.outputs if following.get(owner[v]) is not v}
    earliest = max((i for i, node in enumerate(graph.nodes) if not set(node.outputs).isdisjoint(checked)), default=-1)
    maker = {v: i for i, node in enumerate(graph.nodes) for v in node.outputs}
    in_place: dict[Value, Value] = {}
    for old, new in following.items():
        at = maker.get(new, -1)
        if at <= earliest or new in in_place or old in kept or last_read.get(old, -1) > at:
            continue
        node = graph.nodes[at]
        aligned = all(v is old or owner[v] is not old for v in node.inputs)
        if aligned and "elementwise" in node.op.traits and node in prepared and may_overwrite(node, new, old):
            in_place[new] = old
    copied = tuple((old, new) for old, new in following.items() if in_place.get(new) is not old)
    return Updates(in_place, copied)


def finite(array: Array) -> bool:
    """Whether no number of the array is infinite or NaN.

    Costs one pass, and memory for a block of numbers at most.
    """
    once = array[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides)]
    flat = once.ravel(order="K")
    if np.isfinite(np.dot(flat, flat)):  # the sum of squares may overflow where the numbers are sound
        return True
    return all(np.isfinite(flat[i : i + _BLOCK]).all() for i in range(0, flat.size, _BLOCK))

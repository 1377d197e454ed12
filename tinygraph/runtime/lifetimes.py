"""When each array of a graph may go, and how much memory the living ones take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygraph.ir import Array, Graph, Value


def lifetimes(graph: Graph) -> list[tuple[Value, ...]]:
    """For each node, the values that nobody needs after it: read last, or never read at all.

    Outputs of the graph live on, and so do inputs and data that no node reads.
    """
    needed = {v for _, v in graph.outputs}
    dying: list[tuple[Value, ...]] = []
    for node in reversed(graph.nodes):
        last = tuple(v for v in dict.fromkeys((*node.outputs, *node.inputs)) if v not in needed)
        needed.update(last)
        dying.append(last)
    dying.reverse()
    return dying


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
    for node in graph.nodes:
        if "view" not in node.op.traits:
            continue
        source, result = node.inputs[0], node.outputs[0]
        if source not in stand_ins:
            stand_ins[source] = np.empty(source.type.dims, np.int8)
        stand_in = node.op.kernel(stand_ins[source])
        if np.may_share_memory(stand_in, stand_ins[source]):
            owner[result] = owner[source]
            stand_ins[result] = stand_in
    return owner


def peak(graph: Graph, dying: Sequence[Sequence[Value]], weights: Mapping[Value, Array]) -> int:
    """Most bytes of computed arrays that are alive at any one time.

    An array is alive from the node that makes it to the last reader of it or of a view of
    it; an output of the graph, to the end. An output that has no memory of its own (an input, a
    weight, a part of a larger array, a second name of another output) is copied at the end,
    and the copy counts.

    Args:
        graph: every dimension has a number.
        dying: lifetimes(graph).
        weights: see owners.
    """
    owner = owners(graph, weights)
    computed = {v for node in graph.nodes for v in node.outputs}
    holders = dict.fromkeys(computed, 0)
    for value in computed:
        if owner[value] in computed:
            holders[owner[value]] += 1
    live = most = 0
    for node, last in zip(graph.nodes, dying, strict=True):
        live += sum(v.type.nbytes for v in node.outputs if owner[v] is v)
        most = max(most, live)
        for value in last:
            base = owner[value]
            if value in computed and base in computed:
                holders[base] -= 1
                live -= 0 if holders[base] else base.type.nbytes
    returned: set[Value] = set()
    for _, value in graph.outputs:
        base = owner[value]
        own = base in computed and base not in returned and base.type.size == value.type.size
        live += 0 if own else value.type.nbytes
        returned.add(base)
    return max(most, live)

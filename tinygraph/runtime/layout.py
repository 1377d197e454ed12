"""How much memory a call takes, and where in the arena each array of it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygraph.ir import Graph, Node, Value
from tinygraph.kernels.scratch import room
from tinygraph.runtime.arena import Buffer, lower_bound, pack
from tinygraph.runtime.lifetimes import lifetimes
from tinygraph.runtime.placement import Placement


@dataclass(frozen=True)
class Layout:
    """The arena of a static graph, and what a call takes besides it.

    Attributes:
        spans: the bytes of the arena for each root that lies there, and for each node's scratch memory.
        dying: for each node, the roots (see Placement) that nobody needs after it.
        arena: bytes of the arena.
        activations: most bytes of computed arrays that are alive at any one time.
        total: most bytes that a call takes: the arena, and what it allocates besides.
    """

    spans: Mapping[Value | Node, slice]
    dying: Sequence[tuple[Value, ...]]
    arena: int
    activations: int
    total: int


def lay_out(graph: Graph, placement: Placement, workspace: Mapping[Node, int], returned: Sequence[Value]) -> Layout:
    """Packs what comes and goes within a call into an arena.

    Args:
        graph: every dimension has a number.
        placement: of its values.
        workspace: bytes of scratch memory of nodes that need some.
        returned: the values that the caller gets, in order.
    """
    end = len(graph.nodes)
    dying = lifetimes(graph, placement.root)
    last = {v: i for i, values in enumerate(dying) for v in values}
    made: dict[Value, int] = {}  # a slice may be there before what it is a slice of
    for i, node in enumerate(graph.nodes):
        for v in node.outputs:
            made.setdefault(placement.root[v], i)
    lives = {v: Buffer(v.type.nbytes, i, last.get(v, end)) for v, i in made.items() if v.kind == "node"}
    inside = {v: life for v, life in lives.items() if placement.home[v] == "arena"}
    outside = [life for v, life in lives.items() if v not in inside]
    copies = [v.type.nbytes for v, copied in zip(returned, placement.copied, strict=True) if copied]
    outside.append(Buffer(sum(copies), end, end))
    scratch = {node: Buffer(workspace.get(node, 0), i, i) for i, node in enumerate(graph.nodes)}

    buffers = [*inside.values(), *scratch.values()]
    offsets, arena = pack([b._replace(nbytes=room(np.dtype(np.uint8), (b.nbytes,))) for b in buffers])
    spans = [slice(offset, offset + b.nbytes) for offset, b in zip(offsets, buffers, strict=True)]
    return Layout(
        spans=dict(zip([*inside, *scratch], spans, strict=True)),
        dying=dying,
        arena=arena,
        activations=lower_bound([*inside.values(), *outside]),
        total=arena + lower_bound(outside),
    )

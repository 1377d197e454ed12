"""Where each array of a graph lies: in the arena, in memory of its own, or where another array was."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tinygraph.ir import Graph, Node, Value
from tinygraph.runtime.fuse import may_overwrite
from tinygraph.runtime.slices import Slice

Home = Literal["given", "arena", "fresh", "kernel"]

_NO_SLICES: Mapping[Value, Slice] = MappingProxyType({})


@dataclass(frozen=True)
class Placement:
    """Whose memory each value lies in, and where that memory comes from.

    Attributes:
        owner: of each value, the value that it is a view or a slice of; itself if it is none.
        slices: which values are slices, and of what.
        root: of each value, the value that its memory was first meant for. Views lie in the memory
            of their base, results that are computed in place in that of an operand, next values
            in that of the state.
        home: of each root: "given" (inputs, weights, state), "arena", "fresh" (allocated in each
            call, because the caller gets it), or "kernel" (allocated by a plain kernel).
        copied: for each output that is returned, whether it is copied at the end, because its memory
            is not the caller's to have: given, in the arena, a part of a larger array, or that
            of an output before it.
    """

    owner: Mapping[Value, Value]
    slices: Mapping[Value, Slice]
    root: Mapping[Value, Value]
    home: Mapping[Value, Home]
    copied: tuple[bool, ...]

    def is_view(self, value: Value) -> bool:
        """Whether the value is a view of another one."""
        return self.owner[value] is not value and value not in self.slices

    def moves(self, value: Value) -> bool:
        """Whether the array is another one in each call: it is the caller's, or allocated."""
        root = self.root[value]
        return root.kind == "input" or self.home[root] in ("fresh", "kernel")


def place(
    graph: Graph,
    owner: Mapping[Value, Value],
    rewritten: Mapping[Value, Value],
    prepared: Collection[Node],
    returned: Sequence[Value],
    slices: Mapping[Value, Slice] = _NO_SLICES,
) -> Placement:
    """Finds a place for every value of a static graph.

    Args:
        graph: every dimension has a number.
        owner: the value whose memory each value lies in for being a view of it.
        rewritten: next values that are written over state, and that state.
        prepared: nodes whose kernel writes into arrays that it is given.
        returned: the values that the caller gets, in order.
        slices: values that are computed within others.
    """
    owner = {**owner, **{v: host for v, (host, _) in slices.items()}}
    shared = _in_place(graph, owner, rewritten, prepared)
    root = {v: shared[owner[v]] for v in graph.values()}
    home: dict[Value, Home] = {v: "given" for v in (*root, *rewritten.values()) if v.kind != "node"}
    for node in graph.nodes:
        home |= {v: "arena" if node in prepared else "kernel" for v in node.outputs if root[v] is v}
    copied = []
    taken = {host for host, _ in slices.values()}  # slices of it are made with the arena, not in each call
    for value in returned:
        base = root[value]
        whole = home[base] != "given" and base not in taken and base.type.nbytes == value.type.nbytes
        if whole:
            taken.add(base)
            home[base] = "fresh" if home[base] == "arena" else home[base]
        copied.append(not whole)
    return Placement(owner, slices, root, home, tuple(copied))


def _in_place(
    graph: Graph, owner: Mapping[Value, Value], rewritten: Mapping[Value, Value], prepared: Collection[Node]
) -> dict[Value, Value]:
    """For each owner of memory, the one in whose place it is computed; itself if it has a place of its own."""
    shared = {v: rewritten.get(v, v) for v in graph.values() if owner[v] is v}
    # When each owner is read last, views of it included; or when it is made, if nobody reads it.
    last = {v: i for i, node in enumerate(graph.nodes) for v in map(owner.__getitem__, (*node.outputs, *node.inputs))}
    last |= {owner[v]: len(graph.nodes) for _, v in graph.outputs}
    until = last.copy()  # the same for all that is put into one memory
    writable = {v for node in graph.nodes if node in prepared for v in node.outputs}
    for i, node in enumerate(graph.nodes):
        if node not in prepared or "elementwise" not in node.op.traits:
            continue
        for result in node.outputs:
            if shared[result] is not result:
                continue
            for operand in node.inputs:
                place = shared[owner[operand]]
                same = all(v.type == result.type and owner[v] is v for v in node.inputs if shared[owner[v]] is place)
                if same and place in writable and until[place] == i and may_overwrite(node, result, operand):
                    shared[result] = place
                    until[place] = last[result]
                    break
    return shared

"""Elementwise nodes that run together, a block of all their arrays at a time.

The update of a parameter is a dozen elementwise nodes. One after the other, each reads and writes
arrays that are larger than the cache. Together they take a block of each array that they read
through all of their steps: what passes between them stays in the cache, and needs no array.
The numbers are those that the nodes make alone, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tinygraph.ir import Array, Graph, Node, TensorType, Value
from tinygraph.kernels.scratch import carve, room
from tinygraph.kernels.workers import shares, together
from tinygraph.ops.base import Op, Prepared, Types, family, no_macs, not_differentiable, not_in_onnx

_CACHE = 1 << 22  # bytes that the blocks of all arrays of a group may take together
_LEAST = 1 << 11  # elements of a block; blocks are whole multiples of it
_MOST = 1 << 17  # in much shorter ones, threads spend their time waiting for the interpreter
_LONGEST = 64  # members of a group; the blocks of many more would be too short to fit the cache


@family
class Fused(Op):
    """Several elementwise nodes on arrays of one shape, and scalars."""

    name = "fused"
    arity = (1, None)
    traits = frozenset({"elementwise"})
    macs = no_macs
    vjp = not_differentiable("it is made for running only")
    to_onnx = not_in_onnx("it is made for running only")
    members: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return tuple(v.type for v in self.outputs)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """Those of the members."""
        return sum(node.op.flops(node.input_types, node.output_types) for node in self.members)

    def kernel(self, *arrays: Array) -> tuple[Array, ...]:
        made = dict(zip(self.inputs, arrays, strict=True))
        for node in self.members:
            made[node.outputs[0]] = node.op.kernel(*(made[v] for v in node.inputs))
        return tuple(made[v] for v in self.outputs)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        known = dict(zip(self.inputs, constants, strict=True))
        program = _Program(self, {v: a for v, a in known.items() if a is not None}, workers)
        return Prepared(program.run, program.workspace, "+".join(node.op.name for node in self.members))

    def may_overwrite(self, output: Value, operand: Value) -> bool:
        """Whether nothing reads the operand after the output is there."""
        order = {node.outputs[0]: i for i, node in enumerate(self.members)}
        return all(i <= order[output] for i, node in enumerate(self.members) if operand in node.inputs)

    def __repr__(self) -> str:
        return f"fused({'+'.join(node.op.name for node in self.members)})"


class _Program:
    """The members of a group as instructions on numbered cells: its inputs, its outputs, and scratch blocks.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(self, op: Fused, constants: Mapping[Value, Array], workers: int) -> None:
        self.scalar = [v.type.ndim == 0 for v in op.inputs] + [False] * len(op.outputs)
        self.size = op.outputs[0].type.size
        places, self.dtypes = _scratch_places(op)
        count = len(self.scalar)
        cells = {v: i for i, v in enumerate((*op.inputs, *op.outputs))}
        cells |= {v: count + block for v, block in places.items()}
        moved = sum(v.type.dtype.itemsize for v in (*op.inputs, *op.outputs) if v.type.ndim)
        moved += sum(dtype.itemsize for dtype in self.dtypes)
        wanted = min(_MOST, _CACHE // moved, -(-self.size // workers))
        self.block = -(-wanted // _LEAST) * _LEAST
        self.shares = shares(-(-self.size // self.block), workers)

        def instructions(size: int) -> list[Any]:
            kernels = [lowered(node, size, constants) for node in op.members]
            reads = [tuple(cells[v] for v in node.inputs) for node in op.members]
            writes = [cells[node.outputs[0]] for node in op.members]
            return [(k.run, k.workspace, *rest) for k, *rest in zip(kernels, reads, writes, strict=True) if k]

        self.whole = instructions(self.block)
        self.rest = instructions(self.size % self.block)
        self.memory = [(dtype.itemsize * self.block,) for dtype in self.dtypes]
        self.memory.append((max(workspace for _, workspace, *_ in self.whole),))
        self.workspace = room(np.dtype(np.uint8), *self.memory * len(self.shares))

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
        """Computes the outputs."""
        flat = [a if scalar else a.reshape(-1) for a, scalar in zip((*inputs, *outputs), self.scalar, strict=True)]
        memory = list(carve(workspace, np.dtype(np.uint8), *self.memory * len(self.shares)))
        count = len(self.memory)
        together(
            [
                partial(self._share, flat, share, memory[i * count : (i + 1) * count])
                for i, share in enumerate(self.shares)
            ]
        )

    def _share(self, flat: Sequence[Array], share: slice, memory: Sequence[Array]) -> None:
        *blocks, workspace = memory
        scratch = [block.view(dtype) for block, dtype in zip(blocks, self.dtypes, strict=True)]
        for begin in range(share.start * self.block, min(share.stop * self.block, self.size), self.block):
            part = slice(begin, min(begin + self.block, self.size))
            cells = [a if scalar else a[part] for a, scalar in zip(flat, self.scalar, strict=True)]
            cells += [a[: part.stop - begin] for a in scratch]
            for run, _, reads, write in self.whole if part.stop - begin == self.block else self.rest:
                run([cells[i] for i in reads], [cells[write]], workspace)


def lowered(node: Node, size: int, constants: Mapping[Value, Array]) -> Prepared | None:
    """The prepared kernel of a member for blocks of so many elements."""
    types = [v.type if v.type.ndim == 0 else v.type.with_shape((size,)) for v in node.inputs]
    known = [constants.get(v) if v.type.ndim == 0 else None for v in node.inputs]
    return node.op.lower(types, known, 1)


def _scratch_places(op: Fused) -> tuple[dict[Value, int], list[np.dtype[Any]]]:
    """For each value between members, the number of its scratch block; and the dtype of each block."""
    last = {v: i for i, node in enumerate(op.members) for v in (*node.outputs, *node.inputs)}
    places: dict[Value, int] = {}
    dtypes: list[np.dtype[Any]] = []
    free: dict[np.dtype[Any], list[int]] = {}
    for i, node in enumerate(op.members):
        for v in dict.fromkeys(node.inputs):  # elementwise nodes may write where an operand was
            if v in places and last[v] == i:
                free.setdefault(v.type.dtype, []).append(places[v])
        (result,) = node.outputs
        if result in op.outputs:
            continue
        dtype = result.type.dtype
        if free.get(dtype):
            places[result] = free[dtype].pop()
        else:
            places[result] = len(dtypes)
            dtypes.append(dtype)
    return places, dtypes


# ---- which nodes -------------------------------------------------------------------------------


class _Group:
    """Nodes that are to run together, at the place of the last of them.

    Others may join as long as nobody outside has read what they make.

    Attributes:
        members: positions in the graph.
        is_open: whether others may join.
        into: the group that has taken all members over.
    """

    def __init__(self) -> None:
        self.members: list[int] = []
        self.is_open = True
        self.into: _Group | None = None

    @property
    def final(self) -> _Group:
        """The group that the members are in now."""
        group = self
        while group.into is not None:
            group = group.into
        return group


def fuse(graph: Graph, kept: Collection[Value] = ()) -> Graph:
    """The graph with neighbouring elementwise nodes on large arrays of one shape made into one node.

    Args:
        graph: every dimension has a number.
        kept: values that somebody looks at as soon as they are there.
    """
    groups = _groups(graph, kept)
    maker = {node.outputs[0]: i for i, node in enumerate(graph.nodes) if i in groups}
    outside = {*kept, *(v for _, v in graph.outputs)}
    for i, node in enumerate(graph.nodes):
        outside.update(v for v in node.inputs if v in maker and groups[maker[v]] is not groups.get(i))
    nodes: list[Node] = []
    for i, node in enumerate(graph.nodes):
        if i not in groups:
            nodes.append(node)
        elif i == groups[i][-1]:
            members = tuple(graph.nodes[m] for m in groups[i])
            made = dict.fromkeys(member.outputs[0] for member in members)
            inputs = tuple(dict.fromkeys(v for member in members for v in member.inputs if v not in made))
            outputs = tuple(v for v in made if v in outside)
            nodes.append(Node(Fused(members, inputs, outputs), inputs, outputs, node.where))
    return replace(graph, nodes=tuple(nodes))


def _groups(graph: Graph, kept: Collection[Value]) -> dict[int, list[int]]:
    """For the position of each node that is to run with others: the positions of all of them, in order."""
    viewed = {v for node in graph.nodes if "view" in node.op.traits for v in node.outputs}
    group_of: dict[Value, _Group] = {}
    current: list[_Group] = []
    for i, node in enumerate(graph.nodes):
        result = node.outputs[0]
        read = list(dict.fromkeys(group_of[v].final for v in node.inputs if v in group_of))
        joined: list[_Group] = []
        if _is_fusible(node, viewed):
            joined = [group for group in read if group.is_open]
            if sum(len(group.members) for group in joined) >= _LONGEST:
                joined = []
            group = max(joined, key=lambda g: len(g.members)) if joined else _Group()
            for other in joined:
                if other is not group:
                    group.members += other.members
                    other.into = group
            group.members.append(i)
            group.is_open = result not in kept
            group_of[result] = group
            current.append(group)
        elif not _may_stand_between(node):
            for group in current:
                group.is_open = False
            current.clear()
        for group in read:
            group.is_open = group.is_open and group in joined
    final = dict.fromkeys(group.final for group in group_of.values())
    together = [sorted(group.members) for group in final if len(group.members) > 1]
    return {i: members for members in together for i in members}


def _is_fusible(node: Node, viewed: Collection[Value]) -> bool:
    """Whether a node can do its work block by block."""
    result = node.outputs[0].type
    if "elementwise" not in node.op.traits or node.outputs[0] in viewed or result.size <= _MOST:
        return False
    whole = [v for v in node.inputs if v.type.ndim > 0]
    alike = all(v.type.shape == result.shape and v not in viewed for v in whole)
    return bool(whole) and alike and lowered(node, _MOST, {}) is not None


def _may_stand_between(node: Node) -> bool:
    """Whether members of a group may stand on both sides of a node: it allocates little itself."""
    return not {"elementwise", "view"}.isdisjoint(node.op.traits) or all(v.type.ndim == 0 for v in node.outputs)


def may_overwrite(node: Node, output: Value, operand: Value) -> bool:
    """Whether an elementwise node may be given the array of an operand for an output of the same type."""
    return not isinstance(node.op, Fused) or node.op.may_overwrite(output, operand)

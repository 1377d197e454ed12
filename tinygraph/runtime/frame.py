"""The memory of running calls: arenas, and what is bound to places in them once for all calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

from tinygraph.ir import Array, Graph, Value
from tinygraph.kernels.scratch import allocate
from tinygraph.runtime.layout import Layout
from tinygraph.runtime.placement import Placement
from tinygraph.runtime.step import Step, chained
from tinygraph.runtime.threads import Mutex

_NOTHING = allocate(0)

Call = tuple[Step, list[Array] | None, list[Array] | None, Array]


class Fixed:
    """What each slot holds that is the same in every call with one arena.

    Args:
        graph: every dimension has a number.
        placement: of its values.
        layout: of its arena.
        arrays: of weights and state.
        slots: of all values.
    """

    def __init__(
        self,
        graph: Graph,
        placement: Placement,
        layout: Layout,
        arrays: Mapping[Value, Array],
        slots: Mapping[Value, int],
    ) -> None:
        root, own = placement.root, [v for v in slots if not placement.is_view(v) and v not in placement.slices]
        self.count = len(slots)
        self.fixed = [not placement.moves(v) for v in slots]
        self.arrays = [(slots[v], arrays[root[v]]) for v in own if root[v] in arrays]
        self.spans = [(slots[v], layout.spans[root[v]], v.type) for v in own if placement.home[root[v]] == "arena"]
        ends = [(v, host, start, start + v.type.dims[-1]) for v, (host, start) in placement.slices.items()]
        self.slices = [(slots[v], slots[host], slice(start, end)) for v, host, start, end in ends]
        views = [n for n in graph.nodes if placement.is_view(n.outputs[0]) and not placement.moves(n.outputs[0])]
        self.views = [(slots[n.outputs[0]], slots[n.inputs[0]], n.op.kernel) for n in views]


class Arena:
    """Memory that one running call at a time has for itself.

    Attributes:
        nbytes: how many.
        memory: its bytes.
        frames: what plans have bound to it.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.memory = allocate(nbytes)
        self.frames: WeakKeyDictionary[Any, Frame] = WeakKeyDictionary()


class Arenas:
    """The arenas that no call uses at the moment. Plans for several sizes of a batch share them.

    There are as many as calls ever ran at one time, none larger than the largest plan needs.
    """

    def __init__(self) -> None:
        self.spare: list[Arena] = []
        self._most: float = inf
        self._lock = Mutex()

    def take(self, nbytes: int) -> Arena:
        """The smallest arena of at least so many bytes; if all are too small, a new one in place of one of them."""
        with self._lock:
            arena = min((arena for arena in self.spare if arena.nbytes >= nbytes), key=_nbytes, default=None)
            if arena is not None:
                self.spare.remove(arena)
                return arena
            if self.spare:
                self.spare.remove(min(self.spare, key=_nbytes))
        return Arena(nbytes)

    def give(self, arena: Arena) -> None:
        """Takes an arena back, unless it is larger than any plan needs."""
        with self._lock:
            if arena.nbytes <= self._most:
                self.spare.append(arena)

    def trim(self, nbytes: int) -> None:
        """Forgets arenas of more bytes: no plan needs them any more."""
        with self._lock:
            self._most = nbytes
            self.spare = [arena for arena in self.spare if arena.nbytes <= nbytes]


def _nbytes(arena: Arena) -> int:
    return arena.nbytes


class Frame:
    """The arguments of a plan's steps, as far as they are known before a call, in one arena.

    Args:
        fixed: what lies where.
        steps: of the plan.
        memory: the bytes of the arena.

    Attributes:
        slots: the array of each fixed value; None for the others.
        calls: each step with its inputs and its outputs, or None where some are not fixed, and
            its workspace.
        chained: the same in fewer steps, for runs in which nobody asks about each.
    """

    def __init__(self, fixed: Fixed, steps: Sequence[Step], memory: Array) -> None:
        self.slots: list[Any] = [None] * fixed.count
        for slot, array in fixed.arrays:
            self.slots[slot] = array
        for slot, span, type in fixed.spans:
            self.slots[slot] = memory[span].view(type.dtype).reshape(type.dims)
        for slot, host, part in fixed.slices:
            self.slots[slot] = self.slots[host][..., part]
        for slot, base, view in fixed.views:
            self.slots[slot] = view(self.slots[base])

        def bound(wanted: Sequence[int]) -> list[Array] | None:
            return [self.slots[i] for i in wanted] if all(fixed.fixed[i] for i in wanted) else None

        arguments = [(bound(s.inputs), bound(s.outputs), memory[s.scratch]) for s in steps]
        self.calls: list[Call] = [(s.bound(*given), *given) for s, given in zip(steps, arguments, strict=True)]
        self.chained = _chained(self.calls)


def _chained(calls: Sequence[Call]) -> list[Call]:
    """The same with programs that follow each other as one."""
    found: list[Call] = []
    for is_program, group in groupby(calls, lambda call: call[0].program is not None):
        if is_program:
            steps = [step for step, *_ in group]
            found.append((chained(steps), [], [], _NOTHING))
        else:
            found += group
    return found

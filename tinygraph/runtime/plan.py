"""A plan: what a session does at each call, worked out once from a static graph.

Every value has a slot and every node is a step: a kernel, the slots it reads and writes, and
those that nobody reads afterwards. Arrays that come and go within a call lie in one arena, at
places that are known beforehand: a call looks nothing up, infers no shape, and allocates what it
returns and what plain kernels make.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygraph.errors import DivergenceError
from tinygraph.ir import Array, Graph, Node, Value
from tinygraph.ops.base import Precision, Prepared
from tinygraph.runtime.channels_last import channels_last
from tinygraph.runtime.failure import explained
from tinygraph.runtime.frame import Arenas, Call, Fixed, Frame
from tinygraph.runtime.fuse import fuse
from tinygraph.runtime.layout import Layout, lay_out
from tinygraph.runtime.lifetimes import owners
from tinygraph.runtime.placement import Placement, place
from tinygraph.runtime.recording import Recording
from tinygraph.runtime.slices import slices
from tinygraph.runtime.state import finite, guarded, next_values, updates
from tinygraph.runtime.step import steps

_NO_STATE: Mapping[Value, Array] = MappingProxyType({})


@dataclass(frozen=True)
class Memory:
    """Bytes that a call needs.

    Attributes:
        activations: most that computed arrays take at any one time, outputs included. The
            arrays of the caller are not counted.
        weights: parameters, buffers and constants that the graph reads, each once, and its state.
        workspace: what a call takes beyond these: scratch memory of prepared kernels, and gaps.
        packed: weights once more, as kernels want to read them.
    """

    activations: int
    weights: int
    workspace: int
    packed: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.activations + self.weights + self.workspace + self.packed


class Plan:
    """The steps of a static graph, and the memory that they take.

    Args:
        graph: every dimension has a number.
        weights: the array of each param, frozen, buffer and const that the graph reads, state aside.
        workers: threads that a kernel may use.
        state: the writable array of each param and buffer that lives on from call to call. An
            output that bears the name of one is its next value: it is written there, and not returned.
        guard: names of outputs, or values, that must be finite before any state is written.
        arenas: those of a session; by default the plan has its own.
        precision: "fast" takes kernels whose rounding errors are larger, where ops have them.

    Attributes:
        steps: in the order of the nodes. Those that `fuse` puts together are one step; a view of an
            array that has a fixed place needs none, nor does a joint whose inputs are computed in their places.
        memory: what a call needs.
        arena: bytes of the arena that it has.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[Value, Array],
        workers: int,
        state: Mapping[Value, Array] = _NO_STATE,
        guard: Collection[str | Value] = (),
        arenas: Arenas | None = None,
        precision: Precision = "exact",
    ) -> None:
        checked = guarded(graph, guard)
        graph = fuse(graph if checked else channels_last(graph, weights, precision), checked)
        arrays = {**weights, **state}
        with np.errstate(all="ignore"):  # as at a run: what is prepared of weights may be infinite
            lowered = {node: _lowered(node, weights, workers) for node in graph.nodes}
        prepared = {node: kernel for node, kernel in lowered.items() if kernel is not None}
        owner = owners(graph, arrays)
        renewed = updates(graph, state, owner, checked, prepared)
        named = {v.name for v in next_values(graph, state)}
        returned = [v for name, v in graph.outputs if name not in named]
        placement = place(graph, owner, renewed.in_place, prepared, returned)
        layout = lay_out(graph, placement, _workspace(prepared, placement), returned)
        joined = {} if checked or state else slices(graph, owner, prepared, returned)
        if joined:
            sliced = place(graph, owner, renewed.in_place, prepared, returned, joined)
            fewer = lay_out(graph, sliced, _workspace(prepared, sliced), returned)
            if not _takes_more(fewer, layout):
                placement, layout = sliced, fewer
        held = sum({id(a): a.nbytes for a in arrays.values()}.values())
        packed = sum(kernel.held for kernel in prepared.values())
        self.memory = Memory(layout.activations, held, layout.total - layout.activations, packed)

        slots = {v: i for i, v in enumerate(graph.values())}
        self.steps = steps(graph, placement, layout, prepared, checked, slots)
        self.arena = layout.arena
        self._fixed = Fixed(graph, placement, layout, arrays, slots)
        self._names = list(slots)
        self._given = [slots[v] for v in checked if v.kind != "node"]
        self._outputs = [(slots[v], copied) for v, copied in zip(returned, placement.copied, strict=True)]
        self._copies = [(state[old], slots[new], placement.root[new] in state) for old, new in renewed.copied]
        self._arenas = arenas or Arenas()

    def run(self, inputs: Sequence[Array], recording: Recording | None = None) -> list[Array]:
        """The arrays of the outputs, in order; they share memory with nothing else.

        Without state, several threads may call at once: each has an arena of its own.

        Args:
            inputs: an array for each input, in order.
            recording: where to write down how long each step takes, if anybody wants to know.

        Raises:
            DivergenceError: a guarded value is not finite; no state was written.
            UsageError: a node cannot compute with its numbers, such as an index that is out of range.
        """
        arena = self._arenas.take(self.arena)
        try:
            frame = arena.frames.get(self)
            if frame is None:
                frame = arena.frames[self] = Frame(self._fixed, self.steps, arena.memory)
            calls = frame.chained if recording is None else recording.steps(frame.calls)
            return self._run(frame.slots.copy(), calls, inputs)
        finally:
            self._arenas.give(arena)

    def _run(self, slots: list[Any], calls: Iterable[Call], inputs: Sequence[Array]) -> list[Array]:
        slots[: len(inputs)] = inputs
        self._check(slots, self._given)
        step = None
        try:
            for step, arguments, places, workspace in calls:
                step.perform(slots, arguments, places, workspace)
                self._check(slots, step.checked)
                for i in step.release:
                    slots[i] = None
        except DivergenceError:
            raise
        except Exception as error:
            raise error if step is None else explained(step.node, error)  # noqa: B904  # which has its cause
        outputs = [slots[i].copy() if copied else _whole(slots[i]) for i, copied in self._outputs]
        # What lies in the memory of another state array is saved before that one changes.
        copies = [(array, slots[i].copy() if saved else slots[i]) for array, i, saved in self._copies]
        for array, new in copies:
            np.copyto(array, new)
        return outputs

    def _check(self, slots: Sequence[Any], checked: Sequence[int]) -> None:
        for i in checked:
            if not finite(slots[i]):
                raise DivergenceError(f"{self._names[i]!r} is not finite")


def _lowered(node: Node, weights: Mapping[Value, Array], workers: int) -> Prepared | None:
    """The prepared kernel of a node; None if it has none."""
    return node.op.lower(node.input_types, [weights.get(v) for v in node.inputs], workers)


def _workspace(prepared: Mapping[Node, Prepared], placement: Placement) -> dict[Node, int]:
    """Bytes of scratch memory of each node."""
    found = {}
    for node, kernel in prepared.items():
        wider = kernel.slice_workspace if node.outputs[0] in placement.slices else None
        found[node] = kernel.workspace if wider is None else wider
    return found


def _takes_more(layout: Layout, other: Layout) -> bool:
    """Whether a call takes more memory: room for what is joined is kept from the first part on."""
    return layout.total > other.total


def _whole(array: Array) -> Array:
    """The array; a copy if it is read-only, or a part of a larger one, which it would keep alive."""
    whole = array.base is None or (isinstance(array.base, np.ndarray) and array.base.nbytes == array.nbytes)
    return array if whole and array.flags.writeable else array.copy()

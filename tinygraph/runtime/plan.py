"""A plan: what a session does at each call, worked out once from a static graph.

Every value has a slot and every node is a step: a kernel, the slots it reads and writes, and
those that nobody reads afterwards. A call runs the steps in order; it looks nothing up and
infers no shape. How much memory that takes is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygraph.errors import DivergenceError
from tinygraph.ir import Array, Graph, Node, TensorType, Value
from tinygraph.kernels.scratch import allocate
from tinygraph.ops.base import Prepared
from tinygraph.runtime.lifetimes import lifetimes, owners, planned
from tinygraph.runtime.state import finite, guarded, next_values, updates

Kernel = Callable[[Sequence[Array], Array], Sequence[Array]]

_NO_STATE: Mapping[Value, Array] = MappingProxyType({})


@dataclass(frozen=True)
class Memory:
    """Bytes that a call needs.

    Attributes:
        activations: most that computed arrays take at any one time, outputs included. The
            arrays of the caller are not counted.
        weights: parameters, buffers and constants that the graph reads, each once, and its state.
        workspace: scratch memory of the most demanding prepared kernel.
    """

    activations: int
    weights: int
    workspace: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.activations + self.weights + self.workspace


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel call.

    Attributes:
        node: what it computes.
        algorithm: of the prepared kernel; "plain" for the op's own.
        run: (inputs, workspace) -> outputs.
        inputs: slots it reads.
        outputs: slots it writes.
        release: slots that nobody reads after it.
        checked: slots it writes whose numbers must be finite.
    """

    node: Node
    algorithm: str
    run: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    release: tuple[int, ...]
    checked: tuple[int, ...] = ()


class Plan:
    """The steps of a static graph, and the memory that they take.

    Args:
        graph: every dimension has a number.
        weights: the array of each param, frozen, buffer and const that the graph reads, state aside.
        workers: threads that a kernel may use.
        state: the writable array of each param and buffer that lives on from call to call. An
            output that bears the name of one is its next value: it is written there, and not returned.
        guard: names of outputs, or values, that must be finite before any state is written.

    Attributes:
        steps: in the order of the nodes.
        memory: what a call needs.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[Value, Array],
        workers: int,
        state: Mapping[Value, Array] = _NO_STATE,
        guard: Collection[str | Value] = (),
    ) -> None:
        arrays = {**weights, **state}
        slots = {v: i for i, v in enumerate(graph.values())}
        owner = owners(graph, arrays)
        prepared = {n: n.op.lower(n.input_types, [weights.get(v) for v in n.inputs], workers) for n in graph.nodes}
        checked = guarded(graph, guard)
        renewed = updates(graph, state, owner, checked, lambda node: prepared[node] is not None)
        names = {v.name for v in next_values(graph, state)}
        self._slots = [arrays.get(v) for v in slots]
        self._names = list(slots)
        self._given = [slots[v] for v in checked if v.kind != "node"]
        returned = [v for name, v in graph.outputs if name not in names]
        held = [v in state or v in renewed.in_place for v in map(owner.__getitem__, returned)]
        self._outputs = [(slots[v], copied) for v, copied in zip(returned, held, strict=True)]
        self._copies = [(state[old], slots[new], owner[new] in state) for old, new in renewed.copied]
        self._spare: list[Array] = []
        self.steps: list[Step] = []
        for node, last in zip(graph.nodes, lifetimes(graph), strict=True):
            kernel = prepared[node]
            places = [state.get(renewed.in_place.get(v, v)) for v in node.outputs]
            run = _plain(node) if kernel is None else _writing(kernel, node.output_types, places)
            algorithm = "plain" if kernel is None else kernel.algorithm
            reads, writes, release = (tuple(slots[v] for v in vs) for vs in (node.inputs, node.outputs, last))
            must_be_finite = tuple(slots[v] for v in node.outputs if v in checked)
            self.steps.append(Step(node, algorithm, run, reads, writes, release, must_be_finite))
        workspace = max((kernel.workspace for kernel in prepared.values() if kernel is not None), default=0)
        bytes_held = {id(a): a.nbytes for a in arrays.values()}
        self.memory = Memory(planned(graph, arrays), sum(bytes_held.values()), workspace)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The arrays of the outputs, in order. Without state, several threads may call at once.

        Some may be, or be views of, inputs, weights or one another: the caller sees to that. None
        lies in a state array.

        Raises:
            DivergenceError: a guarded value is not finite; no state was written.
        """
        try:
            workspace = self._spare.pop()
        except IndexError:
            workspace = allocate(self.memory.workspace)
        slots = self._start(inputs)
        for i in self._given:
            if not finite(slots[i]):
                raise DivergenceError(f"{self._names[i]!r} is not finite")
        for step in self._walk(slots, workspace):
            for i in step.checked:
                if not finite(slots[i]):
                    raise self._divergence(i, inputs, workspace)
            for i in step.release:
                slots[i] = None
        outputs = [slots[i].copy() if copied else slots[i] for i, copied in self._outputs]
        # What comes from the memory of another state array is saved before that one changes.
        copies = [(array, slots[i].copy() if saved else slots[i]) for array, i, saved in self._copies]
        for array, new in copies:
            np.copyto(array, new)
        self._spare.append(workspace)
        return outputs

    def _start(self, inputs: Sequence[Array]) -> list[Any]:
        slots: list[Any] = self._slots.copy()
        slots[: len(inputs)] = inputs
        return slots

    def _walk(self, slots: list[Any], workspace: Array) -> Iterator[Step]:
        """Runs one step after the other, and tells of each when its outputs are there."""
        for step in self.steps:
            try:
                made = step.run([slots[i] for i in step.inputs], workspace)
            except Exception as error:
                error.add_note(f"in {step.node!r}{step.node.where.phrase}")
                raise
            for i, array in zip(step.outputs, made, strict=True):
                slots[i] = array
            yield step

    def _divergence(self, slot: int, inputs: Sequence[Array], workspace: Array) -> DivergenceError:
        """Computes the guarded value once more, to find where the first number went wrong.

        Nothing has been written to the state, so that all numbers come out as they did before.
        """
        value = self._names[slot]
        slots = self._start(inputs)
        causes = {slot}
        for step in reversed(self.steps):
            if not causes.isdisjoint(step.outputs):
                causes.update(step.inputs)
        for i in sorted(causes):
            if slots[i] is not None and slots[i].dtype.kind == "f" and not finite(slots[i]):
                return DivergenceError(f"{value!r} is not finite, because {self._names[i]!r} is not")
        for step in self._walk(slots, workspace):
            for i in causes.intersection(step.outputs):
                if slots[i].dtype.kind == "f" and not finite(slots[i]):
                    place = step.node.where.phrase
                    return DivergenceError(f"{value!r} is not finite; the first to be so is {self._names[i]!r}{place}")
            for i in step.release:
                slots[i] = None
        raise AssertionError(f"{value!r} came out finite the second time")


def _plain(node: Node) -> Kernel:
    """The op's own kernel, which allocates its outputs."""
    kernel = node.op.kernel
    if len(node.outputs) > 1:
        return lambda inputs, workspace: tuple(map(np.asarray, kernel(*inputs)))
    return lambda inputs, workspace: (np.asarray(kernel(*inputs)),)


def _writing(prepared: Prepared, types: Sequence[TensorType], places: Sequence[Array | None]) -> Kernel:
    """A prepared kernel that writes into these places; into new arrays where there is none."""
    outputs = [(t.dims, t.dtype) for t in types]
    compute = prepared.run

    def run(inputs: Sequence[Array], workspace: Array) -> Sequence[Array]:
        made = [np.empty(*new) if place is None else place for place, new in zip(places, outputs, strict=True)]
        compute(inputs, made, workspace)
        return made

    return run

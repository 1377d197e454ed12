"""A plan: what a session does at each call, worked out once from a static graph.

Every value has a slot and every node is a step: a kernel, the slots it reads and writes, and
those that nobody reads afterwards. A call runs the steps in order; it looks nothing up and
infers no shape. How much memory that takes is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tinygraph.ir import Array, Graph, Node, TensorType, Value
from tinygraph.kernels.scratch import allocate
from tinygraph.ops.base import Prepared
from tinygraph.runtime.lifetimes import lifetimes, planned

Kernel = Callable[[Sequence[Array], Array], Sequence[Array]]
T = TypeVar("T")


@dataclass(frozen=True)
class Memory:
    """Bytes that a call needs.

    Attributes:
        activations: most that computed arrays take at any one time, outputs included. The
            arrays of the caller are not counted.
        weights: parameters, buffers and constants that the graph reads, each once.
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
    """

    node: Node
    algorithm: str
    run: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    release: tuple[int, ...]


class Plan:
    """The steps of a static graph, and the memory that they take.

    Args:
        graph: every dimension has a number.
        weights: the array of each param, frozen, buffer and const that the graph reads.
        workers: threads that a kernel may use.

    Attributes:
        steps: in the order of the nodes.
        memory: what a call needs.
    """

    def __init__(self, graph: Graph, weights: Mapping[Value, Array], workers: int) -> None:
        slots = {v: i for i, v in enumerate(graph.values())}
        self._slots = [weights.get(v) for v in slots]
        self._outputs = [slots[v] for _, v in graph.outputs]
        self._spare: list[Array] = []
        self.steps: list[Step] = []
        workspace = 0
        for node, last in zip(graph.nodes, lifetimes(graph), strict=True):
            prepared = node.op.lower(node.input_types, [weights.get(v) for v in node.inputs], workers)
            if prepared is not None:
                workspace = max(workspace, prepared.workspace)
            run = _plain(node) if prepared is None else _allocating(prepared, node.output_types)
            algorithm = "plain" if prepared is None else prepared.algorithm
            reads, writes, release = (tuple(slots[v] for v in vs) for vs in (node.inputs, node.outputs, last))
            self.steps.append(Step(node, algorithm, run, reads, writes, release))
        held = {id(a): a.nbytes for a in weights.values()}
        self.memory = Memory(planned(graph, weights), sum(held.values()), workspace)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The arrays of the outputs, in order. May be called from several threads at once.

        Some may be, or be views of, inputs, weights or one another: the caller sees to that.
        """
        slots: list[Any] = self._slots.copy()
        slots[: len(inputs)] = inputs
        try:
            workspace = self._spare.pop()
        except IndexError:
            workspace = allocate(self.memory.workspace)
        step = None
        try:
            for step in self.steps:
                made = step.run([slots[i] for i in step.inputs], workspace)
                for i, array in zip(step.outputs, made, strict=True):
                    slots[i] = array
                for i in step.release:
                    slots[i] = None
        except Exception as error:
            if step is not None:
                error.add_note(f"in {step.node!r}{step.node.where.phrase}")
            raise
        self._spare.append(workspace)
        return [slots[i] for i in self._outputs]


def _plain(node: Node) -> Kernel:
    """The op's own kernel, which allocates its outputs."""
    kernel = node.op.kernel
    if len(node.outputs) > 1:
        return lambda inputs, workspace: tuple(map(np.asarray, kernel(*inputs)))
    return lambda inputs, workspace: (np.asarray(kernel(*inputs)),)


def _allocating(prepared: Prepared, types: Sequence[TensorType]) -> Kernel:
    """A prepared kernel, with outputs allocated for it."""
    outputs = [(t.dims, t.dtype) for t in types]
    compute = prepared.run

    def run(inputs: Sequence[Array], workspace: Array) -> Sequence[Array]:
        made = [np.empty(shape, dtype) for shape, dtype in outputs]
        compute(inputs, made, workspace)
        return made

    return run

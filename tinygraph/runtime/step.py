"""A step of a plan: one kernel call on arrays that are known by their slots."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygraph.ir import Array, Graph, Node, Value
from tinygraph.kernels.channels_last import program as programs
from tinygraph.ops.base import Prepared
from tinygraph.runtime.layout import Layout
from tinygraph.runtime.placement import Placement
from tinygraph.runtime.slices import needs_no_step

Kernel = Callable[[Sequence[Array], Sequence[Array], Array], Sequence[Array] | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel call.

    Attributes:
        node: what it computes.
        algorithm: of the prepared kernel; "plain" for the op's own.
        run: (inputs, outputs, workspace) -> None; or the outputs, if it allocates them itself.
        inputs: slots it reads.
        outputs: slots it writes.
        scratch: where its workspace lies in the arena.
        fresh: slots it writes that get an array of their own in each call, with its shape and dtype.
        joined: slots it writes that get the array of another slot.
        release: slots of arrays outside of the arena that nobody needs after it.
        checked: slots it writes whose numbers must be finite.
        bind: makes a function that does the same with arrays that stay where they are; None if there is no use in it.
        program: what it is then, if nothing else is to be done in this step.
    """

    node: Node
    algorithm: str
    run: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scratch: slice
    fresh: tuple[tuple[int, tuple[int, ...], np.dtype[Any]], ...]
    joined: tuple[tuple[int, int], ...]
    release: tuple[int, ...]
    checked: tuple[int, ...]
    bind: Callable[[Sequence[Array], Sequence[Array], Array], Callable[[], None]] | None
    program: programs.Program | None = None

    def bound(self, inputs: Sequence[Array] | None, outputs: Sequence[Array] | None, workspace: Array) -> Step:
        """The same step, made ready for these arrays if all of them are known."""
        if self.bind is None or inputs is None or outputs is None:
            return self
        perform = self.bind(inputs, outputs, workspace)
        bound = replace(self, run=lambda *_: perform())
        if not isinstance(perform, programs.Program) or self.fresh or self.joined or self.release or self.checked:
            return bound
        return replace(bound, program=perform)

    def perform(
        self, slots: list[Any], inputs: Sequence[Array] | None, outputs: Sequence[Array] | None, workspace: Array
    ) -> None:
        """Runs the kernel.

        Args:
            slots: the arrays of the call; those of the outputs are set where they are new.
            inputs: the arrays to read, if they are the same in every call; else they are in `slots`.
            outputs: likewise the arrays to write.
            workspace: scratch memory.
        """
        for slot, shape, dtype in self.fresh:
            slots[slot] = np.empty(shape, dtype)
        for slot, other in self.joined:
            slots[slot] = slots[other]
        if inputs is None:
            inputs = [slots[i] for i in self.inputs]
        if outputs is None:
            outputs = [slots[i] for i in self.outputs]
        made = self.run(inputs, outputs, workspace)
        if made is not None:
            for slot, array in zip(self.outputs, made, strict=True):
                slots[slot] = array


def chained(steps: Sequence[Step]) -> Step:
    """One step that does what several do, each of which is a program; it goes by the first one's name."""
    program = programs.chained([step.program for step in steps if step.program is not None])
    return replace(steps[0], run=lambda *_: program(), program=program)


def steps(
    graph: Graph,
    placement: Placement,
    layout: Layout,
    prepared: Mapping[Node, Prepared],
    checked: Collection[Value],
    slots: Mapping[Value, int],
) -> list[Step]:
    """The steps of a static graph; a view of an array that has a fixed place needs none, and a joint of slices.

    Args:
        graph: every dimension has a number.
        placement: of its values.
        layout: of its arena.
        prepared: kernels of the nodes that have one.
        checked: values that must be finite.
        slots: of all values.
    """
    root, home = placement.root, placement.home
    sharing: dict[Value, list[int]] = {}
    found = []
    for node, dying in zip(graph.nodes, layout.dying, strict=True):
        for v in filter(placement.moves, node.outputs):
            sharing.setdefault(root[v], []).append(slots[v])
        is_view = placement.is_view(node.outputs[0])
        if (is_view and not placement.moves(node.outputs[0])) or needs_no_step(node, placement.slices):
            continue
        kernel = prepared.get(node)
        fresh = [v for v in node.outputs if home[root[v]] == "fresh" and not is_view]
        step = Step(
            node,
            algorithm=kernel.algorithm if kernel else "plain",
            run=kernel.run if kernel else _plain(node, is_view),
            inputs=tuple(slots[v] for v in node.inputs),
            outputs=tuple(slots[v] for v in node.outputs),
            scratch=layout.spans[node],
            fresh=tuple((slots[v], v.type.dims, v.type.dtype) for v in fresh if root[v] is v),
            joined=tuple((slots[v], slots[root[v]]) for v in fresh if root[v] is not v),
            release=tuple(slot for v in dying for slot in sharing.pop(v, ())),
            checked=tuple(slots[v] for v in node.outputs if v in checked),
            bind=kernel.bind if kernel else None,
        )
        found.append(step)
    return found


def _plain(node: Node, is_view: bool) -> Kernel:
    """The op's own kernel, which allocates its outputs.

    Args:
        node: what it computes.
        is_view: the output is known to lie in the memory of the input.
    """
    kernel = node.op.kernel

    def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> Sequence[Array]:
        made = kernel(*inputs)
        arrays = [np.asarray(a) for a in (made if isinstance(made, tuple) else (made,))]
        return arrays if is_view else [array.copy() if _shares(array, inputs) else array for array in arrays]

    return run


def _shares(array: Array, others: Sequence[Array]) -> bool:
    """Whether the array is one of the others, or a view into the same memory.

    The plan takes results for arrays of their own unless their op says otherwise, and writes over the
    inputs once they are not needed any more.
    """
    return any(np.may_share_memory(array, other) for other in others)

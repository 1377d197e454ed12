"""A part of an axis whose size comes out only when the graph runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    from_onnx,
    no_flops,
    no_macs,
    normal_axis,
    not_differentiable,
    register,
    type_of,
)
from tinygraph.ops.elementwise import cast
from tinygraph.ops.index import slice as cut
from tinygraph.ops.nonzero import check_count

__all__ = ["part"]


@register
class Part(Op):
    """y = x[start:stop:step] along an axis, as Python has it.

    Inputs: x, and start and stop, int64 of one element.

    Attributes:
        axis: counted from the front.
        count: how many entries those are: a symbol, unless it is known.
        step: 1 or more.
    """

    name = "part"
    onnx = ("Slice", "Reshape")
    arity = (3, 3)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("how much it takes is known only when it runs; cut with numbers")
    axis: int
    count: Dim
    step: int = 1

    def infer(self, x: TensorType, start: TensorType, stop: TensorType) -> TensorType:
        if any(t.dtype != np.int64 or t.shape not in ((), (1,)) for t in (start, stop)):
            raise ShapeError(f"wants a start and a stop, int64 of one element, got {start} and {stop}")
        if not 0 <= self.axis < x.ndim or self.step < 1:
            raise ShapeError(f"there is no axis {self.axis} in {x}, or the step {self.step} is below 1")
        return x.with_shape((*x.shape[: self.axis], self.count, *x.shape[self.axis + 1 :]))

    def at_most(self, types: Types) -> int:
        return types[0].dims[self.axis]

    def kernel(self, x: Array, start: Array, stop: Array) -> Array:
        taken = x[(*[slice(None)] * self.axis, slice(start.item(), stop.item(), self.step))].copy()
        check_count(self, taken.shape[self.axis], self.count)
        return taken

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        one = export.const(np.array([1], np.int64))
        ends = [
            name if type.ndim else export.node("Reshape", [name, one])
            for name, type in zip(inputs[1:], types[1:], strict=True)
        ]
        axis, step = (export.const(np.array([n], np.int64)) for n in (self.axis, self.step))
        return export.node("Slice", [inputs[0], *ends, axis, step])


def part(x: Tensor, start: Tensor, stop: Tensor, count: Dim, axis: int = 0, step: int = 1) -> Tensor:
    """x[start:stop:step] along an axis.

    Args:
        x: any shape and dtype.
        start: int64, one element; may count from the end.
        stop: int64, one element; may count from the end, and lie behind it.
        count: how many entries those are: a Symbol that the run gives its number, or the number itself.
        axis: may count from the end.
        step: 1 or more.

    Raises:
        ShapeError: there is no such axis, or start and stop are no such numbers.
        UsageError: when it runs, there are not `count` of them.

    Source: ONNX Slice.
    """
    return apply(Part(normal_axis(int(axis), type_of(x).ndim), count, int(step)), x, start, stop)


@from_onnx("Slice")
def _slice(
    node: Any, x: Tensor, starts: Tensor = None, ends: Tensor = None, axes: Tensor = None, steps: Tensor = None
) -> Tensor:
    shape = type_of(x).shape
    if node.opset < 10:
        starts, ends, axes, steps = map(node.get, ("starts", "ends", "axes", "steps"))
        tensors: tuple[Any, Any] = node.tensor(np.array(starts, np.int64)), node.tensor(np.array(ends, np.int64))
    else:
        tensors = starts, ends
        starts, ends = node.known_sizes(1, "starts"), node.known_sizes(2, "ends")
        axes = None if axes is None else node.demand(3, "axes")
        steps = None if steps is None else node.demand(4, "steps")
    axes = range(len(starts)) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ShapeError("starts, ends, axes and steps are of different length")
    whole: list[tuple[Any, Any, Any]] = [(None, None, None)] * len(shape)
    opened = []
    for entry, (axis, start, stop, step) in enumerate(zip(axes, starts, ends, steps, strict=True)):
        axis = normal_axis(int(axis), len(shape))
        to_the_end = isinstance(stop, int) and step > 0 and stop >= 2**31 - 1
        dim = shape[axis]
        if step > 0 and _is_open(dim, start, dim if to_the_end else stop, step):
            told = None if None in (start, stop) else ("part", str(dim), str(start), str(stop), int(step))
            opened.append((entry, axis, int(step), told))
            continue
        if start is None or stop is None:
            node.sizes(1, "starts"), node.sizes(2, "ends")  # which refuse: backwards it does not go
        if step < 0 and isinstance(start, int) and isinstance(dim, int):
            start = max(start, -dim)  # what begins before the first entry begins there; in Python it is empty
        whole[axis] = (start, None if to_the_end else stop, int(step))
    y = cut(x, *zip(*whole, strict=True)) if whole else x
    for entry, axis, step, origin in opened:
        start, stop = (cast(cut(tensor, [entry], [entry + 1]), np.int64) for tensor in tensors)
        y = part(y, start, stop, node.symbol("part", origin), axis, step)
    return y


def _is_open(dim: Dim, start: Dim | None, stop: Dim | None, step: int) -> bool:
    """Whether the size of a part has no number and no name yet."""
    if (start, stop, step) == (0, dim, 1):
        return False
    return any(d is None or isinstance(d, Symbol) for d in (dim, start, stop))

"""Parts of tensors and tensors of parts: slice, getitem, concat."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from types import EllipsisType
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, Shape, Symbol, TensorType
from tinygraph.kernels.scratch import Index
from tinygraph.kernels.workers import shares, together
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    alike,
    apply,
    family,
    from_onnx,
    gradient_not_in_onnx,
    no_flops,
    no_macs,
    normal_axis,
    register,
    same_dtype,
    type_of,
)
from tinygraph.ops.shape import Movement, reshape

__all__ = ["concat", "getitem", "slice"]

_LAST = 2**63 - 1
_WORTH_SHARING = 1 << 19  # numbers; fewer are copied before another thread has begun


@family
class _Strided(Movement):
    """Takes or fills every step-th place from start to before stop, along each axis, as range() has it."""

    starts: tuple[int, ...]
    stops: tuple[Dim, ...]
    steps: tuple[int, ...]

    def sliced(self, shape: Shape) -> Shape:
        """The shape of the part; ShapeError if it does not lie within the whole."""
        if not len(self.starts) == len(self.stops) == len(self.steps) == len(shape):
            raise ShapeError(f"wants a start, stop and step for each of {len(shape)} dimensions")
        return tuple(map(_count, shape, self.starts, self.stops, self.steps))

    @property
    def place(self) -> tuple[builtins.slice, ...]:
        """The part as NumPy's index."""
        return tuple(
            builtins.slice(start, stop if stop >= 0 else None, step)  # type: ignore[operator]  # bound by now
            for start, stop, step in zip(self.starts, self.stops, self.steps, strict=True)
        )


def _count(dim: Dim, start: int, stop: Dim, step: int) -> Dim:
    if stop == dim and (start, step) == (0, 1):
        return dim
    if isinstance(dim, Symbol) or isinstance(stop, Symbol):
        raise ShapeError(f"cannot cut the open dimension {dim}: bind it first")
    if step and start >= 0 and (stop >= 0 or step < 0):
        places = range(start, stop, step)
        if not places or (0 <= places[0] < dim and 0 <= places[-1] < dim):
            return len(places)
    raise ShapeError(f"{start}:{stop}:{step} are no places within a dimension of {dim}")


@register
class Slice(_Strided):
    """x[start:stop:step] along each axis."""

    name = "slice"
    onnx = ("Slice",)

    def infer(self, x: TensorType) -> TensorType:
        return x.with_shape(self.sliced(x.shape))

    def kernel(self, x: Array) -> Array:
        return x[self.place]

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(SliceGrad(self.starts, self.stops, self.steps, inputs[0].shape), cotangents[0])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        rows = [
            (start, stop if stop >= 0 else -_LAST, axis, step)  # type: ignore[operator]  # only a whole axis is open
            for axis, (dim, start, stop, step) in enumerate(
                zip(types[0].shape, self.starts, self.stops, self.steps, strict=True)
            )
            if (start, stop, step) != (0, dim, 1)
        ]
        columns = np.array(rows, np.int64).reshape(-1, 4).T
        return export.node("Slice", [*inputs, *(export.const(column) for column in columns)])


@register
class SliceGrad(_Strided):
    """Zeros, with g in the places that slice took: the gradient of slice."""

    name = "slice_grad"
    traits = frozenset({"linear"})
    to_onnx = gradient_not_in_onnx
    shape: tuple[Dim, ...]

    def infer(self, g: TensorType) -> TensorType:
        part = self.sliced(self.shape)
        if g.shape != part:
            raise ShapeError(f"the part is {TensorType(part, g.dtype)}")
        return g.with_shape(self.shape)

    def kernel(self, g: Array) -> Array:
        x = np.zeros(TensorType(self.shape).dims, g.dtype)
        x[self.place] = g
        return x

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            outputs[0].fill(0)
            outputs[0][self.place] = inputs[0]

        return Prepared(run, 0, "fill") if types[0].is_static and TensorType(self.shape).is_static else None

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(Slice(self.starts, self.stops, self.steps), cotangents[0])]


def slice(
    x: Tensor,
    starts: Sequence[int | None],
    stops: Sequence[Dim | None],
    steps: Sequence[int | None] | None = None,
) -> Tensor:
    """x[start:stop:step] along each axis, by Python's rules; x itself if nothing is cut off.

    Args:
        x: any shape and dtype.
        starts: one entry for each axis, None for the default of Python's slices. An open
            dimension must be left whole.
        stops: likewise.
        steps: likewise; 1 by default.

    Raises:
        ShapeError: the entries do not fit x.

    Source: ONNX Slice.
    """
    shape = type_of(x).shape
    steps = (None,) * len(shape) if steps is None else steps
    if not len(starts) == len(stops) == len(steps) == len(shape):
        raise ShapeError(f"slice: wants a start, stop and step for each axis of {type_of(x)}")
    places = [_resolved(*entry) for entry in zip(shape, starts, stops, steps, strict=True)]
    if all(place == (0, dim, 1) for place, dim in zip(places, shape, strict=True)):
        return x
    return apply(Slice(*zip(*places, strict=True)), x)


def _resolved(dim: Dim, start: int | None, stop: Dim | None, step: int | None) -> tuple[int, Dim, int]:
    """Start, stop and step as range() takes them."""
    if isinstance(dim, Symbol):
        return start or 0, dim if stop is None else stop, 1 if step is None else step
    if step == 0:
        raise ShapeError("slice: a step of 0 goes nowhere")
    for end in (start, stop):
        if isinstance(end, Symbol):
            raise ShapeError(f"slice: cannot cut a dimension of {dim} at the open dimension {end}: bind it first")
    places = range(*builtins.slice(start, stop, step).indices(dim))
    return (places.start, places.stop, places.step) if places else (0, 0, 1)


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index], for whole numbers, slices, None and `...`.

    Raises:
        ShapeError: another kind of index, or one that does not fit x.
    """
    shape = type_of(x).shape
    entries = list(index) if isinstance(index, tuple) else [index]
    for entry in entries:
        whole_number = isinstance(entry, (int, np.integer)) and not isinstance(entry, bool)
        if not (whole_number or entry is None or isinstance(entry, (builtins.slice, EllipsisType))):
            raise ShapeError(f"cannot index with a {type(entry).__name__}: give whole numbers, slices, None or ...")
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    named = sum(entry is not None and entry is not Ellipsis for entry in entries)
    if len(dots) > 1 or named > len(shape):
        raise ShapeError(f"cannot index {type_of(x)} with {index!r}: too many entries")
    at = dots[0] if dots else len(entries)
    entries[at : at + 1] = [builtins.slice(None)] * (len(shape) - named)
    cuts = [_cut(e, d) for e, d in zip([e for e in entries if e is not None], shape, strict=True)]
    part = slice(x, [c.start for c in cuts], [c.stop for c in cuts], [c.step for c in cuts])
    dims = iter(type_of(part).shape)
    kept = [(entry, 1 if entry is None else next(dims)) for entry in entries]
    result = tuple(dim for entry, dim in kept if entry is None or isinstance(entry, builtins.slice))
    return part if result == type_of(part).shape else reshape(part, result)


def _cut(entry: Any, dim: Dim) -> builtins.slice:
    if isinstance(entry, builtins.slice):
        return entry
    if isinstance(dim, Symbol):
        raise ShapeError(f"cannot take number {entry} of the open dimension {dim}: bind it first")
    if not -dim <= entry < dim:
        raise ShapeError(f"there is no number {entry} in a dimension of {dim}")
    return builtins.slice(entry % dim, entry % dim + 1)


@register
class Concat(Op):
    """The inputs one behind the other along an axis.

    Attributes:
        axis: where they are joined.
        total: a name for the size of the axis, which is found as it runs, where some of the inputs' are open.
    """

    name = "concat"
    onnx = ("Concat",)
    arity = (1, None)
    traits = frozenset({"linear"})
    macs = no_macs
    flops = no_flops
    axis: int
    total: Dim | None = None

    def infer(self, *xs: TensorType) -> TensorType:
        first = xs[0].shape
        axis = normal_axis(self.axis, len(first))
        rest = [x.shape[:axis] + x.shape[axis + 1 :] for x in xs if x.ndim == len(first)]
        if len(rest) < len(xs) or len(set(rest)) > 1:
            raise ShapeError(f"shapes differ in more than axis {axis}")
        dims = [x.shape[axis] for x in xs]
        numbers = [d for d in dims if isinstance(d, int)]
        length: Dim = dims[0] if len(dims) == 1 else sum(numbers)
        if len(numbers) < len(dims) > 1:
            if not isinstance(self.total, Symbol):
                raise ShapeError(f"axis {axis} is open, so the sum is no dimension: bind it first")
            length = self.total
        return TensorType((*first[:axis], length, *first[axis + 1 :]), same_dtype(*xs))

    def at_most(self, types: Types) -> int:
        return sum(t.dims[self.axis] for t in types)

    def kernel(self, *xs: Array) -> Array:
        return np.concatenate(xs, self.axis)

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        if not all(t.is_static for t in types):
            return None
        y = self.infer(*types)
        axis = normal_axis(self.axis, y.ndim)
        cuts = [i for i, size in enumerate(y.dims[:axis]) if size >= workers] if y.size >= _WORTH_SHARING else []
        parts: list[Index] = [()]
        if cuts:
            whole = (builtins.slice(None),) * cuts[0]
            parts = [(*whole, part) for part in shares(y.dims[cuts[0]], workers)]

        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            together([partial(np.concatenate, [x[part] for x in inputs], axis, outputs[0][part]) for part in parts])

        return Prepared(run, 0, "concatenate", reads_slices=True, slice_workspace=0)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        axis, c = normal_axis(self.axis, outputs[0].ndim), cotangents[0]
        if len(inputs) == 1:
            return [c]
        stops = list(accumulate(x.shape[axis] for x in inputs))
        before, behind = (builtins.slice(None),) * axis, Ellipsis
        return [
            getitem(c, (*before, builtins.slice(start, stop), behind))
            for start, stop in zip([0, *stops], stops, strict=False)
        ]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Concat", inputs, axis=self.axis)


def concat(xs: Sequence[Tensor], axis: int = 1) -> Tensor:
    """The tensors one behind the other along an axis; elsewhere their shapes agree.

    Raises:
        ShapeError: there are none, or they do not fit together.

    Source: ONNX Concat.
    """
    if not xs:
        raise ShapeError("concat: there is nothing to join")
    return apply(Concat(normal_axis(int(axis), type_of(xs[0]).ndim)), *alike(*xs))


@from_onnx("Concat")
def _concat(node: Any, *xs: Tensor) -> Tensor:
    axis = normal_axis(node.get("axis"), type_of(xs[0]).ndim)
    joined = [x for x in xs if type_of(x).ndim > axis and isinstance(type_of(x).shape[axis], Symbol)]
    if not joined or len(xs) < 2:
        return concat(xs, axis)
    parts = tuple(str(type_of(x).shape[axis]) for x in xs)
    return apply(Concat(axis, node.symbol("concat", ("sum", *sorted(parts)))), *xs)

"""Numbers taken from the places that indices name: gather, gather_elements, gather_nd.

An op that takes and its gradient, which adds into the same places, share the rule that says which
places indices name. ops/scatter.py writes by these rules too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, Shape, Symbol, TensorType
from tinygraph.kernels.places import checked_places, places_of
from tinygraph.kernels.scratch import carve, room
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    gradient_not_in_onnx,
    no_flops,
    no_macs,
    normal_axis,
    per_input,
    register,
    type_of,
)
from tinygraph.ops.index import getitem

__all__ = ["gather", "gather_elements", "gather_nd"]

Index = tuple[Any, ...]


class Indexed(Op):
    """Which places of an array indices name. A negative index counts from the end."""

    macs = no_macs

    def taken(self, shape: Shape, indices: TensorType) -> Shape:
        """The shape of what is taken from such an array; ShapeError if the indices do not fit it."""
        raise NotImplementedError

    def places(self, shape: tuple[int, ...], indices: Array) -> Index:
        """NumPy's index of these places; ShapeError if there is no such place."""
        raise NotImplementedError


@family
class AtAxis(Indexed):
    """Index i stands for all that has the number i on one axis."""

    axis: int

    def taken(self, shape: Shape, indices: TensorType) -> Shape:
        check_integers(indices)
        axis = normal_axis(self.axis, len(shape))
        return (*shape[:axis], *indices.shape, *shape[axis + 1 :])

    def places(self, shape: tuple[int, ...], indices: Array) -> Index:
        axis = normal_axis(self.axis, len(shape))
        return (slice(None),) * axis + (places_of(indices, shape[axis]),)


@family
class AlongAxis(Indexed):
    """Each index stands for one number: its own place, but with the index on one axis."""

    axis: int

    def taken(self, shape: Shape, indices: TensorType) -> Shape:
        check_integers(indices)
        axis = normal_axis(self.axis, len(shape))
        if indices.ndim != len(shape):
            raise ShapeError(f"indices of {indices.ndim} dimensions meet an array of {len(shape)}")
        for i, (d, n) in enumerate(zip(shape, indices.shape, strict=True)):
            fits = n == d or (isinstance(d, int) and isinstance(n, int) and n < d)
            if i != axis and not fits:
                raise ShapeError(f"{n} indices stand beside {d} numbers on axis {i}")
        return indices.shape

    def places(self, shape: tuple[int, ...], indices: Array) -> Index:
        axis = normal_axis(self.axis, len(shape))
        index: list[Any] = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
        index[axis] = places_of(indices, shape[axis])
        return tuple(index)


class AtTuples(Indexed):
    """The last axis of the indices holds tuples: they stand for all that has these numbers on the first axes.

    The first `batch_dims` axes of indices and array go together; tuples count behind them.
    """

    batch_dims = 0

    def taken(self, shape: Shape, indices: TensorType) -> Shape:
        check_integers(indices)
        batch = self.batch_dims
        if not 0 <= batch < min(len(shape), indices.ndim):
            raise ShapeError(f"there are no {batch} batch axes before the indices in {indices} and {len(shape)} axes")
        if indices.shape[:batch] != shape[:batch]:
            raise ShapeError(f"the first {batch} axes of array and indices differ")
        width = indices.shape[-1]
        if isinstance(width, Symbol) or batch + width > len(shape):
            raise ShapeError(f"tuples of {width} indices do not fit {len(shape) - batch} axes")
        return (*indices.shape[:-1], *shape[batch + width :])

    def places(self, shape: tuple[int, ...], indices: Array) -> Index:
        batch = self.batch_dims
        own = np.ogrid[tuple(slice(n) for n in indices.shape[:-1])][:batch] if indices.ndim > 1 else []
        named = [places_of(indices[..., i], shape[batch + i]) for i in range(indices.shape[-1])]
        return (*own, *named)


def check_integers(indices: TensorType) -> None:
    """Raises ShapeError unless the indices are of a dtype that ONNX has for them."""
    if indices.dtype not in (np.int32, np.int64):
        raise ShapeError(f"indices must be int32 or int64, got {indices.dtype.name}; cast them")


class _Taking(Indexed):
    """y = x[places]."""

    arity = (2, 2)
    traits = frozenset({"linear"})
    flops = no_flops

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        return x.with_shape(self.taken(x.shape, indices))

    def kernel(self, x: Array, indices: Array) -> Array:
        return x[self.places(x.shape, indices)]


@family
class _Adding(Indexed):
    """Zeros, with each number of g added at its place: the gradient of taking."""

    arity = (2, 2)
    traits = frozenset({"linear"})
    flops = per_input(1)
    to_onnx = gradient_not_in_onnx
    shape: tuple[Dim, ...]

    def infer(self, g: TensorType, indices: TensorType) -> TensorType:
        floating(g)
        taken = self.taken(self.shape, indices)
        if g.shape != taken:
            raise ShapeError(f"such indices take {TensorType(taken, g.dtype)}")
        return g.with_shape(self.shape)

    def kernel(self, g: Array, indices: Array) -> Array:
        x = np.zeros(TensorType(self.shape).dims, g.dtype)
        np.add.at(x, self.places(x.shape, indices), g)
        return x


# ---- gather ----


@register
class Gather(_Taking, AtAxis):
    """y[i, k, j] = x[i, indices[k], j], where k and j stand for any number of axes, and i for those before `axis`."""

    name = "gather"
    onnx = ("Gather",)

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        x, indices = types
        if not (x.is_static and indices.is_static):
            return None
        size, wide = x.dims[self.axis], np.dtype(np.int64)

        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            (places,) = carve(workspace, wide, indices.dims)
            checked_places(inputs[1], size, places)
            np.take(inputs[0], places, self.axis, out=outputs[0], mode="clip")  # "raise" would take into a buffer

        return Prepared(run, room(wide, indices.dims), "take")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(GatherGrad(self.axis, inputs[0].shape), cotangents[0], inputs[1]), None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Gather", inputs, axis=self.axis)


@register
class GatherGrad(_Adding, AtAxis):
    """Zeros, with each number of g added at the place that gather took it from: the gradient of gather."""

    name = "gather_grad"

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(Gather(self.axis), cotangents[0], inputs[1]), None]


def gather(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    """x[indices] along an axis: the axes of the indices take its place, so a single index drops it.

    Args:
        x: any shape and dtype.
        indices: int32 or int64, any shape; from -size to size - 1 of the axis, else a ShapeError
            is raised when it is computed.
        axis: of x.

    Source: ONNX Gather.
    """
    return apply(Gather(normal_axis(int(axis), type_of(x).ndim)), x, indices)


@from_onnx("Gather")
def _gather(node: Any, x: Tensor, indices: Tensor) -> Tensor:
    axis = normal_axis(node.get("axis", 0), type_of(x).ndim)
    known = node.constant(1)
    if known is not None and known.ndim == 0 and isinstance(type_of(x).shape[axis], int):
        return getitem(x, (slice(None),) * axis + (int(known),))  # a view, where gather copies
    return gather(x, indices, axis)


# ---- gather_elements ----


@register
class GatherElements(_Taking, AlongAxis):
    """y[i, k, j] = x[i, indices[i, k, j], j], where i stands for the axes before `axis`, and j for those behind it."""

    name = "gather_elements"
    onnx = ("GatherElements",)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(GatherElementsGrad(self.axis, inputs[0].shape), cotangents[0], inputs[1]), None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("GatherElements", inputs, axis=self.axis)


@register
class GatherElementsGrad(_Adding, AlongAxis):
    """Zeros, with each number of g added at the place that gather_elements took it from."""

    name = "gather_elements_grad"

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(GatherElements(self.axis), cotangents[0], inputs[1]), None]


def gather_elements(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    """For each index, the number of x at the index's own place, but for the index itself on one axis.

    Args:
        x: any shape and dtype.
        indices: int32 or int64, of as many axes as x, and nowhere longer but on `axis`; from
            -size to size - 1 of that axis, else a ShapeError is raised when it is computed.
        axis: of x.

    Returns:
        One number for each index.

    Source: ONNX GatherElements; torch.gather.
    """
    return apply(GatherElements(normal_axis(int(axis), type_of(x).ndim)), x, indices)


@from_onnx("GatherElements")
def _gather_elements(node: Any, x: Tensor, indices: Tensor) -> Tensor:
    return gather_elements(x, indices, node.get("axis", 0))


# ---- gather_nd ----


@register
class GatherNd(_Taking, AtTuples):
    """y[b, i] = x[b, *indices[b, i]], where b stands for the batch axes, and i for those behind them."""

    name = "gather_nd"
    onnx = ("GatherND",)
    batch_dims: int = 0

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(GatherNdGrad(inputs[0].shape, self.batch_dims), cotangents[0], inputs[1]), None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("GatherND", inputs, batch_dims=self.batch_dims)


@register
class GatherNdGrad(_Adding, AtTuples):
    """Zeros, with each number of g added at the place that gather_nd took it from."""

    name = "gather_nd_grad"
    batch_dims: int = 0

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(GatherNd(self.batch_dims), cotangents[0], inputs[1]), None]


def gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0) -> Tensor:
    """x[index] for each tuple of indices, which stand along the last axis.

    Args:
        x: [*batch, *], any dtype.
        indices: int32 or int64 [*batch, *, k], for the k axes behind the batch; one that is out
            of range raises a ShapeError when it is computed.
        batch_dims: how many axes the two have in common.

    Source: ONNX GatherND.
    """
    return apply(GatherNd(int(batch_dims)), x, indices)


@from_onnx("GatherND")
def _gather_nd(node: Any, x: Tensor, indices: Tensor) -> Tensor:
    return gather_nd(x, indices, node.get("batch_dims", 0))

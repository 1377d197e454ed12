"""Numbers written to the places that indices name: scatter_elements, scatter_nd."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from tinygraph.errors import ModelFormatError, NotDifferentiable, ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.arithmetic import add, compare, sub, where
from tinygraph.ops.base import (
    Exporter,
    Prepared,
    Tensor,
    Types,
    apply,
    from_onnx,
    normal_axis,
    register,
    same_dtype,
    type_of,
)
from tinygraph.ops.elementwise import cast
from tinygraph.ops.gather import AlongAxis, AtTuples, Indexed, gather_elements, gather_nd
from tinygraph.ops.index import concat, getitem
from tinygraph.ops.shape import broadcast_to, reshape

__all__ = ["scatter_elements", "scatter_nd"]

Reduction = Literal["none", "add", "mul", "max", "min"]

_UFUNCS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


class _Scatter(Indexed):
    """x, with updates written to places of it, or combined with the numbers that are there.

    Where nothing is combined and indices name a place twice, the last update stays, and the
    gradient is that of updates that all name places of their own.
    """

    arity = (3, 3)
    reduction: Reduction

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        if self.reduction not in get_args(Reduction):
            raise ShapeError(f"there is no reduction {self.reduction!r}; give {', '.join(get_args(Reduction))}")
        same_dtype(x, updates)
        taken = self.taken(x.shape, indices)
        if updates.shape != taken:
            raise ShapeError(f"such indices want updates of {TensorType(taken, x.dtype)}")
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """1 per update that is combined; 0 with reduction "none"."""
        return 0 if self.reduction == "none" else inputs[2].size

    def kernel(self, x: Array, indices: Array, updates: Array) -> Array:
        y = np.empty(x.shape, x.dtype)
        self._write(x, indices, updates, y)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            x, indices, updates = inputs
            self._write(x, indices, updates, outputs[0])

        return Prepared(run, 0, "scatter")

    def _write(self, x: Array, indices: Array, updates: Array, y: Array) -> None:
        places = self.places(x.shape, indices)
        np.copyto(y, x)
        if self.reduction == "none":
            y[places] = updates
        else:
            _UFUNCS[self.reduction].at(y, places, updates)

    def gather(self, x: Tensor, indices: Tensor) -> Tensor:
        """What x has at the places."""
        raise NotImplementedError

    def scatter(self, x: Tensor, indices: Tensor, updates: Tensor, reduction: Reduction) -> Tensor:
        """Another reduction at the same places."""
        raise NotImplementedError

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (x, indices, updates), y, c = inputs, outputs[0], cotangents[0]
        if self.reduction == "none":
            nothing = broadcast_to(np.zeros((), c.dtype), updates.shape)
            return [self.scatter(c, indices, nothing, "none"), None, self.gather(c, indices)]
        if self.reduction == "add":
            return [c, None, self.gather(c, indices)]
        if self.reduction == "mul":
            raise NotDifferentiable(f"{self.name} has no gradient: products of updates are not differentiated")
        # Numbers that are as large as the result share its gradient, as in maximum.
        stays = cast(compare(x, y, "=="), c.dtype)
        wins = cast(compare(updates, self.gather(y, indices), "=="), c.dtype)
        share = c / self.scatter(stays, indices, wins, "add")
        return [stays * share, None, wins * self.gather(share, indices)]


@register
class ScatterElements(_Scatter, AlongAxis):
    """x, with y[i, indices[i, k, j], j] = updates[i, k, j], or combined with it; i, j as in gather_elements."""

    name = "scatter_elements"
    onnx = ("ScatterElements",)
    reduction: Reduction = "none"

    def gather(self, x: Tensor, indices: Tensor) -> Tensor:
        return gather_elements(x, indices, self.axis)

    def scatter(self, x: Tensor, indices: Tensor, updates: Tensor, reduction: Reduction) -> Tensor:
        return apply(ScatterElements(self.axis, reduction), x, indices, updates)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("ScatterElements", inputs, axis=self.axis, reduction=self.reduction)


def scatter_elements(
    x: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, reduction: Reduction = "none"
) -> Tensor:
    """Writes each update to its own place in a copy of x, but on one axis to the place that the index names.

    Args:
        x: any shape and dtype.
        indices: int32 or int64, of as many axes as x, and nowhere longer but on `axis`; one that
            is out of range raises a ShapeError when it is computed.
        updates: one for each index, of x's dtype.
        axis: of x.
        reduction: "none" replaces; "add", "mul", "max" and "min" combine with what is there.

    Returns:
        Of x's shape and dtype. Where "none" writes to a place twice, the last update stays.

    Raises:
        ShapeError: the inputs do not fit together.

    Source: ONNX ScatterElements; torch.scatter_reduce.
    """
    return apply(ScatterElements(normal_axis(int(axis), type_of(x).ndim), reduction), x, indices, updates)


@from_onnx("ScatterElements", "Scatter")
def _scatter_elements(node: Any, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return scatter_elements(x, indices, updates, node.get("axis", 0), node.get("reduction", "none"))


@register
class ScatterNd(_Scatter, AtTuples):
    """x, with y[*indices[i]] = updates[i], or y[...] combined with it, where i stands for any number of axes."""

    name = "scatter_nd"
    onnx = ("ScatterND",)
    reduction: Reduction = "none"

    def gather(self, x: Tensor, indices: Tensor) -> Tensor:
        return gather_nd(x, indices)

    def scatter(self, x: Tensor, indices: Tensor, updates: Tensor, reduction: Reduction) -> Tensor:
        return apply(ScatterNd(reduction), x, indices, updates)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("ScatterND", inputs, reduction=self.reduction)


def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, reduction: Reduction = "none") -> Tensor:
    """Writes updates[i] to x[*indices[i]] in a copy of x.

    Args:
        x: any shape and dtype.
        indices: int32 or int64 [*, k], for the first k axes of x; one that is out of range
            raises a ShapeError when it is computed.
        updates: [*, and the axes of x behind the first k], of x's dtype.
        reduction: as in scatter_elements.

    Raises:
        ShapeError: the inputs do not fit together.

    Source: ONNX ScatterND.
    """
    return apply(ScatterNd(reduction), x, indices, updates)


@from_onnx("ScatterND")
def _scatter_nd(node: Any, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return scatter_nd(x, indices, updates, node.get("reduction", "none"))


@from_onnx("TensorScatter")
def _tensor_scatter(node: Any, past: Tensor, update: Tensor, starts: Tensor = None) -> Tensor:
    """A cache along one axis; each sample's update begins at a place of its own."""
    whole, part, mode = type_of(past), type_of(update), node.get("mode", "linear")
    axis = normal_axis(node.get("axis", -2), whole.ndim)
    if mode not in ("linear", "circular") or axis == 0:
        raise ModelFormatError(f"wants mode linear or circular and an axis behind the first, got {mode!r} and {axis}")
    (size,), (length,) = whole.with_shape([whole.shape[axis]]).dims, part.with_shape([part.shape[axis]]).dims
    if starts is None:
        return concat([update, getitem(past, (slice(None),) * axis + (slice(length, None),))], axis)
    node.afford(8 * length)
    line = np.arange(length).reshape(-1, *(1,) * (whole.ndim - axis - 1))
    places = add(reshape(starts, (part.shape[0], *(1,) * (whole.ndim - 1))), line)
    if mode == "circular":
        places = where(compare(places, size, ">="), sub(places, size), places)
    return scatter_elements(past, broadcast_to(places, part.shape), update, axis)

"""The different numbers of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    from_onnx,
    no_macs,
    normal_axis,
    not_differentiable,
    register,
    type_of,
)
from tinygraph.ops.nonzero import check_count
from tinygraph.ops.shape import reshape, single_dim

__all__ = ["unique"]


@register
class Unique(Op):
    """The different slices y of x along an axis; where each first stood; which each of x is; how often each stands.

    Attributes:
        axis: counted from the front.
        count: how many there are: a symbol, unless it is known.
        sorted: whether they rise; else they stand in the order of their first appearance.
    """

    name = "unique"
    labels = ("values", "places", "inverse", "counts")
    onnx = ("Unique",)
    arity = (1, 1)
    macs = no_macs
    vjp = not_differentiable("a small change of a number makes it another number")
    axis: int
    count: Dim
    sorted: bool = True

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        if not 0 <= self.axis < x.ndim:
            raise ShapeError(f"there is no axis {self.axis} in {x}")
        if x.dtype.kind not in "biuf":
            raise ShapeError(f"wants numbers, got {x.dtype.name}")
        values = x.with_shape((*x.shape[: self.axis], self.count, *x.shape[self.axis + 1 :]))
        places = TensorType((self.count,), np.dtype(np.int64))
        return values, places, places.with_shape((x.shape[self.axis],)), places

    def flops(self, inputs: Types, outputs: Types) -> int:
        """log2(n), rounded up, per input element, n being the length of the axis: its place among the others."""
        length = inputs[0].dims[self.axis]
        return max(0, length - 1).bit_length() * inputs[0].size

    def at_most(self, types: Types) -> int:
        return types[0].dims[self.axis]

    def kernel(self, x: Array) -> tuple[Array, ...]:
        lines = np.moveaxis(x, self.axis, 0).reshape(x.shape[self.axis], -1) if x.ndim > 1 else x
        _, places, inverse, counts = np.unique(lines, True, True, True, axis=0)
        inverse = inverse.reshape(-1)
        if not self.sorted:
            order = np.argsort(places)
            places, counts, inverse = places[order], counts[order], np.argsort(order)[inverse]
        check_count(self, len(places), self.count)
        return (x.take(places, self.axis), *(a.astype(np.int64, copy=False) for a in (places, inverse, counts)))

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Unique", inputs, outputs=4, axis=self.axis, sorted=int(self.sorted))


def unique(
    x: Tensor, count: Dim, axis: int | None = None, sorted: bool = True
) -> tuple[Tensor, ...]:  # its name in NumPy and ONNX
    """The different slices of x along an axis.

    Args:
        x: of any dtype.
        count: how many there are: a Symbol that the run gives its number, or the number itself.
        axis: may count from the end; None takes x as one row.
        sorted: whether they rise, compared number by number; else they stand in the order of
            their first appearance.

    Returns:
        The slices, as x with `count` of them; the place of the first of each, which of them each
        slice of x is, and how often each stands, all int64[*].

    Raises:
        ShapeError: there is no such axis.
        UsageError: when it runs, there are not `count` of them.

    Source: ONNX Unique.
    """
    if axis is None:
        x, axis = reshape(x, (single_dim(type_of(x).shape),)), 0
    results: tuple[Tensor, ...] = apply(Unique(normal_axis(int(axis), type_of(x).ndim), count, bool(sorted)), x)
    return results


@from_onnx("Unique")
def _unique(node: Any, x: Tensor) -> Any:
    return unique(x, node.symbol("unique"), node.get("axis"), bool(node.get("sorted", 1)))

"""The k largest or smallest numbers along an axis, and where they stand."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    from_onnx,
    no_macs,
    normal_axis,
    register,
    type_of,
)
from tinygraph.ops.gather import GatherElementsGrad

__all__ = ["top_k"]


@register
class TopK(Op):
    """The k largest numbers along an axis, the largest first, and their places; of equal ones the first; NaN beats all.

    Attributes:
        k: how many; a Symbol that the run gives its number, if that is the second input.
        axis: counted from the front.
        largest: False for the smallest numbers, the smallest first.
    """

    name = "top_k"
    labels = ("values", "places")
    onnx = ("TopK", "Reshape")
    arity = (1, 2)
    macs = no_macs
    k: Dim
    axis: int
    largest: bool = True

    def infer(self, x: TensorType, k: TensorType | None = None) -> tuple[TensorType, TensorType]:
        if x.dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {x.dtype.name}")
        if not 0 <= self.axis < x.ndim:
            raise ShapeError(f"there is no axis {self.axis} in {x}")
        if k is not None and (k.dtype != np.int64 or k.shape not in ((), (1,))):
            raise ShapeError(f"wants one whole number of int64 for k, got {k}")
        length = x.shape[self.axis]
        if not isinstance(self.k, Symbol) and (self.k < 0 or (not isinstance(length, Symbol) and self.k > length)):
            raise ShapeError(f"there are no {self.k} numbers along axis {self.axis} of {x}")
        values = x.with_shape((*x.shape[: self.axis], self.k, *x.shape[self.axis + 1 :]))
        return values, values.with_dtype(np.int64)

    def at_most(self, types: Types) -> int:
        return types[0].dims[self.axis]

    def flops(self, inputs: Types, outputs: Types) -> int:
        """log2(k + 1), rounded up, per input element: its place among the k best, found by bisection."""
        return outputs[0].dims[self.axis].bit_length() * inputs[0].size

    def kernel(self, x: Array, k: Array | None = None) -> tuple[Array, Array]:
        count = self.k if k is None else k.item()
        if isinstance(count, Symbol) or not 0 <= count <= x.shape[self.axis]:
            raise ShapeError(f"there are no {count} numbers along axis {self.axis} of {TensorType.of(x)}")
        if self.largest:  # backwards, so that of equal numbers the first comes last, and then first again
            rising = np.argsort(np.flip(x, self.axis), self.axis, kind="stable")
            order = x.shape[self.axis] - 1 - np.flip(rising, self.axis)
        else:
            order = np.argsort(x, self.axis, kind="stable")
        places = order.take(range(count), self.axis).astype(np.int64, copy=False)
        return np.take_along_axis(x, places, self.axis), places

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        gradient = apply(GatherElementsGrad(self.axis, inputs[0].shape), cotangents[0], outputs[1])
        return [gradient, None][: len(inputs)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        if len(inputs) > 1:
            k = inputs[1] if types[1].ndim else export.node("Reshape", [inputs[1], export.const(np.array([1]))])
        elif isinstance(self.k, Symbol):
            raise UnsupportedOp(f"ONNX cannot take {self.k} numbers: bind {self.k} first")
        else:
            k = export.const(np.array([self.k], np.int64))
        return export.node("TopK", [inputs[0], k], outputs=2, axis=self.axis, largest=int(self.largest))


def top_k(x: Tensor, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest numbers along an axis, sorted.

    Args:
        x: numbers.
        k: how many.
        axis: may count from the end.
        largest: False for the smallest.

    Returns:
        The numbers, of x's dtype, the largest (or smallest) first, and their places, int64. Of
        equal numbers the first comes first; NaN counts as larger than every number.

    Raises:
        ShapeError: there is no such axis, it is shorter than k, or x holds no numbers.

    Source: ONNX TopK.
    """
    values, places = apply(TopK(int(k), normal_axis(int(axis), type_of(x).ndim), bool(largest)), x)
    return values, places


@from_onnx("TopK")
def _top_k(node: Any, x: Tensor, k: Tensor = None) -> Any:
    """`k` is an attribute before opset 10; `sorted=0` leaves the order open, so that sorted ones will do."""
    axis, largest = node.get("axis", -1), bool(node.get("largest", 1))
    if k is not None and node.constant(1) is None:
        return apply(TopK(node.symbol("k"), normal_axis(axis, type_of(x).ndim), largest), x, k)
    wanted = np.ravel(node.get("k") if k is None else node.demand(1, "k"))
    if len(wanted) != 1:
        raise UnsupportedOp(f"with {len(wanted)} numbers for k; want one")
    return top_k(x, int(wanted[0]), axis, largest)

"""Running sums and products along an axis, and the recurrence that is their gradient."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    gradient_not_in_onnx,
    no_macs,
    normal_axis,
    not_in_onnx,
    register,
    type_of,
)
from tinygraph.ops.pad import pad

__all__ = ["cumprod", "cumsum"]


@family
class Cumulative(Op):
    """y[i] = the sum or product of x[0] to x[i] along an axis.

    Attributes:
        axis: counted from the front.
        exclusive: x[i] itself is left out, so that y[0] is of no numbers.
        reverse: from the last to the first.
    """

    arity = (1, 1)
    macs = no_macs
    ufunc: ClassVar[np.ufunc]
    axis: int
    exclusive: bool = False
    reverse: bool = False

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {x.dtype.name}")
        if not 0 <= self.axis < x.ndim:
            raise ShapeError(f"there is no axis {self.axis} in {x}")
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(n - 1) per line of n numbers, (n - 2) if exclusive."""
        length = inputs[0].dims[self.axis]
        return inputs[0].size // length * max(0, length - 1 - self.exclusive) if length else 0

    def kernel(self, x: Array) -> Array:
        x = np.flip(x, self.axis) if self.reverse else x
        if self.exclusive:
            first = np.full((*x.shape[: self.axis], 1, *x.shape[self.axis + 1 :]), self.ufunc.identity, x.dtype)
            x = np.concatenate([first, x], self.axis)[(*[slice(None)] * self.axis, slice(x.shape[self.axis]))]
        y: Array = self.ufunc.accumulate(x, self.axis, dtype=x.dtype)
        return np.flip(y, self.axis) if self.reverse else y


@register
class CumSum(Cumulative):
    """y[i] = x[0] + ... + x[i] along an axis."""

    name = "cumsum"
    onnx = ("CumSum",)
    traits = frozenset({"linear"})
    ufunc = np.add

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cumsum(cotangents[0], self.axis, self.exclusive, not self.reverse)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        axis = export.const(np.array(self.axis, np.int64))
        return export.node("CumSum", [*inputs, axis], exclusive=int(self.exclusive), reverse=int(self.reverse))


def cumsum(x: Tensor, axis: int, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """The running sum along an axis.

    Args:
        x: numbers.
        axis: may count from the end.
        exclusive: each sum leaves out the number that stands at its place.
        reverse: sums run from the last to the first.

    Returns:
        Of x's shape and dtype.

    Raises:
        ShapeError: there is no such axis, or x holds no numbers.

    Source: ONNX CumSum.
    """
    return apply(CumSum(normal_axis(int(axis), type_of(x).ndim), bool(exclusive), bool(reverse)), x)


@register
class CumProd(Cumulative):
    """y[i] = x[0] * ... * x[i] along an axis."""

    name = "cumprod"
    to_onnx = not_in_onnx("CumProd came with opset 26, and files are written for an older one")
    ufunc = np.multiply

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        """(The product before j) * s[j], s[j] = g[j] + x[j + 1] * s[j + 1]: zeros do no harm, as nothing is divided."""
        x, g = inputs[0], cotangents[0]
        step = 1 if self.reverse else -1
        ahead = _shifted(g, self.axis, step) if self.exclusive else g
        behind = apply(Recurrence(self.axis, not self.reverse), _shifted(x, self.axis, step), ahead)
        return [cumprod(x, self.axis, exclusive=True, reverse=self.reverse) * behind]


def cumprod(x: Tensor, axis: int, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """The running product along an axis. As cumsum. Source: ONNX CumProd."""
    return apply(CumProd(normal_axis(int(axis), type_of(x).ndim), bool(exclusive), bool(reverse)), x)


@register
class Recurrence(Op):
    """y[i] = a[i] * y[i - 1] + b[i] along an axis, y being 0 before the first: the gradient of cumprod.

    Attributes:
        axis: counted from the front.
        reverse: from the last to the first.
    """

    name = "recurrence"
    arity = (2, 2)
    macs = no_macs
    to_onnx = gradient_not_in_onnx
    axis: int
    reverse: bool = False

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        floating(a, b)
        if a.shape != b.shape or not 0 <= self.axis < a.ndim:
            raise ShapeError(f"wants two tensors of one shape with an axis {self.axis}")
        return b

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 (n - 1) per line of n numbers."""
        length = inputs[0].dims[self.axis]
        return 2 * inputs[0].size // length * (length - 1) if length else 0

    def kernel(self, a: Array, b: Array) -> Array:
        y = np.array(b)
        factors, lines = np.moveaxis(a, self.axis, 0), np.moveaxis(y, self.axis, 0)
        if self.reverse:
            factors, lines = factors[::-1], lines[::-1]
        for i in range(1, len(lines)):
            lines[i] += factors[i] * lines[i - 1]
        return y

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        step = -1 if self.reverse else 1
        slope = apply(Recurrence(self.axis, not self.reverse), _shifted(inputs[0], self.axis, -step), cotangents[0])
        return [slope * _shifted(outputs[0], self.axis, step), slope]


def _shifted(x: Tensor, axis: int, step: int) -> Tensor:
    """x moved one place back (1) or forth (-1) along an axis; 0 moves in."""
    type = type_of(x)
    return pad(x, [(step, -step) if i == axis else (0, 0) for i in range(type.ndim)]) if type.shape[axis] else x


@from_onnx("CumSum", "CumProd")
def _cumulative(node: Any, x: Tensor, axis: Tensor) -> Tensor:
    places = np.ravel(node.demand(1, "axis"))
    if len(places) != 1:
        raise UnsupportedOp(f"along the axes {places.tolist()}; want one")
    function = cumsum if node.op_type == "CumSum" else cumprod
    return function(x, int(places[0]), bool(node.get("exclusive", 0)), bool(node.get("reverse", 0)))

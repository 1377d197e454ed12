"""Norms over axes: the sum of the magnitudes, of the squares, and the root of that."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.arithmetic import compare, where
from tinygraph.ops.base import Tensor, Types, apply, from_onnx, register
from tinygraph.ops.reduce import Axes, Reduction, normal_axes, onnx_reduction
from tinygraph.ops.sign import sign

__all__ = ["l1_norm", "l2_norm", "sum_of_squares"]


class _OfNumbers(Reduction):
    """A reduction of floating numbers and integers alike."""

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {x.dtype.name}")
        return super().infer(x)


def _two_less_one(self: Any, inputs: Types, outputs: Types) -> int:
    """(2n - 1) per output element, if n numbers make one."""
    return 2 * inputs[0].size - outputs[0].size if inputs[0].size else 0


@register
class L1Norm(_OfNumbers):
    """y = sum(|x|) over the axes."""

    name = "l1_norm"
    onnx = ("ReduceL1",)
    flops = _two_less_one

    def kernel(self, x: Array) -> Array:
        return np.sum(np.abs(x), self.axes, dtype=x.dtype, keepdims=self.keepdims)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [sign(inputs[0]) * self.widened(cotangents[0], inputs[0])]


@register
class SumOfSquares(_OfNumbers):
    """y = sum(x^2) over the axes."""

    name = "sum_of_squares"
    onnx = ("ReduceSumSquare",)
    flops = _two_less_one

    def kernel(self, x: Array) -> Array:
        return np.sum(np.square(x), self.axes, dtype=x.dtype, keepdims=self.keepdims)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [2 * inputs[0] * self.widened(cotangents[0], inputs[0])]


@register
class L2Norm(_OfNumbers):
    """y = sqrt(sum(x^2)) over the axes; of integers the root is rounded towards zero. Its derivative at 0 is 0."""

    name = "l2_norm"
    onnx = ("ReduceL2",)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 per input element."""
        return 2 * inputs[0].size

    def kernel(self, x: Array) -> Array:
        y: Array = np.sqrt(np.sum(np.square(x), self.axes, dtype=x.dtype, keepdims=self.keepdims))
        return y.astype(x.dtype, copy=False)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x, y = inputs[0], outputs[0]
        zero = compare(y, 0, "==")
        slope = where(zero, 0, cotangents[0] / where(zero, 1, y))
        return [x * self.widened(slope, x)]


def l1_norm(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The sum of |x| over one axis, several, or all of them, in x's dtype.

    Raises:
        ShapeError: x has no such axis, or holds no numbers.

    Source: ONNX ReduceL1.
    """
    return apply(L1Norm(normal_axes(axis, x), bool(keepdims)), x)


def l2_norm(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The Euclidean norm over one axis, several, or all of them. As l1_norm. Source: ONNX ReduceL2."""
    return apply(L2Norm(normal_axes(axis, x), bool(keepdims)), x)


def sum_of_squares(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The sum of x^2 over one axis, several, or all of them. As l1_norm. Source: ONNX ReduceSumSquare."""
    return apply(SumOfSquares(normal_axes(axis, x), bool(keepdims)), x)


_NORMS = {"ReduceL1": L1Norm, "ReduceL2": L2Norm, "ReduceSumSquare": SumOfSquares}


@from_onnx(*_NORMS)
def _norm(node: Any, x: Tensor, axes: Tensor = None) -> Tensor:
    return apply(_NORMS[node.op_type](*onnx_reduction(node, x, axes)), x)

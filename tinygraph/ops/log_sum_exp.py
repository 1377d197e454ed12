"""The logarithm of a sum of exponentials, and of a plain sum, over axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import Tensor, Types, apply, floating, from_onnx, register
from tinygraph.ops.elementwise import exp, log
from tinygraph.ops.reduce import Axes, Reduction, Sum, normal_axes, onnx_reduction

__all__ = ["log_sum_exp"]


@register
class LogSumExp(Reduction):
    """y = m + log(sum(exp(x - m))) over the axes, m being the largest number: large ones do no harm. -inf of none."""

    name = "log_sum_exp"
    onnx = ("ReduceLogSumExp",)

    def infer(self, x: TensorType) -> TensorType:
        floating(x)
        return super().infer(x)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """7 per input element, and 3 per output element."""
        return 7 * inputs[0].size + 3 * outputs[0].size if inputs[0].size else 0

    def kernel(self, x: Array) -> Array:
        largest = np.max(x, self.axes, keepdims=True, initial=-np.inf)
        largest = np.where(np.isfinite(largest), largest, x.dtype.type(0))  # inf - inf would be NaN
        total = np.sum(np.exp(x - largest), self.axes, keepdims=True)
        y: Array = np.log(total) + largest
        return y.reshape(self.reduced(x.shape, self.keepdims))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x = inputs[0]
        return [exp(x - self.widened(outputs[0], x)) * self.widened(cotangents[0], x)]


def log_sum_exp(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over one axis, several, or all of them, without overflow.

    Args:
        x: floating.
        axis: may count from the end; None for all.
        keepdims: the axes stay, with size 1.

    Returns:
        Of x's dtype; -inf where there are no numbers.

    Raises:
        ShapeError: x has no such axis, or is not floating.

    Source: ONNX ReduceLogSumExp.
    """
    return apply(LogSumExp(normal_axes(axis, x), bool(keepdims)), x)


@from_onnx("ReduceLogSumExp", "ReduceLogSum")
def _log_sum(node: Any, x: Tensor, axes: Tensor = None) -> Tensor:
    how = onnx_reduction(node, x, axes)
    return apply(LogSumExp(*how), x) if node.op_type == "ReduceLogSumExp" else log(apply(Sum(*how), x))

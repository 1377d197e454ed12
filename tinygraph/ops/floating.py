"""Which floating-point numbers are no ordinary ones: not a number, infinite."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import (
    Exporter,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    not_differentiable,
    one_onnx_node,
    per_output,
    register,
)
from tinygraph.ops.elementwise import Function, Unary

__all__ = ["is_inf", "is_nan"]


def _infer(self: Any, x: TensorType) -> TensorType:
    """An infer rule: booleans about floating numbers."""
    floating(x)
    return x.with_dtype(np.dtype(bool))


@register
class IsNaN(Function):
    """Whether x is not a number."""

    name = "is_nan"
    onnx = ("IsNaN",)
    infer = _infer
    to_onnx = one_onnx_node
    flops = per_output(1)
    vjp = not_differentiable("its results are true and false")
    ufunc = np.isnan


def is_nan(x: Tensor) -> Tensor:
    """Whether each number of x (floating) is NaN, as booleans. Source: ONNX IsNaN."""
    return apply(IsNaN(), x)


@from_onnx("IsNaN")
def _is_nan(node: Any, x: Tensor) -> Tensor:
    return is_nan(x)


@register
class IsInf(Unary):
    """Whether x is infinite: of either sign, or of one."""

    name = "is_inf"
    onnx = ("IsInf",)
    infer = _infer
    flops = per_output(1)
    vjp = not_differentiable("its results are true and false")
    negative: bool = True
    positive: bool = True

    def kernel(self, x: Array) -> Array:
        wanted = [sign for sign, counts in ((-np.inf, self.negative), (np.inf, self.positive)) if counts]
        return np.isin(x, wanted)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("IsInf", inputs, detect_negative=int(self.negative), detect_positive=int(self.positive))


def is_inf(x: Tensor, negative: bool = True, positive: bool = True) -> Tensor:
    """Whether each number of x is infinite, as booleans.

    Args:
        x: floating.
        negative: whether minus infinity counts.
        positive: whether plus infinity counts.

    Source: ONNX IsInf.
    """
    return apply(IsInf(bool(negative), bool(positive)), x)


@from_onnx("IsInf")
def _is_inf(node: Any, x: Tensor) -> Tensor:
    return is_inf(x, node.get("detect_negative", 1), node.get("detect_positive", 1))

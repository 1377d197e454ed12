"""Size and sign of numbers: abs, sign."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.ops.base import Tensor, apply, from_onnx, per_output, register
from tinygraph.ops.elementwise import Function, of_numbers

__all__ = ["abs", "sign"]


@register
class Abs(Function):
    """|x|. Its derivative at 0 is 0."""

    name = "abs"
    onnx = ("Abs",)
    ufunc = np.absolute
    infer = of_numbers
    flops = per_output(1)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * sign(inputs[0])]


def abs(x: Tensor) -> Tensor:
    """The absolute value of x, of its shape and dtype. Source: ONNX Abs."""
    return apply(Abs(), x)


@register
class Sign(Function):
    """1 where x > 0, -1 where x < 0, 0 where it is 0, NaN where it is NaN. Its derivative is 0."""

    name = "sign"
    onnx = ("Sign",)
    ufunc = np.sign
    infer = of_numbers
    flops = per_output(1)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [None]


def sign(x: Tensor) -> Tensor:
    """The sign of x: 1, -1 or 0, of its shape and dtype. Source: ONNX Sign."""
    return apply(Sign(), x)


@from_onnx("Abs")
def _abs(node: Any, x: Tensor) -> Tensor:
    return abs(x)


@from_onnx("Sign")
def _sign(node: Any, x: Tensor) -> Tensor:
    return sign(x)

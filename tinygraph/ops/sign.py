"""Size and sign of numbers: abs, sign."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import TensorType
from tinygraph.ops.base import Tensor, apply, from_onnx, per_output, register
from tinygraph.ops.elementwise import Function

__all__ = ["abs", "sign"]


class _OfNumbers(Function):
    """A function of floating numbers and integers alike."""

    flops = per_output(1)

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {x.dtype.name}")
        return x


@register
class Abs(_OfNumbers):
    """|x|. Its derivative at 0 is 0."""

    name = "abs"
    onnx = ("Abs",)
    ufunc = np.absolute

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * sign(inputs[0])]


def abs(x: Tensor) -> Tensor:
    """The absolute value of x, of its shape and dtype. Source: ONNX Abs."""
    return apply(Abs(), x)


@register
class Sign(_OfNumbers):
    """1 where x > 0, -1 where x < 0, 0 where it is 0, NaN where it is NaN. Its derivative is 0."""

    name = "sign"
    onnx = ("Sign",)
    ufunc = np.sign

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

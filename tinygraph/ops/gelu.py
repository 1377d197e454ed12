"""The Gaussian error linear unit, exact and approximated."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any, Literal, get_args

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels import activation
from tinygraph.kernels import erf as error_function
from tinygraph.ops.base import Exporter, Prepared, Tensor, Types, apply, floating, from_onnx, register
from tinygraph.ops.elementwise import Unary, by_passes, exp, tanh
from tinygraph.ops.erf import erf

__all__ = ["gelu"]

Approximation = Literal["none", "tanh"]
_CUBIC = 0.044715  # of the approximation: tanh(sqrt(2 / pi) * (x + 0.044715 x³))


@register
class Gelu(Unary):
    """x * P(X <= x) for a normal X: x / 2 * (1 + erf(x / sqrt(2))), or with tanh(sqrt(2 / pi) * (x + 0.044715 x³))."""

    name = "gelu"
    onnx = ("Gelu",)
    approximate: Approximation = "none"

    def infer(self, x: TensorType) -> TensorType:
        if self.approximate not in get_args(Approximation):
            raise ShapeError(f"approximate must be 'none' or 'tanh', got {self.approximate!r}")
        floating(x)
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """8 per output element, 12 if approximated."""
        return (8 if self.approximate == "none" else 12) * outputs[0].size

    def kernel(self, x: Array) -> Array:
        number = x.dtype.type
        if self.approximate == "none":
            inner = error_function.erf(x * number(sqrt(1 / 2)))
        else:
            inner = np.tanh(number(sqrt(2 / pi)) * (x + number(_CUBIC) * x * x * x))
        y: Array = number(0.5) * x * (1 + inner)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        if self.approximate == "none":
            return by_passes(activation.gelu, 1 + error_function.SCRATCH, types, workers, "erf")
        return by_passes(activation.gelu_by_tanh, 1, types, workers, "tanh")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x = inputs[0]
        if self.approximate == "none":
            share = (1 + erf(x * sqrt(1 / 2))) * 0.5
            slope = share + x * exp(x * x * -0.5) * (1 / sqrt(2 * pi))
        else:
            square = x * x
            inner = tanh(x * (1 + square * _CUBIC) * sqrt(2 / pi))
            steepness = (1 - inner * inner) * (1 + square * (3 * _CUBIC)) * sqrt(2 / pi)
            slope = (1 + inner + x * steepness) * 0.5
        return [cotangents[0] * slope]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Gelu", inputs, approximate=self.approximate)


def gelu(x: Tensor, approximate: Approximation = "none") -> Tensor:
    """x times the probability that a normally distributed number is at most x.

    Args:
        x: floating.
        approximate: "none": x / 2 * (1 + erf(x / sqrt(2))); "tanh": the hyperbolic tangent of
            sqrt(2 / pi) * (x + 0.044715 x³) in the place of erf.

    Returns:
        Of x's shape and dtype.

    Raises:
        ShapeError: x is not floating, or there is no such approximation.

    Source: ONNX Gelu; Hendrycks and Gimpel 2016.
    """
    return apply(Gelu(approximate), x)


@from_onnx("Gelu")
def _gelu(node: Any, x: Tensor) -> Tensor:
    return gelu(x, node.get("approximate", "none"))

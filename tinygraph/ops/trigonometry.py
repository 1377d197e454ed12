"""Trigonometric and hyperbolic functions and their inverses; tanh, an activation, is in elementwise.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.ops.base import Tensor, apply, from_onnx, per_output, register
from tinygraph.ops.elementwise import Function, sqrt

__all__ = ["acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "sin", "sinh", "tan"]


class _Trigonometric(Function):
    """Counted as exp is."""

    flops = per_output(4)


@register
class Sin(_Trigonometric):
    """The sine of x, an angle in radians."""

    name = "sin"
    onnx = ("Sin",)
    ufunc = np.sin

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * cos(inputs[0])]


def sin(x: Tensor) -> Tensor:
    """The sine of x; of x's shape and dtype (floating). Source: ONNX Sin."""
    return apply(Sin(), x)


@register
class Cos(_Trigonometric):
    """The cosine of x, an angle in radians."""

    name = "cos"
    onnx = ("Cos",)
    ufunc = np.cos

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [-(cotangents[0] * sin(inputs[0]))]


def cos(x: Tensor) -> Tensor:
    """The cosine of x; of x's shape and dtype (floating). Source: ONNX Cos."""
    return apply(Cos(), x)


@register
class Tan(_Trigonometric):
    """The tangent of x, an angle in radians."""

    name = "tan"
    onnx = ("Tan",)
    ufunc = np.tan

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * (1 + outputs[0] * outputs[0])]


def tan(x: Tensor) -> Tensor:
    """The tangent of x; of x's shape and dtype (floating). Source: ONNX Tan."""
    return apply(Tan(), x)


@register
class Asin(_Trigonometric):
    """The angle from -pi/2 to pi/2 whose sine is x; NaN outside of [-1, 1]."""

    name = "asin"
    onnx = ("Asin",)
    ufunc = np.arcsin

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] / sqrt(1 - inputs[0] * inputs[0])]


def asin(x: Tensor) -> Tensor:
    """The angle from -pi/2 to pi/2 whose sine is x; of x's shape and dtype (floating). Source: ONNX Asin."""
    return apply(Asin(), x)


@register
class Acos(_Trigonometric):
    """The angle from 0 to pi whose cosine is x; NaN outside of [-1, 1]."""

    name = "acos"
    onnx = ("Acos",)
    ufunc = np.arccos

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [-(cotangents[0] / sqrt(1 - inputs[0] * inputs[0]))]


def acos(x: Tensor) -> Tensor:
    """The angle from 0 to pi whose cosine is x; of x's shape and dtype (floating). Source: ONNX Acos."""
    return apply(Acos(), x)


@register
class Atan(_Trigonometric):
    """The angle from -pi/2 to pi/2 whose tangent is x."""

    name = "atan"
    onnx = ("Atan",)
    ufunc = np.arctan

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] / (1 + inputs[0] * inputs[0])]


def atan(x: Tensor) -> Tensor:
    """The angle from -pi/2 to pi/2 whose tangent is x; of x's shape and dtype (floating). Source: ONNX Atan."""
    return apply(Atan(), x)


@register
class Sinh(_Trigonometric):
    """The hyperbolic sine of x, (e ** x - e ** -x) / 2."""

    name = "sinh"
    onnx = ("Sinh",)
    ufunc = np.sinh

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * cosh(inputs[0])]


def sinh(x: Tensor) -> Tensor:
    """The hyperbolic sine of x; of x's shape and dtype (floating). Source: ONNX Sinh."""
    return apply(Sinh(), x)


@register
class Cosh(_Trigonometric):
    """The hyperbolic cosine of x, (e ** x + e ** -x) / 2."""

    name = "cosh"
    onnx = ("Cosh",)
    ufunc = np.cosh

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * sinh(inputs[0])]


def cosh(x: Tensor) -> Tensor:
    """The hyperbolic cosine of x; of x's shape and dtype (floating). Source: ONNX Cosh."""
    return apply(Cosh(), x)


@register
class Asinh(_Trigonometric):
    """The number whose hyperbolic sine is x."""

    name = "asinh"
    onnx = ("Asinh",)
    ufunc = np.arcsinh

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] / sqrt(inputs[0] * inputs[0] + 1)]


def asinh(x: Tensor) -> Tensor:
    """The number whose hyperbolic sine is x; of x's shape and dtype (floating). Source: ONNX Asinh."""
    return apply(Asinh(), x)


@register
class Acosh(_Trigonometric):
    """The number not below 0 whose hyperbolic cosine is x; NaN below 1."""

    name = "acosh"
    onnx = ("Acosh",)
    ufunc = np.arccosh

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] / sqrt(inputs[0] * inputs[0] - 1)]


def acosh(x: Tensor) -> Tensor:
    """The number not below 0 whose hyperbolic cosine is x; of x's shape and dtype (floating). Source: ONNX Acosh."""
    return apply(Acosh(), x)


@register
class Atanh(_Trigonometric):
    """The number whose hyperbolic tangent is x; NaN outside of [-1, 1]."""

    name = "atanh"
    onnx = ("Atanh",)
    ufunc = np.arctanh

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] / (1 - inputs[0] * inputs[0])]


def atanh(x: Tensor) -> Tensor:
    """The number whose hyperbolic tangent is x; of x's shape and dtype (floating). Source: ONNX Atanh."""
    return apply(Atanh(), x)


_FUNCTIONS = {
    "Sin": sin,
    "Cos": cos,
    "Tan": tan,
    "Asin": asin,
    "Acos": acos,
    "Atan": atan,
    "Sinh": sinh,
    "Cosh": cosh,
    "Asinh": asinh,
    "Acosh": acosh,
    "Atanh": atanh,
}


@from_onnx(*_FUNCTIONS)
def _function(node: Any, x: Tensor) -> Tensor:
    return _FUNCTIONS[node.op_type](x)

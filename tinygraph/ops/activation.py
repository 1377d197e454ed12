"""Activations made of pieces: straight lines and exponentials that meet at 0 or at a bound."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array
from tinygraph.kernels import activation
from tinygraph.ops.arithmetic import add, compare, div, mul, sub, where
from tinygraph.ops.base import (
    Exporter,
    Prepared,
    Tensor,
    Types,
    apply,
    from_onnx,
    one_onnx_node,
    per_output,
    register,
)
from tinygraph.ops.elementwise import Unary, by_passes, exp
from tinygraph.ops.sign import abs

__all__ = [
    "celu",
    "elu",
    "hard_sigmoid",
    "hard_swish",
    "leaky_relu",
    "selu",
    "shrink",
    "softsign",
    "thresholded_relu",
]


@register
class LeakyRelu(Unary):
    """x where x > 0, else slope * x."""

    name = "leaky_relu"
    onnx = ("LeakyRelu",)
    flops = per_output(3)
    slope: float = 0.01

    def kernel(self, x: Array) -> Array:
        return np.where(x > 0, x, x * x.dtype.type(self.slope))

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        if not 0 < self.slope <= 1:
            return None
        return by_passes(partial(activation.leaky_relu, slope=self.slope), 1, types, workers, self.name)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        c = cotangents[0]
        return [where(compare(inputs[0], 0, ">"), c, c * self.slope)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("LeakyRelu", inputs, alpha=self.slope)


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """Keeps positive x, multiplies the rest by the slope, which is also the derivative at 0.

    Source: ONNX LeakyRelu; Maas, Hannun and Ng 2013.
    """
    return apply(LeakyRelu(float(slope)), x)


@from_onnx("LeakyRelu")
def _leaky_relu(node: Any, x: Tensor) -> Tensor:
    return leaky_relu(x, node.get("alpha", 0.01))


@register
class Elu(Unary):
    """x where x > 0, else alpha * (e ** x - 1)."""

    name = "elu"
    onnx = ("Elu",)
    flops = per_output(8)
    alpha: float = 1.0

    def kernel(self, x: Array) -> Array:
        return np.where(x > 0, x, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0)))

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        if not 0 < self.alpha <= 1:
            return None
        return by_passes(partial(activation.elu, alpha=self.alpha), 1, types, workers, self.name)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * where(compare(inputs[0], 0, ">"), 1, outputs[0] + self.alpha)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Elu", inputs, alpha=self.alpha)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Keeps positive x, makes the rest alpha * (e ** x - 1); the derivative at 0 is alpha.

    Source: ONNX Elu; Clevert, Unterthiner and Hochreiter 2016.
    """
    return apply(Elu(float(alpha)), x)


@from_onnx("Elu")
def _elu(node: Any, x: Tensor) -> Tensor:
    return elu(x, node.get("alpha", 1.0))


@register
class Selu(Unary):
    """gamma * x where x > 0, else gamma * alpha * (e ** x - 1)."""

    name = "selu"
    onnx = ("Selu",)
    flops = per_output(9)
    alpha: float = 1.6732632423543772
    gamma: float = 1.0507009873554805

    def kernel(self, x: Array) -> Array:
        low = x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0))
        y: Array = x.dtype.type(self.gamma) * np.where(x > 0, x, low)
        return y

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        slope = where(compare(inputs[0], 0, ">"), self.gamma, outputs[0] + self.alpha * self.gamma)
        return [cotangents[0] * slope]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Selu", inputs, alpha=self.alpha, gamma=self.gamma)


def selu(x: Tensor, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Tensor:
    """An elu of such scale that activations keep mean 0 and variance 1; the derivative at 0 is alpha * gamma.

    Source: ONNX Selu; Klambauer et al. 2017.
    """
    return apply(Selu(float(alpha), float(gamma)), x)


@from_onnx("Selu")
def _selu(node: Any, x: Tensor) -> Tensor:
    return selu(x, node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813232421875))


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """max(x, 0) + min(alpha * (e ** (x / alpha) - 1), 0): an elu with slope 1 at 0.

    Raises:
        ShapeError: alpha is 0.

    Source: ONNX Celu; Barron 2017.
    """
    if alpha == 0:
        raise ShapeError("alpha must not be 0")
    if alpha > 0:
        return mul(elu(div(x, alpha)), alpha)
    return where(compare(x, 0, ">"), x, mul(sub(exp(div(x, alpha)), 1), alpha))


@from_onnx("Celu")
def _celu(node: Any, x: Tensor) -> Tensor:
    return celu(x, node.get("alpha", 1.0))


@register
class HardSigmoid(Unary):
    """alpha * x + beta, brought into [0, 1]. Its derivative at both ends is 0."""

    name = "hard_sigmoid"
    onnx = ("HardSigmoid",)
    flops = per_output(4)
    alpha: float = 1 / 6
    beta: float = 0.5

    def kernel(self, x: Array) -> Array:
        y: Array = np.clip(x * x.dtype.type(self.alpha) + x.dtype.type(self.beta), 0, 1)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_passes(
            partial(activation.hard_sigmoid, alpha=self.alpha, beta=self.beta), 0, types, workers, self.name
        )

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        y = outputs[0]
        return [where(compare(y, 0, ">"), where(compare(y, 1, "<"), cotangents[0] * self.alpha, 0), 0)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("HardSigmoid", inputs, alpha=self.alpha, beta=self.beta)


def hard_sigmoid(x: Tensor, alpha: float = 1 / 6, beta: float = 0.5) -> Tensor:
    """alpha * x + beta, brought into [0, 1], of x's shape and dtype (floating).

    The defaults are PyTorch's and those of MobileNetV3; ONNX's own alpha is 0.2.

    Source: ONNX HardSigmoid; Courbariaux, Bengio and David 2015.
    """
    return apply(HardSigmoid(float(alpha), float(beta)), x)


@from_onnx("HardSigmoid")
def _hard_sigmoid(node: Any, x: Tensor) -> Tensor:
    return hard_sigmoid(x, node.get("alpha", 0.2), node.get("beta", 0.5))


@register
class HardSwish(Unary):
    """x * (x / 6 + 1 / 2, brought into [0, 1]). Its derivative is 0 at -3 and 1 at 3."""

    name = "hard_swish"
    onnx = ("HardSwish",)
    to_onnx = one_onnx_node
    flops = per_output(5)

    def kernel(self, x: Array) -> Array:
        y: Array = x * np.clip((x + x.dtype.type(3)) / x.dtype.type(6), 0, 1)  # x + 3 is exact where it is small
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_passes(activation.hard_swish, 1, types, workers, self.name)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x, c = inputs[0], cotangents[0]
        inner = where(compare(x, 3, "<"), c * (x / 3 + 0.5), c)
        return [where(compare(x, -3, ">"), inner, 0)]


def hard_swish(x: Tensor) -> Tensor:
    """x * hard_sigmoid(x), of x's shape and dtype (floating).

    Source: ONNX HardSwish; Howard et al. 2019, Searching for MobileNetV3.
    """
    return apply(HardSwish(), x)


@from_onnx("HardSwish")
def _hard_swish(node: Any, x: Tensor) -> Tensor:
    return hard_swish(x)


def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|), of x's shape and dtype (floating). Source: ONNX Softsign."""
    return div(x, add(abs(x), 1))


@from_onnx("Softsign")
def _softsign(node: Any, x: Tensor) -> Tensor:
    return softsign(x)


def thresholded_relu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > alpha, else 0, of x's shape and dtype. Source: ONNX ThresholdedRelu."""
    return where(compare(x, alpha, ">"), x, 0)


@from_onnx("ThresholdedRelu")
def _thresholded_relu(node: Any, x: Tensor) -> Tensor:
    return thresholded_relu(x, node.get("alpha", 1.0))


def shrink(x: Tensor, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """x - bias where x > lambd, x + bias where x < -lambd, else 0: bias 0 is hard, bias = lambd soft shrinkage.

    Source: ONNX Shrink.
    """
    low = where(compare(x, -lambd, "<"), add(x, bias), 0)
    return where(compare(x, lambd, ">"), sub(x, bias), low)


@from_onnx("Shrink")
def _shrink(node: Any, x: Tensor) -> Tensor:
    return shrink(x, node.get("bias", 0.0), node.get("lambd", 0.5))

"""Elementwise functions of one tensor: activations, exp, log, sqrt, neg, cast.

Traits that this and other rooms use, so that passes need not know ops by name:

    elementwise   y[i] depends on the inputs at i only, after broadcasting
    commutative   the first two inputs may change places
    linear        y = J x + c in the first input x, the others held; c comes from the others
    view          moves numbers and computes none; the kernel may return a view of its input
    random        the numbers depend on a key: two nodes alike are not one, and none is folded
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    no_flops,
    no_macs,
    per_output,
    register,
    type_of,
)

__all__ = ["cast", "elu", "exp", "leaky_relu", "log", "neg", "prelu", "relu", "sigmoid", "sqrt", "tanh"]


def in_one_call(ufunc: np.ufunc, *constants: Any) -> Prepared:
    """A prepared kernel: one call of a NumPy function that writes into the output."""

    def run(inputs: Any, outputs: Any, workspace: Array) -> None:
        ufunc(*inputs, *constants, out=outputs[0])

    return Prepared(run, 0, ufunc.__name__)


class Unary(Op):
    """y[i] = f(x[i]) for floating x."""

    arity = (1, 1)
    traits = frozenset({"elementwise"})
    macs = no_macs

    def infer(self, x: TensorType) -> TensorType:
        floating(x)
        return x


class Function(Unary):
    """A function that NumPy and ONNX have."""

    ufunc: ClassVar[np.ufunc]
    onnx: ClassVar[str]

    def kernel(self, x: Array) -> Array:
        return self.ufunc(x)  # type: ignore[no-any-return]  # ufuncs return Any

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return in_one_call(self.ufunc)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node(self.onnx, inputs)


@register
class Relu(Unary):
    """max(x, 0). Its derivative at 0 is 0."""

    name = "relu"
    flops = per_output(1)

    def kernel(self, x: Array) -> Array:
        return np.maximum(x, x.dtype.type(0))

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return in_one_call(np.maximum, types[0].dtype.type(0))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.ops import compare, where

        return [where(compare(inputs[0], 0, ">"), cotangents[0], 0)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Relu", inputs)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), of x's shape and dtype (floating).

    Source: ONNX Relu; Nair and Hinton 2010.
    """
    return apply(Relu(), x)


@register
class LeakyRelu(Unary):
    """x where x > 0, else slope * x."""

    name = "leaky_relu"
    flops = per_output(3)
    slope: float = 0.01

    def kernel(self, x: Array) -> Array:
        return np.where(x > 0, x, x * x.dtype.type(self.slope))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.ops import compare, where

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
class PRelu(Op):
    """x where x > 0, else weight * x, with one weight for each channel (axis 1) or one for all."""

    name = "prelu"
    arity = (2, 2)
    macs = no_macs
    flops = per_output(3)

    def infer(self, x: TensorType, weight: TensorType) -> TensorType:
        floating(x, weight)
        if not x.ndim:
            raise ShapeError("wants x of at least one dimension")
        channels = x.shape[1] if x.ndim > 1 else 1
        if weight.shape not in ((1,), (channels,)):
            raise ShapeError(f"wants a weight of shape [1] or [{channels}]")
        return x

    def kernel(self, x: Array, weight: Array) -> Array:
        return np.where(x > 0, x, x * weight.reshape(_along_channels(x.ndim)))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph import ops

        (x, weight), c = inputs, cotangents[0]
        positive = ops.compare(x, 0, ">")
        by_weight = ops.where(positive, 0, c * x)
        per_channel = weight.shape != (1,)
        axes = [axis for axis in range(x.ndim) if axis != 1 or not per_channel]
        slope = ops.reshape(weight, (weight.shape[0], *_along_channels(x.ndim)[1:]))
        return [ops.where(positive, c, c * slope), ops.reshape(ops.sum(by_weight, axes), weight.shape)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        shape = export.const(np.array(_along_channels(types[0].ndim), np.int64))
        return export.node("PRelu", [inputs[0], export.node("Reshape", [inputs[1], shape])])


def _along_channels(ndim: int) -> tuple[int, ...]:
    """The shape, for ndarray.reshape, in which a weight meets axis 1."""
    return (-1, *(1,) * (ndim - 2))


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """Keeps positive x, multiplies the rest by a trained weight.

    Args:
        x: [N, C, *], floating.
        weight: [C], or [1] for all channels; of x's dtype.

    Source: ONNX PRelu; He et al. 2015.
    """
    return apply(PRelu(), x, weight)


@from_onnx("PRelu")
def _prelu(node: Any, x: Tensor, slope: Tensor) -> Tensor:
    from tinygraph.ops import compare, mul, reshape, where

    shape, ndim = type_of(slope).shape, type_of(x).ndim
    if all(d == 1 for d in shape[1:]) and (len(shape) == ndim - 1 or shape == (1,)):
        return prelu(x, reshape(slope, shape[:1]))
    return where(compare(x, 0, ">"), x, mul(x, slope))


@register
class Elu(Unary):
    """x where x > 0, else alpha * (e ** x - 1)."""

    name = "elu"
    flops = per_output(8)
    alpha: float = 1.0

    def kernel(self, x: Array) -> Array:
        return np.where(x > 0, x, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0)))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.ops import compare, where

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
class Sigmoid(Unary):
    """1 / (1 + e ** -x)."""

    name = "sigmoid"
    flops = per_output(4)

    def kernel(self, x: Array) -> Array:
        tail = np.exp(-np.abs(x))  # never overflows
        return np.where(x < 0, tail, 1) / (1 + tail)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        y = outputs[0]
        return [cotangents[0] * y * (1 - y)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Sigmoid", inputs)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e ** -x), of x's shape and dtype (floating). Source: ONNX Sigmoid."""
    return apply(Sigmoid(), x)


@register
class Tanh(Function):
    """The hyperbolic tangent."""

    name = "tanh"
    onnx = "Tanh"
    ufunc = np.tanh
    flops = per_output(4)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        y = outputs[0]
        return [cotangents[0] * (1 - y * y)]


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent of x, of its shape and dtype (floating). Source: ONNX Tanh."""
    return apply(Tanh(), x)


@register
class Exp(Function):
    """e ** x."""

    name = "exp"
    onnx = "Exp"
    ufunc = np.exp
    flops = per_output(4)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * outputs[0]]


def exp(x: Tensor) -> Tensor:
    """The exponential e ** x, of x's shape and dtype (floating). Source: ONNX Exp."""
    return apply(Exp(), x)


@register
class Log(Function):
    """The natural logarithm of x."""

    name = "log"
    onnx = "Log"
    ufunc = np.log
    flops = per_output(4)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] / inputs[0]]


def log(x: Tensor) -> Tensor:
    """The natural logarithm of x, of its shape and dtype (floating). Source: ONNX Log."""
    return apply(Log(), x)


@register
class Sqrt(Function):
    """The square root of x."""

    name = "sqrt"
    onnx = "Sqrt"
    ufunc = np.sqrt
    flops = per_output(1)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * 0.5 / outputs[0]]


def sqrt(x: Tensor) -> Tensor:
    """The square root of x, of its shape and dtype (floating). Source: ONNX Sqrt."""
    return apply(Sqrt(), x)


@register
class Neg(Function):
    """-x."""

    name = "neg"
    onnx = "Neg"
    ufunc = np.negative
    traits = frozenset({"elementwise", "linear"})
    flops = per_output(1)

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in "if":
            raise ShapeError(f"wants signed numbers, got {x.dtype.name}")
        return x

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [-cotangents[0]]


def neg(x: Tensor) -> Tensor:
    """-x, of x's shape and dtype (floating or signed integers). Source: ONNX Neg."""
    return apply(Neg(), x)


@register
class Cast(Op):
    """x in another dtype, as NumPy's astype does it."""

    name = "cast"
    arity = (1, 1)
    traits = frozenset({"elementwise"})
    macs = no_macs
    flops = no_flops
    dtype: str

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.dtype)

    def kernel(self, x: Array) -> Array:
        return x.astype(self.dtype)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x = inputs[0].dtype
        return [cast(cotangents[0], x) if x.kind == "f" and np.dtype(self.dtype).kind == "f" else None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Cast", inputs, to=np.dtype(self.dtype))


def cast(x: Tensor, dtype: Any) -> Tensor:
    """Converts x to another dtype; x itself if it has that dtype already.

    Raises:
        ShapeError: no such dtype.
    """
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise ShapeError(f"{dtype!r} is not a dtype") from None
    return x if x.dtype == dtype else apply(Cast(dtype.name), x)


@from_onnx("Cast")
def _cast(node: Any, x: Tensor) -> Tensor:
    return cast(x, node.dtype("to"))


_FUNCTIONS = {"Relu": relu, "Sigmoid": sigmoid, "Tanh": tanh, "Exp": exp, "Log": log, "Sqrt": sqrt, "Neg": neg}


@from_onnx(*_FUNCTIONS)
def _function(node: Any, x: Tensor) -> Tensor:
    return _FUNCTIONS[node.op_type](x)

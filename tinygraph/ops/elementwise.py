"""Elementwise functions of one tensor: relu, sigmoid, softplus, tanh, exp, log, sqrt, neg, cast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels import activation
from tinygraph.kernels.elementwise import Elementwise, Passes
from tinygraph.ops.arithmetic import by_ufunc, compare, where
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
    one_onnx_node,
    per_output,
    register,
    type_of,
)

__all__ = ["cast", "exp", "log", "neg", "relu", "sigmoid", "softplus", "sqrt", "tanh"]


def by_passes(passes: Callable[..., None], scratch: int, types: Types, workers: int, name: str) -> Prepared | None:
    """A prepared kernel: several NumPy calls, one after the other for each part of x that fits into the cache.

    Args:
        passes: passes(x, y, *scratch) computes y, which may be x itself.
        scratch: arrays like x that it needs.
        types: of the only input.
        workers: threads that may be used.
        name: of the algorithm.
    """
    (x,) = types
    if not x.is_static or x.dtype.itemsize < 4:  # half precision is computed in single
        return None
    routine = Passes(passes, x.dims, x.dtype, scratch, workers)
    return Prepared(
        lambda inputs, outputs, workspace: routine.run(inputs[0], outputs[0], workspace), routine.workspace, name
    )


def of_numbers(self: Op, x: TensorType) -> TensorType:
    """An infer rule: y is of x's type, which may be integers too."""
    if x.dtype.kind not in "iuf":
        raise ShapeError(f"wants numbers, got {x.dtype.name}")
    return x


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
    to_onnx = one_onnx_node

    def kernel(self, x: Array) -> Array:
        y: Array = self.ufunc(x)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_ufunc(self.ufunc, types, workers)


@register
class Relu(Unary):
    """max(x, 0). Its derivative at 0 is 0."""

    name = "relu"
    onnx = ("Relu",)
    infer = of_numbers
    to_onnx = one_onnx_node
    flops = per_output(1)

    def kernel(self, x: Array) -> Array:
        y: Array = np.maximum(x, x.dtype.type(0))
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_ufunc(np.maximum, types, workers, types[0].dtype.type(0))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        # The result is positive where x is, and the layer behind needs it anyway: x need not be kept.
        return [where(compare(outputs[0], 0, ">"), cotangents[0], 0)]


def relu(x: Tensor) -> Tensor:
    """max(x, 0), of x's shape and dtype (floating or integers).

    Source: ONNX Relu; Nair and Hinton 2010.
    """
    return apply(Relu(), x)


@register
class Sigmoid(Unary):
    """1 / (1 + e ** -x)."""

    name = "sigmoid"
    onnx = ("Sigmoid",)
    to_onnx = one_onnx_node
    flops = per_output(4)

    def kernel(self, x: Array) -> Array:
        tail = np.exp(-np.abs(x))  # never overflows
        y: Array = np.where(x < 0, tail, 1) / (1 + tail)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_passes(activation.sigmoid, 0, types, workers, "sigmoid")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        y = outputs[0]
        return [cotangents[0] * y * (1 - y)]


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e ** -x), of x's shape and dtype (floating). Source: ONNX Sigmoid."""
    return apply(Sigmoid(), x)


@register
class Softplus(Unary):
    """log(1 + e ** x)."""

    name = "softplus"
    onnx = ("Softplus",)
    to_onnx = one_onnx_node
    flops = per_output(10)

    def kernel(self, x: Array) -> Array:
        y: Array = np.logaddexp(x, x.dtype.type(0))  # never overflows
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_ufunc(np.logaddexp, types, workers, types[0].dtype.type(0))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * sigmoid(inputs[0])]


def softplus(x: Tensor) -> Tensor:
    """log(1 + e ** x), a smooth max(x, 0), of x's shape and dtype (floating). Source: ONNX Softplus."""
    return apply(Softplus(), x)


@register
class Tanh(Function):
    """The hyperbolic tangent."""

    name = "tanh"
    onnx = ("Tanh",)
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
    onnx = ("Exp",)
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
    onnx = ("Log",)
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
    onnx = ("Sqrt",)
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
    onnx = ("Neg",)
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


def _copy(x: Array, out: Array) -> None:
    np.copyto(out, x, casting="unsafe")


@register
class Cast(Op):
    """x in another dtype, as NumPy's astype does it."""

    name = "cast"
    onnx = ("Cast",)
    arity = (1, 1)
    traits = frozenset({"elementwise"})
    macs = no_macs
    flops = no_flops
    dtype: str

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.dtype)

    def kernel(self, x: Array) -> Array:
        return x.astype(self.dtype)

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        (x,) = types
        if not x.is_static:
            return None
        routine = Elementwise(_copy, [x.dims], x.dims, workers)
        return Prepared(lambda inputs, outputs, _: routine.run(inputs, outputs[0]), 0, "copy")

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
    return x if type_of(x).dtype == dtype else apply(Cast(dtype.name), x)


@from_onnx("Cast")
def _cast(node: Any, x: Tensor) -> Tensor:
    return cast(x, node.dtype("to"))


@from_onnx("CastLike")
def _cast_like(node: Any, x: Tensor, like: Tensor) -> Tensor:
    return cast(x, type_of(like).dtype)


_FUNCTIONS = {
    "Relu": relu,
    "Sigmoid": sigmoid,
    "Softplus": softplus,
    "Tanh": tanh,
    "Exp": exp,
    "Log": log,
    "Sqrt": sqrt,
    "Neg": neg,
}


@from_onnx(*_FUNCTIONS)
def _function(node: Any, x: Tensor) -> Tensor:
    return _FUNCTIONS[node.op_type](x)

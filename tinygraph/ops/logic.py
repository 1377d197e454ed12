"""Functions of truth values: and, or, exclusive or, not."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import TensorType
from tinygraph.ops.arithmetic import Binary
from tinygraph.ops.base import Op, Tensor, apply, from_onnx, not_differentiable, per_output, register
from tinygraph.ops.elementwise import Function
from tinygraph.ops.shape import broadcast

__all__ = ["logical_and", "logical_not", "logical_or", "logical_xor"]


def _booleans(*inputs: TensorType) -> TensorType:
    """The type of results for booleans: of the broadcast shape."""
    for given in inputs:
        if given.dtype.kind != "b":
            raise ShapeError(f"wants booleans, got {given.dtype.name}; compare the numbers with something")
    return TensorType(broadcast(*(t.shape for t in inputs)), np.dtype(bool))


class _Logical(Binary):
    vjp = not_differentiable("its results are true and false")
    traits = frozenset({"elementwise", "commutative"})

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        return _booleans(a, b)


@register
class And(_Logical):
    """Whether both a and b hold."""

    name = "logical_and"
    onnx = ("And",)
    ufunc = np.logical_and


def logical_and(a: Tensor, b: Tensor) -> Tensor:
    """Whether both a and b hold: booleans of the broadcast shape. Source: ONNX And."""
    return apply(And(), a, b)


@register
class Or(_Logical):
    """Whether a or b or both hold."""

    name = "logical_or"
    onnx = ("Or",)
    ufunc = np.logical_or


def logical_or(a: Tensor, b: Tensor) -> Tensor:
    """Whether a or b or both hold: booleans of the broadcast shape. Source: ONNX Or."""
    return apply(Or(), a, b)


@register
class Xor(_Logical):
    """Whether one of a and b holds and the other does not."""

    name = "logical_xor"
    onnx = ("Xor",)
    ufunc = np.logical_xor


def logical_xor(a: Tensor, b: Tensor) -> Tensor:
    """Whether one of a and b holds and the other does not: booleans of the broadcast shape. Source: ONNX Xor."""
    return apply(Xor(), a, b)


@register
class Not(Function):
    """Whether x does not hold."""

    name = "logical_not"
    onnx = ("Not",)
    flops = per_output(1)
    vjp = not_differentiable("its results are true and false")
    ufunc = np.logical_not

    def infer(self, x: TensorType) -> TensorType:
        return _booleans(x)


def logical_not(x: Tensor) -> Tensor:
    """Whether x does not hold: booleans of x's shape. Source: ONNX Not."""
    return apply(Not(), x)


_OPS: dict[str, Op] = {"And": And(), "Or": Or(), "Xor": Xor(), "Not": Not()}


@from_onnx(*_OPS)
def _logical(node: Any, *tensors: Tensor) -> Tensor:
    return apply(_OPS[node.op_type], *tensors)

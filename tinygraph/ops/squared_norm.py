"""The squared Euclidean norm of several arrays taken as one: clipping gradients, and seeing that they are finite."""

from __future__ import annotations

from builtins import sum as total
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import Op, Prepared, Tensor, Types, apply, floating, no_macs, not_in_onnx, register
from tinygraph.ops.elementwise import cast

__all__ = ["squared_norm"]


@register
class SquaredNorm(Op):
    """y = the sum over all elements of all inputs of x[i]^2, a float64 scalar.

    Inputs: one or more, of one floating dtype.
    """

    name = "squared_norm"
    arity = (1, None)
    macs = no_macs
    to_onnx = not_in_onnx("it belongs to training; save an inference graph")

    def infer(self, *xs: TensorType) -> TensorType:
        floating(*xs)
        return TensorType((), np.dtype(np.float64))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 per input element, less 1."""
        return max(0, 2 * total(x.size for x in inputs) - 1)

    def kernel(self, *xs: Array) -> Array:
        return np.asarray(total(float(np.square(x, dtype=np.float64).sum()) for x in xs), np.float64)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared:
        def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
            outputs[0][...] = total(map(_squared, inputs))

        return Prepared(run, 0, "dot")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [x * cast(2 * cotangents[0], x.dtype) for x in inputs]


def _squared(x: Array) -> float:
    """The squared norm of one array; by the dot product, unless the squares are too large for its dtype."""
    flat = x.reshape(-1)
    fast = float(np.dot(flat, flat))
    return fast if np.isfinite(fast) else float(np.einsum("i,i->", flat, flat, dtype=np.float64))


def squared_norm(*xs: Tensor) -> Tensor:
    """The sum of the squares of all elements of several arrays: the squared norm, if they were one vector.

    Args:
        xs: one or more, of one floating dtype.

    Returns:
        A float64 scalar. It is infinite or NaN exactly if an element is, or squares too large for float64.

    Raises:
        ShapeError: there is no array, or the dtypes differ.
    """
    if not xs:
        raise ShapeError("squared_norm wants one or more arrays")
    return apply(SquaredNorm(), *xs)

"""One of two whole tensors, as a condition says that comes out only when the graph runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, TensorType
from tinygraph.ops.base import (
    Op,
    Tensor,
    Types,
    apply,
    no_flops,
    no_macs,
    not_differentiable,
    not_in_onnx,
    register,
    same_dtype,
)

__all__ = ["choose"]


@register
class Choose(Op):
    """y = a if the condition holds, else b.

    Inputs: the condition, bool of one element, a and b, which have as many dimensions and one dtype.

    Attributes:
        shape: of the result: a symbol for each dimension in which a and b differ, unless it is known.
    """

    name = "choose"
    arity = (3, 3)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("which tensor it is depends on numbers")
    to_onnx = not_in_onnx("an If would need the nodes of both of its branches")
    shape: tuple[Dim, ...]

    def infer(self, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
        if condition.dtype != np.bool_ or condition.shape not in ((), (1,)):
            raise ShapeError(f"wants a condition of one bool, got {condition}")
        if not len(self.shape) == a.ndim == b.ndim:
            raise ShapeError(f"wants two tensors of {len(self.shape)} dimensions, got {a} and {b}")
        return TensorType(self.shape, same_dtype(a, b))

    def at_most(self, types: Types) -> int:
        return max((*types[1].dims, *types[2].dims), default=0)

    def kernel(self, condition: Array, a: Array, b: Array) -> Array:
        chosen = a if condition.item() else b
        for want, have in zip(self.shape, chosen.shape, strict=True):
            if isinstance(want, int) and want != have:
                raise ShapeError(f"choose: wants {list(self.shape)}, the condition takes {list(chosen.shape)}")
        return chosen.copy()


def choose(condition: Tensor, a: Tensor, b: Tensor, shape: Sequence[Dim]) -> Tensor:
    """The whole of a if the condition holds, else the whole of b.

    Args:
        condition: bool, one element.
        a: any shape and dtype.
        b: of the same dtype and as many dimensions.
        shape: of the result. A dimension in which a and b differ is a Symbol that the run gives its
            number, or the number itself.

    Raises:
        ShapeError: they do not fit together.

    Source: ONNX If.
    """
    return apply(Choose(TensorType(tuple(shape)).shape), condition, a, b)

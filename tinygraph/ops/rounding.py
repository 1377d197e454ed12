"""Whole numbers near x, of x's dtype: floor, ceil, round."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.ops.base import Tensor, apply, from_onnx, per_output, register
from tinygraph.ops.elementwise import Function

__all__ = ["ceil", "floor", "round"]


class _Rounding(Function):
    """A function that is constant between its steps; its derivative is 0, at the steps too."""

    flops = per_output(1)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [None]


@register
class Floor(_Rounding):
    """The greatest whole number that is at most x. Its derivative is 0."""

    name = "floor"
    onnx = ("Floor",)
    ufunc = np.floor


def floor(x: Tensor) -> Tensor:
    """The greatest whole number that is at most x, of x's shape and dtype (floating). Source: ONNX Floor."""
    return apply(Floor(), x)


@register
class Ceil(_Rounding):
    """The smallest whole number that is at least x. Its derivative is 0."""

    name = "ceil"
    onnx = ("Ceil",)
    ufunc = np.ceil


def ceil(x: Tensor) -> Tensor:
    """The smallest whole number that is at least x, of x's shape and dtype (floating). Source: ONNX Ceil."""
    return apply(Ceil(), x)


@register
class Round(_Rounding):
    """The whole number nearest to x, the even one of two. Its derivative is 0."""

    name = "round"
    onnx = ("Round",)
    ufunc = np.rint


def round(x: Tensor) -> Tensor:
    """The whole number nearest to x, the even one of two, of x's shape and dtype (floating). Source: ONNX Round."""
    return apply(Round(), x)


_FUNCTIONS = {"Floor": floor, "Ceil": ceil, "Round": round}


@from_onnx(*_FUNCTIONS)
def _function(node: Any, x: Tensor) -> Tensor:
    return _FUNCTIONS[node.op_type](x)

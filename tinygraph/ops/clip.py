"""Numbers brought into an interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.arithmetic import by_ufunc, compare, maximum, minimum, where
from tinygraph.ops.base import Exporter, Prepared, Tensor, Types, apply, from_onnx, register
from tinygraph.ops.elementwise import Unary, of_numbers

__all__ = ["clip"]


@register
class Clip(Unary):
    """min(max(x, low), high): high where low > high, NaN where x is NaN. Its derivative at both ends is 0.

    Attributes:
        low: the smallest result, of x's dtype; None if there is no bound.
        high: the largest result.
    """

    name = "clip"
    onnx = ("Clip",)
    low: float | None = None
    high: float | None = None

    def infer(self, x: TensorType) -> TensorType:
        of_numbers(self, x)
        given = [bound for bound in (self.low, self.high) if bound is not None]
        if not given:
            raise ShapeError("wants a bound: give low, high or both")
        if x.dtype.kind in "iu":
            limits = np.iinfo(x.dtype)
            wrong = [bound for bound in given if bound != int(bound) or not limits.min <= bound <= limits.max]
            if wrong:
                raise ShapeError(f"the bound {wrong[0]} is no {x.dtype.name}")
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """1 per output element and bound."""
        return len([bound for bound in (self.low, self.high) if bound is not None]) * outputs[0].size

    def _bounds(self, dtype: np.dtype[Any]) -> list[Array | None]:
        with np.errstate(over="ignore"):  # a bound of single precision may be infinite in half
            return [None if bound is None else np.asarray(bound).astype(dtype) for bound in (self.low, self.high)]

    def kernel(self, x: Array) -> Array:
        low, high = self._bounds(x.dtype)
        y: Array = x if low is None else np.maximum(x, low)
        return y if high is None else np.minimum(y, high)

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        low, high = self._bounds(types[0].dtype)
        if high is None:
            return by_ufunc(np.maximum, types, workers, low)
        return (
            by_ufunc(np.minimum, types, workers, high) if low is None else by_ufunc(np.clip, types, workers, low, high)
        )

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        # As for relu the result tells where x is inside: x need not be kept.
        c = cotangents[0]
        if self.low is not None:
            c = where(compare(outputs[0], self.low, ">"), c, 0)
        if self.high is not None:
            c = where(compare(outputs[0], self.high, "<"), c, 0)
        return [c]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        names = ["" if bound is None else export.const(bound) for bound in self._bounds(types[0].dtype)]
        return export.node("Clip", [*inputs, *(names if names[1] else names[:1])])


def clip(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Brings the numbers of x into the interval from low to high: min(max(x, low), high).

    Args:
        x: numbers.
        low: the smallest result; none if it is left out. For integers a whole number.
        high: the largest result, also where low is larger.

    Returns:
        Of x's shape and dtype; x itself if there is no bound. relu6 is clip(x, 0, 6).

    Raises:
        ShapeError: x is no numbers, or a bound is no number of its dtype.

    Source: ONNX Clip.
    """
    return x if low is None and high is None else apply(Clip(low, high), x)


@from_onnx("Clip")
def _clip(node: Any, x: Tensor, low: Tensor = None, high: Tensor = None) -> Tensor:
    if node.opset < 11:
        return clip(x, node.get("min"), node.get("max"))
    known = [None if bound is None else node.constant(i) for i, bound in ((1, low), (2, high))]
    if all(bound is None or array is not None for bound, array in zip((low, high), known, strict=True)):
        return clip(x, *(None if array is None else array.item() for array in known))
    y = x if low is None else maximum(x, low)
    return y if high is None else minimum(y, high)

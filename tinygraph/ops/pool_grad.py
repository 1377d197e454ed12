"""The gradients of max and min pooling.

The set is closed under vjp: the gradient of max_pool is max_pool_grad, which scatters; the
gradient of that is max_pool_gather, which picks; and the gradient of picking is scattering again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels.pool_scatter import Scatter
from tinygraph.ops.base import Prepared, Types, apply, family, floating, gradient_not_in_onnx, register
from tinygraph.ops.pool import Pool, bounds

__all__: list[str] = []


@family
class Winners(Pool):
    """An op that moves numbers between the windows and the element that won each of them.

    The winner is the first largest (or smallest) element of the window in row-major order; a NaN
    wins over all numbers.

    Attributes:
        smallest: whether the smallest element wins.
    """

    smallest: bool = False

    arity = (2, 2)
    to_onnx = gradient_not_in_onnx

    def winners(self, x: Array, counts: Sequence[int]) -> Array:
        """The number of the tap that wins each window."""
        score = -x if self.smallest else x
        worst = bounds(x.dtype)[0]
        frame = self.frame(score, counts, worst)
        inside = self.frame(np.ones((1, 1, *x.shape[2:]), bool), counts, False)
        best = np.full((*x.shape[:2], *counts), worst, x.dtype)
        winner = np.full(best.shape, -1, np.int32)
        for number, region in enumerate(self.regions(counts)):
            tap = frame[region]
            wins = (winner < 0) | (tap > best) | (np.isnan(tap) & ~np.isnan(best))
            wins &= inside[region]
            np.copyto(best, tap, where=wins)
            np.copyto(winner, number, where=wins)
        return winner


@register
class ExtremeGrad(Winners):
    """dx = sum over windows of g at the element that won: the gradient of max_pool and min_pool.

    Inputs: x [N, C, *spatial], and g, one number per window. Result: of x's type.
    """

    name = "max_pool_grad"

    def infer(self, x: TensorType, g: TensorType) -> TensorType:
        floating(x)
        if self.pooled(x) != g:
            raise ShapeError(f"the windows are {self.pooled(x)}, the cotangent is {g}")
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """1 per element of each window, padding counted: comparisons to find the winner, and one addition."""
        return self.taps * inputs[1].size

    def kernel(self, x: Array, g: Array) -> Array:
        counts = g.shape[2:]
        winner = self.winners(x, counts)
        frame = self.frame(np.zeros_like(x), counts, 0.0)
        for number, region in enumerate(self.regions(counts)):
            frame[region] += np.where(winner == number, g, g.dtype.type(0))
        return np.ascontiguousarray(self.crop(frame, x.shape[2:]))

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared:
        scatter = Scatter(self.separable(types[0], workers))
        better = np.minimum if self.smallest else np.maximum

        def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
            x, g = inputs
            if not scatter.run(better, x, g, outputs[0], workspace):
                outputs[0][...] = self.kernel(x, g)

        return Prepared(run, scatter.workspace, "separable")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        gather = ExtremeGather(**self.attributes, smallest=self.smallest)
        return [None, apply(gather, inputs[0], cotangents[0])]


@register
class ExtremeGather(Winners):
    """y[n, c, o] = t at the element of x that won window o: the gradient of max_pool_grad.

    Inputs: x and t, both [N, C, *spatial]. Result: one number per window.
    """

    name = "max_pool_gather"

    def infer(self, x: TensorType, t: TensorType) -> TensorType:
        floating(x)
        if x != t:
            raise ShapeError(f"the array to pick from is {t}, the array that was pooled is {x}")
        return self.pooled(x)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(prod(kernel) - 1) per output element: comparisons to find the winner."""
        return (self.taps - 1) * outputs[0].size

    def kernel(self, x: Array, t: Array) -> Array:
        counts = self.pooled(TensorType.of(x)).dims[2:]
        winner = self.winners(x, counts)
        frame = self.frame(t, counts, 0.0)
        y = np.zeros((*x.shape[:2], *counts), t.dtype)
        for number, region in enumerate(self.regions(counts)):
            np.copyto(y, frame[region], where=winner == number)
        return y

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        scatter = ExtremeGrad(**self.attributes, smallest=self.smallest)
        return [None, apply(scatter, inputs[0], cotangents[0])]

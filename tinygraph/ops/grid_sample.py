"""Sampling at the points of a grid, as spatial transformers do."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels import sampling
from tinygraph.ops.base import (
    CALL,
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    no_macs,
    register,
    type_of,
)
from tinygraph.ops.elementwise import cast
from tinygraph.ops.index import slice
from tinygraph.ops.sampling import TapIndex, TapSum, TapWeight, check_modes
from tinygraph.ops.shape import reshape

__all__ = ["grid_sample"]


@register
class GridSample(Op):
    """y[n, c, p] = sum over taps of weight * x[n, c, tap], around the point grid[n, p].

    x [N, C, *spatial], grid [N, *points, axes] -> y [N, C, *points]. A point has a number for each spatial
    axis, the last axis first; -1 and 1 are the ends of an axis.

    Attributes:
        mode: "linear" (bilinear, trilinear), "nearest" (halves to even) or "cubic".
        padding: what lies around x: "zeros"; "border", its ends repeated; "reflection".
        align_corners: -1 and 1 are the centres of the first and the last number; else their outer borders.
    """

    name = "grid_sample"
    onnx = ("GridSample",)
    arity = (2, 2)
    traits = frozenset({"linear"})
    macs = no_macs
    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False

    def infer(self, x: TensorType, grid: TensorType) -> TensorType:
        check_modes(self.mode, self.padding)
        floating(x)
        floating(grid)
        axes = x.ndim - 2
        if axes < 1 or grid.ndim != x.ndim or grid.shape[-1] != axes:
            raise ShapeError("wants x [N, C, *spatial] and points [N, *points, axes], as many axes as x has")
        if x.shape[0] != grid.shape[0]:
            raise ShapeError(f"the batches of x and of the grid differ: {x.shape[0]} and {grid.shape[0]}")
        if 0 in x.shape[2:]:
            raise ShapeError(f"there is nothing to read in {x}")
        return x.with_shape((*x.shape[:2], *grid.shape[1:-1]))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 taps - 1 per output element; nearest 0."""
        taps = len(sampling.FILTERS[self.mode][1]) ** (inputs[0].ndim - 2)
        return (2 * taps - 1) * outputs[0].size if self.mode != "nearest" else 0

    def work(self, inputs: Types, outputs: Types) -> int:
        """The kernel goes from sample to sample, and from tap to tap."""
        taps: int = len(sampling.FILTERS[self.mode][1]) ** (inputs[0].ndim - 2)
        return super().work(inputs, outputs) + CALL * inputs[0].dims[0] * (1 + taps)

    def kernel(self, x: Array, grid: Array) -> Array:
        wide, points = (a.astype(np.result_type(a.dtype, np.float32), copy=False) for a in (x, grid))
        at = sampling.unnormalized(points, x.shape[2:], self.align_corners)
        return sampling.sample(wide, at, self.mode, self.padding, self.align_corners).astype(x.dtype, copy=False)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.transforms import vjp  # which knows every op

        _, pull = vjp(self._formula, *inputs)
        return pull(cotangents[0])

    def _formula(self, x: Tensor, grid: Tensor) -> Tensor:
        """The same in ops that have gradients of their own."""
        type, points = type_of(x), type_of(grid).dims[1:-1]
        sizes = type.with_shape(type.shape[2:]).dims
        last = slice(grid, *zip(*[(None, None, None)] * (grid.ndim - 1), (None, None, -1), strict=True))
        places = reshape(last, (type.shape[0], prod(points), len(sizes))) + 1
        length = np.array(sizes, type_of(grid).dtype)
        at = places / 2 * (length - 1) if self.align_corners else (places * length - 1) / 2
        how = (sizes, self.mode, self.padding, self.align_corners)
        weight = cast(apply(TapWeight(*how), at), type.dtype)
        row = reshape(x, (*type.shape[:2], prod(sizes)))
        return reshape(apply(TapSum(), row, apply(TapIndex(*how), at), weight), (*type.shape[:2], *points))

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node(
            "GridSample",
            inputs,
            mode=self.mode,
            padding_mode=self.padding,
            align_corners=int(self.align_corners),
        )


def grid_sample(
    x: Tensor, grid: Tensor, mode: str = "linear", padding: str = "zeros", align_corners: bool = False
) -> Tensor:
    """Reads x at the points of a grid.

    Args:
        x: [N, C, *spatial], floating.
        grid: [N, *points, axes], floating: a number between -1 and 1 for each spatial axis, the last axis first.
        mode: "linear" (bilinear, trilinear), "nearest" (halves to even) or "cubic".
        padding: what lies around x: "zeros"; "border", its ends repeated; "reflection".
        align_corners: -1 and 1 are the centres of the first and the last number; else their outer borders.

    Returns:
        [N, C, *points] of x's dtype.

    Raises:
        ShapeError: the points do not fit x, or a mode is unknown.

    Source: Jaderberg et al. 2015; ONNX GridSample.
    """
    return apply(GridSample(mode, padding, bool(align_corners)), x, grid)


_OLD_MODES = {"bilinear": "linear", "bicubic": "cubic"}  # before opset 20


@from_onnx("GridSample")
def _grid_sample(node: Any, x: Tensor, grid: Tensor) -> Tensor:
    mode = node.get("mode", "linear")
    padding = node.get("padding_mode", "zeros")
    return grid_sample(x, grid, _OLD_MODES.get(mode, mode), padding, bool(node.get("align_corners", 0)))

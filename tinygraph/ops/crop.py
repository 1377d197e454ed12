"""Axes cropped or padded to a size of their own: center_crop_pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygraph.errors import ShapeError
from tinygraph.ir import Dim, Symbol
from tinygraph.ops.base import Tensor, from_onnx, normal_axis, type_of
from tinygraph.ops.pad import pad

__all__ = ["center_crop_pad"]


def center_crop_pad(x: Tensor, sizes: Sequence[Dim], axes: Sequence[int] | None = None) -> Tensor:
    """Cuts off as much at both ends of an axis, or adds as many zeros, as it takes to give it a size.

    Of an odd number, the larger half is cut off or added behind.

    Args:
        x: any shape and dtype.
        sizes: one for each of the axes.
        axes: of x; all of them by default. An open one keeps its size.

    Raises:
        ShapeError: the sizes do not fit the axes.

    Source: ONNX CenterCropPad.
    """
    shape = type_of(x).shape
    named = range(len(shape)) if axes is None else [normal_axis(int(a), len(shape)) for a in axes]
    if len(sizes) != len(named):
        raise ShapeError(f"center_crop_pad: {len(sizes)} sizes for {len(named)} axes")
    pads = [(0, 0)] * len(shape)
    for axis, size in zip(named, sizes, strict=True):
        pads[axis] = _centered(shape[axis], size)
    return pad(x, pads) if any(map(any, pads)) else x


def _centered(dim: Dim, size: Dim) -> tuple[int, int]:
    """Pads before and behind, negative where the axis is cropped."""
    if dim == size:
        return 0, 0
    if isinstance(dim, Symbol) or isinstance(size, Symbol):
        raise ShapeError(f"cannot make {size} of the open dimension {dim}: bind it first")
    missing = size - dim
    before = missing // 2 if missing > 0 else -(-missing // 2)
    return before, missing - before


@from_onnx("CenterCropPad")
def _center_crop_pad(node: Any, x: Tensor, shape: Tensor) -> Tensor:
    return center_crop_pad(x, node.sizes(1, "shape"), node.get("axes"))

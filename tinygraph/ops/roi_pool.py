"""The largest number in each bin of a region of interest."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels.places import places_of
from tinygraph.kernels.rois import bin_ranges
from tinygraph.ops.base import (
    CALL,
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    no_flops,
    no_macs,
    not_differentiable,
    register,
)
from tinygraph.ops.windows import per_axis

__all__ = ["max_roi_pool"]


@register
class MaxRoiPool(Op):
    """y[r, c, bin] = max of x[batch, c] over the numbers of the bin; 0 where the bin has none.

    Inputs: x [N, C, H, W], and boxes [R, 5] as batch, x1, y1, x2, y2. Times the scale, the ends are rounded to whole
    numbers, halves away from 0, and both belong to the box, which is at least 1 wide and high.

    Attributes:
        bins: of a box, along y and along x.
        scale: from the coordinates of a box to those of the feature map.
    """

    name = "max_roi_pool"
    onnx = ("MaxRoiPool",)
    arity = (2, 2)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("it is here to run old detectors; train with roi_align")
    bins: tuple[int, int]
    scale: float = 1.0

    def infer(self, x: TensorType, rois: TensorType) -> TensorType:
        floating(x, rois)
        if x.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 5:
            raise ShapeError(f"wants a feature map [N, C, H, W] and boxes [R, 5], got {x} and {rois}")
        if len(self.bins) != 2 or min(self.bins) < 1 or not 0 < self.scale < np.inf:
            raise ShapeError(f"{self.bins} bins and scale {self.scale} make no sense")
        return x.with_shape((rois.shape[0], x.shape[1], *self.bins))

    def work(self, inputs: Types, outputs: Types) -> int:
        """The kernel goes from box to box, and from bin to bin."""
        return super().work(inputs, outputs) + CALL * inputs[1].dims[0] * prod(self.bins)

    def kernel(self, x: Array, rois: Array) -> Array:
        samples = places_of(rois[:, 0].astype(np.int64), len(x))
        ends = rois[:, 1:] * np.asarray(self.scale, rois.dtype)
        ends = np.copysign(np.floor(np.abs(ends) + 0.5), ends)
        y = np.zeros((len(rois), x.shape[1], *self.bins), x.dtype)
        for sample, (x1, y1, x2, y2), result in zip(samples, ends, y, strict=True):
            rows, columns = bin_ranges(y1, y2, self.bins[0], x.shape[2]), bin_ranges(x1, x2, self.bins[1], x.shape[3])
            for i, j in np.ndindex(*self.bins):
                part = x[sample, :, rows[i], columns[j]]
                if part.size:
                    result[:, i, j] = part.max((1, 2))
        return y

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("MaxRoiPool", inputs, pooled_shape=list(self.bins), spatial_scale=self.scale)


def max_roi_pool(x: Tensor, rois: Tensor, bins: Any, scale: float = 1.0) -> Tensor:
    """The largest number in each bin of boxes of a feature map.

    Args:
        x: [N, C, H, W], floating.
        rois: [R, 5], of x's dtype: the sample of each box, and x1, y1, x2, y2.
        bins: of a box: one number, or one along y and one along x. They may overlap, and may be empty: 0.
        scale: from the coordinates of a box to those of x.

    Returns:
        [R, C, *bins] of x's dtype.

    Raises:
        ShapeError: the boxes do not fit x.

    Source: Girshick 2015; ONNX MaxRoiPool.
    """
    both = per_axis(bins, 2, "bins")
    return apply(MaxRoiPool((both[0], both[1]), float(scale)), x, rois)


@from_onnx("MaxRoiPool")
def _max_roi_pool(node: Any, x: Tensor, rois: Tensor) -> Tensor:
    bins = node.get("pooled_shape")
    if bins is None:
        raise ModelFormatError("the attribute 'pooled_shape' is missing")
    return max_roi_pool(x, rois, bins, node.get("spatial_scale", 1.0))

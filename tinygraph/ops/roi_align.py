"""Regions of interest read with bilinear interpolation."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import BudgetError, NotDifferentiable, ShapeError
from tinygraph.ir import Array, Dim, TensorType
from tinygraph.kernels.places import places_of
from tinygraph.kernels.rois import bin_taps
from tinygraph.kernels.sampling import tap_scatter, tap_sum
from tinygraph.ops.base import (
    CALL,
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    gradient_not_in_onnx,
    no_macs,
    register,
)
from tinygraph.ops.windows import per_axis

__all__ = ["roi_align"]

_MOST = 1 << 20  # points of a box; without `samples` they are as many as its numbers say


@family
class OverRois(Op):
    """What reading the bins of boxes and its transpose share.

    Attributes:
        bins: of a box, along y and along x.
        samples: points in a bin along each axis; 0 for as many as the bin is long, rounded up.
        scale: from the coordinates of a box to those of the feature map.
        half_pixel: 0 is the border of the first number; else its centre, and a box is at least 1 wide and high.
    """

    bins: tuple[int, int]
    samples: int = 0
    scale: float = 1.0
    half_pixel: bool = True

    arity = (3, 3)
    macs = no_macs

    def check_boxes(self, x: TensorType, rois: TensorType, batch: TensorType) -> None:
        """Raises ShapeError unless the boxes fit a map x and the attributes make sense."""
        floating(x)
        floating(rois)
        if x.ndim != 4 or 0 in x.shape[2:]:
            raise ShapeError(f"wants a feature map [N, C, H, W] that is not empty, got {x}")
        if rois.ndim != 2 or rois.shape[1] != 4 or batch.shape != rois.shape[:1] or batch.dtype.kind not in "iu":
            raise ShapeError(f"wants boxes [R, 4] and as many indices [R] into the batch, got {rois} and {batch}")
        if len(self.bins) != 2 or min(self.bins) < 1 or self.samples < 0 or not 0 < self.scale < np.inf:
            raise ShapeError(f"{self.bins} bins, {self.samples} samples and scale {self.scale} make no sense")

    def taps(self, roi: Array, sizes: Any) -> tuple[Array, Array]:
        """The taps of the bins of a box in a map as one row: indices and weights, [bins, points, 4].

        Raises:
            BudgetError: so many points have no room.
        """
        lengths = np.abs(np.subtract(roi[2:], roi[:2], dtype=np.float64)) * self.scale
        along = np.maximum(lengths if np.isfinite(lengths).all() else 0, self.bins[::-1])
        points = self.samples**2 * prod(self.bins) or float(along.prod())
        if points > _MOST:
            raise BudgetError(f"{self.name}: a box of {points:g} points; clip the boxes to the map first")
        return bin_taps(roi, self.bins, sizes, self.samples, self.scale, self.half_pixel)

    def means(self, roi: Array, sizes: Any) -> tuple[Array, Array]:
        """The taps of the means over the points of each bin, [1, bins, taps]: not more than the map has numbers."""
        index, weight = self.taps(roi, sizes)
        bins, points, _ = index.shape
        index, weight = index.reshape(bins, -1), weight.reshape(bins, -1) / max(points, 1)
        if index.shape[1] > prod(sizes):
            each = np.zeros((bins, prod(sizes)))
            np.add.at(each, (np.arange(bins)[:, None], index), weight)
            index, weight = np.broadcast_to(np.arange(prod(sizes)), each.shape), each
        return index[None], weight[None]

    def work(self, inputs: Types, outputs: Types) -> int:
        """The kernels go from box to box, and from tap to tap; samples that depend on the boxes may be many."""
        boxes, channels, bins = inputs[1].dims[0], inputs[0].dims[1], prod(self.bins)
        numbers = max(prod(t.dims[2:]) for t in (inputs[0], outputs[0]))
        taps = min(4 * self.samples**2 or numbers, numbers)
        each = CALL * (10 + taps) + 2 * taps * channels * bins + 4 * (self.samples**2 * bins or _MOST)
        return super().work(inputs, outputs) + boxes * each

    @property
    def counted(self) -> int:
        """Points of a bin that are counted: how many there are of them by default depends on the boxes."""
        return max(self.samples, 1) ** 2


@register
class RoiAlign(OverRois):
    """y[r, c, bin] = mean, or maximum, over the points of the bin of x[batch[r], c] read between its numbers.

    Inputs: x [N, C, H, W], boxes [R, 4] as x1, y1, x2, y2, and whole numbers batch [R]. A point that is more than 1
    outside of x reads 0. The maximum is over the four neighbours of the points, each times its bilinear weight, as
    ONNX has it. Boxes are held fixed: the gradient goes to x only.

    Attributes:
        mode: "avg" or "max".
    """

    name = "roi_align"
    onnx = ("RoiAlign", "Cast")
    mode: str = "avg"

    def infer(self, x: TensorType, rois: TensorType, batch: TensorType) -> TensorType:
        self.check_boxes(x, rois, batch)
        if self.mode not in ("avg", "max"):
            raise ShapeError(f"the mode is 'avg' or 'max', got {self.mode!r}")
        return x.with_shape((rois.shape[0], x.shape[1], *self.bins))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """8 samples**2 per output element; samples that depend on the boxes count as 1."""
        return 8 * self.counted * outputs[0].size

    def kernel(self, x: Array, rois: Array, batch: Array) -> Array:
        n, c, *sizes = x.shape
        rows = x.reshape(n, c, prod(sizes)).astype(np.result_type(x.dtype, np.float32), copy=False)
        y = np.zeros((len(rois), c, prod(self.bins)), rows.dtype)
        for roi, sample, result in zip(rois, places_of(batch, n), y, strict=True):
            if self.mode == "avg":
                result[...] = tap_sum(rows[sample : sample + 1], *self.means(roi, sizes))[0]
                continue
            index, weight = self.taps(roi, sizes)
            step = max(1, _MOST // max(index.size, 1))
            for first in range(0, c if index.size else 0, step):
                part = rows[sample, first : first + step]
                result[first : first + step] = (part[:, index] * weight.astype(rows.dtype)).max((2, 3))
        return y.reshape(len(rois), c, *self.bins).astype(x.dtype, copy=False)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        if self.mode == "max":
            raise NotDifferentiable("roi_align has no gradient in mode 'max'; use mode 'avg'")
        x, rois, batch = inputs
        shape = (x.shape[0], *x.shape[2:])
        grad = RoiAlignGrad(self.bins, self.samples, self.scale, self.half_pixel, shape)
        return [apply(grad, cotangents[0], rois, batch), None, None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        x, rois, batch = inputs
        if types[1].dtype != types[0].dtype:
            rois = export.node("Cast", [rois], to=types[0].dtype)
        if types[2].dtype != np.int64:
            batch = export.node("Cast", [batch], to=np.dtype(np.int64))
        return export.node(
            "RoiAlign",
            [x, rois, batch],
            mode=self.mode,
            output_height=self.bins[0],
            output_width=self.bins[1],
            sampling_ratio=self.samples,
            spatial_scale=self.scale,
            coordinate_transformation_mode="half_pixel" if self.half_pixel else "output_half_pixel",
        )


@register
class RoiAlignGrad(OverRois):
    """dx[n, c, h, w] = sum of weight * g[r, c, bin] over the taps at h, w of boxes of sample n.

    Inputs: g [R, C, *bins], and the boxes and batch of roi_align in mode "avg", whose transpose this is.

    Attributes:
        shape: of the result, without its channels: N, H, W.
    """

    name = "roi_align_grad"
    to_onnx = gradient_not_in_onnx
    shape: tuple[Dim, ...] = ()

    def infer(self, g: TensorType, rois: TensorType, batch: TensorType) -> TensorType:
        if g.ndim != 4 or g.shape != (*rois.shape[:1], g.shape[1], *self.bins) or len(self.shape) != 3:
            raise ShapeError(f"wants a number for each box, channel and bin, got {g}")
        x = g.with_shape((self.shape[0], g.shape[1], *self.shape[1:]))
        self.check_boxes(x, rois, batch)
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """8 samples**2 per element of g; samples that depend on the boxes count as 1."""
        return 8 * self.counted * inputs[0].size

    def kernel(self, g: Array, rois: Array, batch: Array) -> Array:
        n, *sizes = TensorType(self.shape).dims
        shares = g.reshape(*g.shape[:2], -1).astype(np.result_type(g.dtype, np.float32), copy=False)
        dx = np.zeros((n, g.shape[1], prod(sizes)), shares.dtype)
        for roi, sample, share in zip(rois, places_of(batch, n), shares, strict=True):
            dx[sample] += tap_scatter(share[None], *self.means(roi, sizes), prod(sizes))[0]
        return dx.reshape(n, g.shape[1], *sizes).astype(g.dtype, copy=False)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        _, rois, batch = inputs
        back = RoiAlign(self.bins, self.samples, self.scale, self.half_pixel)
        return [apply(back, cotangents[0], rois, batch), None, None]


def roi_align(
    x: Tensor,
    rois: Tensor,
    batch: Tensor,
    bins: Any,
    samples: int = 0,
    scale: float = 1.0,
    half_pixel: bool = True,
    mode: str = "avg",
) -> Tensor:
    """Reads boxes of a feature map as bins of a fixed number.

    The gradient goes to x; the boxes are held fixed, as torchvision does.

    Args:
        x: [N, C, H, W], floating.
        rois: boxes [R, 4], floating: x1, y1, x2, y2.
        batch: whole numbers [R]: the sample of each box.
        bins: of a box: one number, or one along y and one along x.
        samples: points in a bin along each axis; 0 for as many as the bin is long, rounded up.
        scale: from the coordinates of a box to those of x.
        half_pixel: 0 is the border of the first number (torchvision's `aligned`); else its centre.
        mode: "avg" or "max" of the points.

    Returns:
        [R, C, *bins] of x's dtype.

    Raises:
        ShapeError: the boxes do not fit x.

    Source: He et al. 2017; ONNX RoiAlign.
    """
    both = per_axis(bins, 2, "bins")
    return apply(RoiAlign((both[0], both[1]), int(samples), float(scale), bool(half_pixel), mode), x, rois, batch)


@from_onnx("RoiAlign")
def _roi_align(node: Any, x: Tensor, rois: Tensor, batch_indices: Tensor) -> Tensor:
    default = "half_pixel" if node.opset >= 16 else "output_half_pixel"
    coordinates = node.get("coordinate_transformation_mode", default)
    if coordinates not in ("half_pixel", "output_half_pixel"):
        raise ShapeError(f"RoiAlign: there are no coordinates {coordinates!r}")
    return roi_align(
        x,
        rois,
        batch_indices,
        (node.get("output_height", 1), node.get("output_width", 1)),
        node.get("sampling_ratio", 0),
        node.get("spatial_scale", 1.0),
        coordinates == "half_pixel",
        node.get("mode", "avg"),
    )

"""What resizing of axes and its transpose share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Symbol, TensorType
from tinygraph.kernels.interpolation import COORDINATES, MODES, ROUNDINGS, Rule, Taps, inside, reach, taps
from tinygraph.ops.base import CALL, Op, Types, family, no_macs, normal_axis

__all__: list[str] = []


@family
class Resampling(Op):
    """What resizing and its transpose share.

    Every mode is linear in x and separable: along an axis, y[i] = sum over k of weight[i, k] x[index[i, k]].

    Attributes:
        axes: that are resized, ascending.
        size: of the result, on these axes.
        scales: how much longer each axis gets, if that is another number than the quotient of the sizes.
        mode: "nearest", "linear" or "cubic".
        coordinates: where the numbers of the result lie in x: "half_pixel" (x + 1/2) / scale - 1/2;
            "half_pixel_symmetric" the same about the centre of the axis; "pytorch_half_pixel" the same, but
            0 where the result has one number; "asymmetric" x / scale; "align_corners" from the first number
            of x to its last; "tf_crop_and_resize" from `start` to `end` of `roi`.
        rounding: of coordinates, in mode "nearest": "round_prefer_floor", "round_prefer_ceil", "floor", "ceil".
        cubic_a: the coefficient of the cubic filter.
        exclude_outside: taps outside of x have no weight; else they repeat the ends of x.
        antialias: the filter is stretched where an axis shrinks.
        roi: for "tf_crop_and_resize": (start, end) on each axis, 0 being the first number of x and 1 its last.
    """

    axes: tuple[int, ...]
    size: tuple[int, ...]
    scales: tuple[float, ...] = ()
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    roi: tuple[tuple[float, float], ...] = ()

    arity = (1, 1)
    traits = frozenset({"linear"})
    macs = no_macs

    @property
    def attributes(self) -> dict[str, Any]:
        """All but the sizes of the result and what it has from nowhere."""
        names = ("axes", "scales", "mode", "coordinates", "rounding", "cubic_a", "exclude_outside", "antialias", "roi")
        return {name: getattr(self, name) for name in names}

    def checked(self, type: TensorType) -> TensorType:
        """The type with the axes of their new sizes; ShapeError if the attributes make no sense."""
        for value, known in ((self.mode, MODES), (self.coordinates, COORDINATES), (self.rounding, ROUNDINGS)):
            if value not in known:
                raise ShapeError(f"does not know {value!r}; give one of {', '.join(known)}")
        if self.mode == "nearest" and (self.antialias or self.exclude_outside):
            raise ShapeError("antialias and exclude_outside are for the modes linear and cubic")
        count = len(self.axes)
        if (
            not count
            or len(self.size) != count
            or len(self.scales) not in (0, count)
            or len(self.roi) not in (0, count)
        ):
            raise ShapeError(
                f"wants axes to resize, a size for each of {count}, and a scale and a part for each or none"
            )
        if list(self.axes) != sorted({normal_axis(axis, type.ndim) for axis in self.axes}):
            raise ShapeError(f"axes {self.axes} must ascend")
        if self.coordinates == "tf_crop_and_resize" and not self.roi:
            raise ShapeError("'tf_crop_and_resize' wants a roi: start and end on each axis")
        if not all(np.isfinite(s) and s > 0 for s in self.scales) or not np.all(np.isfinite(self.roi)):
            raise ShapeError(f"scales {self.scales} must be above 0, and roi {self.roi} finite")
        shape = list(type.shape)
        for axis, size in zip(self.axes, self.size, strict=True):
            old = shape[axis]
            if isinstance(old, Symbol):
                raise ShapeError(f"cannot resize the open dimension {old}: bind it first")
            if min(old, size) < 1:
                raise ShapeError(f"cannot resize an axis of {old} to {size}: there must be a number on both sides")
            shape[axis] = size
        if self.mode != "nearest":
            _check_numbers(type)
        return type.with_shape(shape)

    def tables(self, before: Sequence[int], after: Sequence[int]) -> list[Taps]:
        """The taps along each axis, from its size before resizing and behind."""
        return [_taps(*axis) for axis in self._axes(before, after)]

    def counts(self, before: Sequence[int], after: Sequence[int]) -> list[tuple[int, int]]:
        """Along each axis, how many numbers do not lie outside, and how many taps each has; without tables."""
        return [
            (inside(rule, old, new, scale, roi), reach(rule, old, new, scale))
            for rule, old, new, scale, roi in self._axes(before, after)
        ]

    def scratch(self, inputs: Types, outputs: Types) -> int:
        """The tables, and arrays of which some axes are resized already."""
        before, after = (self.picked(t.dims) for t in (inputs[0], outputs[0]))
        if len(self.size) and tuple(after) != tuple(self.size):  # of the transpose
            before, after = after, before
        tables = sum(new * taps * _PER_TAP for new, (_, taps) in zip(after, self.counts(before, after), strict=True))
        mixed = prod(max(old, new) for old, new in zip(inputs[0].dims, outputs[0].dims, strict=True))
        return tables + mixed * computing(inputs[0].dtype).itemsize

    def work(self, inputs: Types, outputs: Types) -> int:
        """The kernels go from tap to tap, the transpose from row to row too."""
        before, after = (self.picked(t.dims) for t in (inputs[0], outputs[0]))
        taps = sum(count for pair in ((before, after), (after, before)) for _, count in self.counts(*pair))
        return super().work(inputs, outputs) + CALL * taps

    def _axes(self, before: Sequence[int], after: Sequence[int]) -> Iterator[Any]:
        rule = Rule(
            self.mode, self.coordinates, self.rounding, self.cubic_a, bool(self.exclude_outside), bool(self.antialias)
        )
        scales = self.scales or (None,) * len(self.axes)
        rois = self.roi or ((0.0, 1.0),) * len(self.axes)
        return ((rule, *axis) for axis in zip(before, after, scales, rois, strict=True))

    def picked(self, dims: Sequence[Any]) -> list[int]:
        """The sizes of the resized axes among those of an array."""
        return [dims[axis] for axis in self.axes]


_PER_TAP = 64  # bytes of a table, while it is made
_taps = lru_cache(maxsize=64)(taps)


def _check_numbers(type: TensorType) -> None:
    if type.dtype.kind not in "iuf":
        raise ShapeError(f"only mode 'nearest' takes {type.dtype.name}")


def computing(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that numbers are weighted in."""
    return np.dtype(np.float64) if dtype.kind in "iu" else np.result_type(dtype, np.float32)

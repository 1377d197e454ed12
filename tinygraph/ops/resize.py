"""Resizing of any axes: nearest, linear and cubic interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import floor, prod
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError, UnsupportedOp
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.kernels.interpolation import COORDINATES, MODES, ROUNDINGS, Rule, Taps, taps
from tinygraph.kernels.resize import Resized, fill_outside, gather
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    apply,
    family,
    from_onnx,
    no_macs,
    normal_axis,
    register,
    type_of,
)

__all__ = ["resize"]


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
        rule = Rule(
            self.mode, self.coordinates, self.rounding, self.cubic_a, bool(self.exclude_outside), bool(self.antialias)
        )
        scales = self.scales or (None,) * len(self.axes)
        rois = self.roi or ((0.0, 1.0),) * len(self.axes)
        return [_taps(rule, *axis) for axis in zip(before, after, scales, rois, strict=True)]

    def picked(self, dims: Sequence[Any]) -> list[int]:
        """The sizes of the resized axes among those of an array."""
        return [dims[axis] for axis in self.axes]


_taps = lru_cache(maxsize=64)(taps)


def _check_numbers(type: TensorType) -> None:
    if type.dtype.kind not in "iuf":
        raise ShapeError(f"only mode 'nearest' takes {type.dtype.name}")


@register
class Resize(Resampling):
    """y = x resized along some axes, one after the other: y[i] = sum over k of weight[i, k] x[index[i, k]].

    Integers are rounded to the nearest, halves to even, and kept within the limits of their dtype.

    Attributes:
        extrapolation: for "tf_crop_and_resize": what stands in the result where it lies outside of x.
    """

    name = "resize"
    onnx = ("Resize",)
    extrapolation: float = 0.0

    def infer(self, x: TensorType) -> TensorType:
        return self.checked(x)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 taps - 1 per element that is not outside, for each axis, from the last on; nearest 0."""
        if self.mode == "nearest":
            return 0
        dims, total = list(inputs[0].dims), 0
        tables = self.tables(self.picked(dims), self.size)
        for axis, table in reversed(list(zip(self.axes, tables, strict=True))):
            dims[axis] = table.inside
            total += (2 * table.index.shape[1] - 1) * prod(dims)
            dims[axis] = len(table.index)
        return total

    def kernel(self, x: Array) -> Array:
        tables = self.tables(self.picked(x.shape), self.size)
        y = x if self.mode == "nearest" else x.astype(computing(x.dtype), copy=False)
        for axis, table in reversed(list(zip(self.axes, tables, strict=True))):
            y = gather(y, axis, table)
        if x.dtype.kind != "f" and self.mode != "nearest":
            limits = np.iinfo(x.dtype)
            y = np.clip(np.rint(y), limits.min, limits.max)
        y = y.astype(x.dtype, copy=False)
        fill_outside(y, self.axes, tables, self.extrapolation)
        return y

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        (x,) = types
        if not x.is_static or not x.size or (self.mode != "nearest" and computing(x.dtype) != x.dtype):
            return None
        tables = self.tables(self.picked(x.dims), self.size)
        if any(table.outside.any() for table in tables):
            return None
        routine = Resized(x.dims, x.dtype, self.axes, tables)
        return Prepared(
            lambda inputs, outputs, memory: routine.run(inputs[0], outputs[0], memory), routine.workspace, "taps"
        )

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.ops.resize_grad import ResizeGrad

        size = tuple(self.picked(inputs[0].shape))
        return [apply(ResizeGrad(**self.attributes, size=size), cotangents[0])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        scales, sizes, policy = _onnx_sizes(self.picked(types[0].shape), self.size, self.scales)
        ends = np.array(self.roi).T.ravel()
        narrow = ends.astype(np.float32)
        roi = export.const(narrow if np.array_equal(narrow, ends) else ends) if self.roi else ""
        return export.node(
            "Resize",
            [
                *inputs,
                roi,
                export.const(np.array(scales, np.float32)) if scales else "",
                *([] if scales else [export.const(np.array(sizes, np.int64))]),
            ],
            mode=self.mode,
            coordinate_transformation_mode=self.coordinates,
            nearest_mode=self.rounding,
            cubic_coeff_a=self.cubic_a,
            exclude_outside=int(self.exclude_outside),
            antialias=int(self.antialias),
            extrapolation_value=self.extrapolation,
            keep_aspect_ratio_policy=policy,
            axes=list(self.axes),
        )


def computing(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that numbers are weighted in."""
    return np.dtype(np.float64) if dtype.kind in "iu" else np.result_type(dtype, np.float32)


def _onnx_sizes(
    before: Sequence[int], after: Sequence[int], scales: Sequence[float]
) -> tuple[Sequence[float], Sequence[int], str]:
    """The scales, or the sizes and their policy, of which ONNX makes these sizes and scales."""
    if not scales:
        return (), after, "stretch"
    axes = list(zip(before, after, scales, strict=True))
    if all(float(np.float32(s)) == s and floor(s * old) == new for old, new, s in axes):
        return scales, (), "stretch"
    # Sizes that keep the proportions: one axis decides, and the others ask for as much or more.
    asked = [new if new / old == s else floor(s * old) + 1 for old, new, s in axes]
    least = min(a / old for a, (old, _, _) in zip(asked, axes, strict=True))
    if set(scales) == {least} and all(floor(s * old + 0.5) == new for old, new, s in axes):
        return (), asked, "not_larger"
    raise UnsupportedOp(f"resizing {tuple(before)} to {tuple(after)} by {tuple(scales)}: ONNX rounds such sizes down")


def resize(
    x: Tensor,
    sizes: Sequence[Dim] | None = None,
    scales: Sequence[float] | None = None,
    axes: Sequence[int] | None = None,
    mode: str = "nearest",
    coordinates: str = "half_pixel",
    rounding: str = "round_prefer_floor",
    cubic_a: float = -0.75,
    exclude_outside: bool = False,
    antialias: bool = False,
    roi: Sequence[Sequence[float]] | None = None,
    extrapolation: float = 0.0,
    policy: str = "stretch",
) -> Tensor:
    """Resizes axes of x by interpolation.

    Args:
        x: any shape; of any dtype in mode "nearest", else of numbers.
        sizes: of the result, one for each of `axes`. An open dimension may stand in its own place.
        scales: or how much longer each of `axes` gets; sizes are rounded down. 1 leaves an open
            dimension open.
        axes: to resize; all by default.
        mode: "nearest", "linear" or "cubic".
        coordinates: where the numbers of the result lie in x; see Resampling.
        rounding: of coordinates in mode "nearest"; see Resampling.
        cubic_a: the coefficient of the cubic filter.
        exclude_outside: taps outside of x have no weight; else they repeat the ends of x.
        antialias: the filter is stretched where an axis shrinks.
        roi: (start, end) on each of `axes`, for the coordinates "tf_crop_and_resize".
        extrapolation: what these have outside of x.
        policy: "not_larger" or "not_smaller" than `sizes`, keeping the proportions of x; or "stretch".

    Returns:
        Of x's dtype; x itself if nothing changes.

    Raises:
        ShapeError: the arguments do not fit x or each other.

    Source: ONNX Resize.
    """
    shape = type_of(x).shape
    along = range(len(shape)) if axes is None else [normal_axis(int(axis), len(shape)) for axis in axes]
    before = [shape[axis] for axis in along]
    if (sizes is None) == (scales is None):
        raise ShapeError("resize: wants either sizes or scales")
    for given, what in ((sizes, "sizes"), (scales, "scales"), (roi, "parts of the roi")):
        if given is not None and len(given) != len(before):
            raise ShapeError(f"resize: {len(given)} {what} for {len(before)} axes")
    if scales is not None:
        factors = [float(s) for s in scales]
        after = [_scaled(old, s) for old, s in zip(before, factors, strict=True)]
    else:
        after, factors = _kept_proportions(before, sizes or (), policy)
    cropping = coordinates == "tf_crop_and_resize"
    whole = (0.0, 1.0)
    parts = [(float(start), float(end)) for start, end in roi] if cropping and roi else [whole] * len(before)
    rows = [
        (axis, new, s, part)
        for axis, old, new, s, part in zip(
            along, before, after, factors, parts or [(0.0, 1.0)] * len(before), strict=True
        )
        if (new, s, part) != (old, 1.0, (0.0, 1.0))
    ]
    if not rows:
        return x
    resized, new_sizes, new_scales, new_parts = zip(*sorted(rows), strict=True)
    plain = all(_factor(shape[axis], new) == s for axis, new, s, _ in rows)
    return apply(
        Resize(
            resized,
            new_sizes,
            () if plain else new_scales,
            mode,
            coordinates,
            rounding if mode == "nearest" else "round_prefer_floor",
            float(cubic_a) if mode == "cubic" else -0.75,
            bool(exclude_outside),
            bool(antialias),
            new_parts if cropping else (),
            float(extrapolation) if cropping else 0.0,
        ),
        x,
    )


def _scaled(size: Dim, scale: float) -> Dim:
    if scale == 1:
        return size
    if isinstance(size, Symbol):
        raise ShapeError(f"resize: {scale} times the open dimension {size} is no dimension: bind it first")
    if not 0 < scale < np.inf:
        raise ShapeError(f"resize: a scale must be above 0, got {scale}")
    return floor(scale * size)


def _kept_proportions(before: Sequence[Dim], sizes: Sequence[Dim], policy: str) -> tuple[list[Dim], list[float]]:
    """Sizes by the policy, and how much longer each axis gets."""
    choices = {"stretch": None, "not_larger": min, "not_smaller": max}
    if policy not in choices:
        raise ShapeError(f"resize: there is no policy {policy!r}; give {', '.join(choices)}")
    factors = [_factor(old, new) for old, new in zip(before, sizes, strict=True)]
    choice = choices[policy]
    if choice is None or not factors:
        return list(sizes), factors
    scale = choice(factors)
    if scale != 1 and any(isinstance(old, Symbol) for old in before):
        raise ShapeError(f"resize: cannot keep the proportions of {tuple(before)}: bind its open dimensions first")
    return [old if isinstance(old, Symbol) else floor(scale * old + 0.5) for old in before], [scale] * len(factors)


def _factor(before: Dim, after: Dim) -> float:
    if before == after:
        return 1.0
    if isinstance(before, Symbol) or isinstance(after, Symbol):
        raise ShapeError(f"resize: cannot resize {before} to {after}: bind the open dimension first")
    if min(before, after) < 1:
        raise ShapeError(f"resize: cannot resize an axis of {before} to {after}: there must be a number on both sides")
    return int(after) / before


@from_onnx("Resize")
def _resize(node: Any, x: Tensor, first: Tensor, scales: Tensor = None, sizes: Tensor = None) -> Tensor:
    if node.opset < 11:
        return _upsample(node, x, first)
    axes = node.get("axes")
    coordinates = node.get("coordinate_transformation_mode", "half_pixel")
    given: dict[str, Any] = {}
    if coordinates == "tf_crop_and_resize":
        given["roi"] = np.ravel(node.demand(1, "roi")).reshape(2, -1).T.tolist()
        given["extrapolation"] = node.get("extrapolation_value", 0.0)
    empty = scales is None or type_of(scales).shape == (0,)
    if empty and sizes is None:
        raise ModelFormatError("it has neither scales nor sizes")
    if empty:
        given["sizes"] = node.sizes(3, "sizes")
        given["policy"] = node.get("keep_aspect_ratio_policy", "stretch")
    else:
        given["scales"] = node.demand(2, "scales").tolist()
    return resize(
        x,
        axes=axes,
        mode=node.get("mode", "nearest"),
        coordinates=coordinates,
        rounding=node.get("nearest_mode", "round_prefer_floor"),
        cubic_a=node.get("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.get("exclude_outside", 0)),
        antialias=bool(node.get("antialias", 0)),
        **given,
    )


@from_onnx("Upsample")
def _upsample(node: Any, x: Tensor, scales: Tensor = None) -> Tensor:
    """Resize as it was up to opset 10: number i of the result is at i / scale in x."""
    given = node.get("scales") if scales is None else node.demand(1, "scales").tolist()
    if given is None:
        raise ModelFormatError("it has no scales")
    mode = node.get("mode", "nearest")
    # Opset 10 does not say how "nearest" rounds; its runtimes round up where an axis shrinks, else down.
    for rounding, factors in (("ceil", [min(s, 1) for s in given]), ("floor", [max(s, 1) for s in given])):
        x = resize(x, scales=factors, mode=mode, coordinates="asymmetric", rounding=rounding)
    return x

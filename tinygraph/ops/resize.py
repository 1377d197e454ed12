"""Resizing of any axes: nearest, linear and cubic interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, prod
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError, UnsupportedOp
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.channels_last.resize import Resizing
from tinygraph.kernels.interpolation import Taps
from tinygraph.kernels.resize import Resized, fill_outside, gather, scatter
from tinygraph.ops.base import (
    Exporter,
    Precision,
    Prepared,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    gradient_not_in_onnx,
    normal_axis,
    register,
    type_of,
)
from tinygraph.ops.resampling import Resampling, computing

__all__ = ["resize"]

_MOST_PHASES = 1024  # of a prepared kernel, which takes the numbers between two of x one after the other
_MANY_CHANNELS = 32  # in shorter rows of them, axes in front of the channels are resized slowly


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
        counts = self.counts(self.picked(dims), self.size)
        for axis, size, (inside, taps) in reversed(list(zip(self.axes, self.size, counts, strict=True))):
            dims[axis] = inside
            total += (2 * taps - 1) * prod(dims)
            dims[axis] = size
        return total

    def kernel(self, x: Array) -> Array:
        tables = self.tables(self.picked(x.shape), self.size)
        y = x if self.mode == "nearest" else x.astype(computing(x.dtype), copy=False)
        for axis, table in reversed(list(zip(self.axes, tables, strict=True))):
            y = gather(y, axis, table)
        if x.dtype.kind in "iu" and self.mode != "nearest":
            limits = np.iinfo(x.dtype)
            y = np.clip(np.rint(y), limits.min, limits.max)
        y = y.astype(x.dtype, copy=False)
        fill_outside(y, self.axes, tables, self.extrapolation)
        return y

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        (x,) = types
        tables = self._tables(x)
        return None if tables is None else _prepared(Resized(x.dims, x.dtype, self.axes, tables, workers))

    def _tables(self, x: TensorType) -> list[Taps] | None:
        """The taps along each axis, if there is a prepared kernel for an x of this type."""
        if not x.is_static or not x.size or (self.mode != "nearest" and computing(x.dtype) != x.dtype):
            return None
        if any(new > _MOST_PHASES * old for old, new in zip(self.picked(x.dims), self.size, strict=True)):
            return None
        tables = self.tables(self.picked(x.dims), self.size)
        return None if any(table.outside.any() for table in tables) else tables

    def fits_channels_last(self, types: Types, constants: Sequence[Array | None]) -> bool:
        (x,) = types
        return self.axes[0] > 1 and x.dims[1] >= _MANY_CHANNELS and self._tables(x) is not None

    def lower_channels_last(
        self,
        types: Types,
        constants: Sequence[Array | None],
        workers: int,
        precision: Precision,
        epilogue: Epilogue,
    ) -> Prepared:
        (x,), tables = types, self._tables(types[0])
        assert tables is not None
        return _prepared(Resizing(x.dims, [axis - 2 for axis in self.axes], tables, x.dtype, workers))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
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


def _prepared(routine: Resized | Resizing) -> Prepared:
    return Prepared(lambda xs, ys, memory: routine.run(xs[0], ys[0], memory), routine.workspace, "taps")


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
    if set(scales) == {least} and max(asked) < 2**63 and all(floor(s * old + 0.5) == new for old, new, s in axes):
        return (), asked, "not_larger"
    raise UnsupportedOp(f"resizing {tuple(before)} to {tuple(after)} by {tuple(scales)}: ONNX rounds such sizes down")


@register
class ResizeGrad(Resampling):
    """dx[j] = sum of weight[i, k] g[i] where index[i, k] = j, axis by axis: the transpose of resize."""

    name = "resize_grad"
    to_onnx = gradient_not_in_onnx

    def infer(self, g: TensorType) -> TensorType:
        floating(g)
        return self.checked(g)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 per tap, nearest 1, of each element of g that is not outside, for each axis, from the first on."""
        dims, total = list(inputs[0].dims), 0
        counts = self.counts(self.size, self.picked(dims))
        for axis, size, (inside, taps) in zip(self.axes, self.size, counts, strict=True):
            dims[axis] = inside
            total += (1 if self.mode == "nearest" else 2) * taps * prod(dims)
            dims[axis] = size
        return total

    def kernel(self, g: Array) -> Array:
        dx = g.astype(computing(g.dtype), copy=False)
        tables = self.tables(self.size, self.picked(g.shape))
        for axis, size, table in zip(self.axes, self.size, tables, strict=True):
            dx = scatter(dx, axis, table, size)
        return np.ascontiguousarray(dx, g.dtype)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        size = tuple(self.picked(inputs[0].shape))
        return [apply(Resize(**self.attributes, size=size), cotangents[0])]


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
    after: Sequence[Dim]
    if scales is not None:
        factors = [float(s) for s in scales]
        after = [_scaled(old, s) for old, s in zip(before, factors, strict=True)]
    else:
        after, factors = _kept_proportions(before, TensorType(tuple(sizes or ())).shape, policy)
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


def _kept_proportions(before: Sequence[Dim], sizes: Sequence[Dim], policy: str) -> tuple[Sequence[Dim], list[float]]:
    """Sizes by the policy, and how much longer each axis gets."""
    choices = {"stretch": None, "not_larger": min, "not_smaller": max}
    if policy not in choices:
        raise ShapeError(f"resize: there is no policy {policy!r}; give {', '.join(choices)}")
    factors = [_factor(old, new) for old, new in zip(before, sizes, strict=True)]
    choice = choices[policy]
    if choice is None or not factors:
        return sizes, factors
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


# Opset 11 had coordinates (x + 1/2) / scale, half a step from "half_pixel": a rounding there, and the same here.
_HALF_FURTHER = {"floor": "round_prefer_ceil", "round_prefer_floor": "ceil"}


@from_onnx("Resize")
def _resize(node: Any, x: Tensor, first: Tensor, scales: Tensor = None, sizes: Tensor = None) -> Tensor:
    if node.opset < 11:
        return _upsample(node, x, first)
    axes, mode = node.get("axes"), node.get("mode", "nearest")
    coordinates = node.get("coordinate_transformation_mode", "half_pixel")
    rounding = node.get("nearest_mode", "round_prefer_floor")
    if coordinates == "tf_half_pixel_for_nn":
        if mode != "nearest" or rounding not in _HALF_FURTHER:
            raise UnsupportedOp(f"Resize with {coordinates!r} is only supported for nearest numbers, rounded down")
        coordinates, rounding = "half_pixel", _HALF_FURTHER[rounding]
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
        mode=mode,
        coordinates=coordinates,
        rounding=rounding,
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

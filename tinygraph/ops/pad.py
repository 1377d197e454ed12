"""Padding of any axis with a constant, or with what the axis has; negative padding crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, Literal, get_args

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.padding import continue_into_border, crop, put_into_border
from tinygraph.ops.arithmetic import where
from tinygraph.ops.base import (
    Exporter,
    Op,
    Precision,
    Prepared,
    Symbolic,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    gradient_not_in_onnx,
    no_flops,
    no_macs,
    normal_axis,
    per_input,
    register,
    type_of,
)
from tinygraph.ops.shape import reshape

__all__ = ["pad"]

Mode = Literal["constant", "reflect", "edge", "wrap"]
Pads = tuple[tuple[int, int], ...]

_MOST_TURNS = 1024  # of a prepared kernel, which copies an axis as often as it fits into a border


def _check(pads: Pads, mode: Mode, ndim: int) -> None:
    if mode not in get_args(Mode):
        raise ShapeError(f"there is no padding mode {mode!r}; give {', '.join(get_args(Mode))}")
    if len(pads) != ndim:
        raise ShapeError(f"{len(pads)} pairs of pads for {ndim} dimensions")


def _padded(dim: Dim, lo: int, hi: int, mode: Mode) -> Dim:
    if not lo and not hi:
        return dim
    if isinstance(dim, Symbol):
        raise ShapeError(f"cannot pad the open dimension {dim}: bind it first")
    kept = dim + min(lo, 0) + min(hi, 0)
    limits = {"reflect": max(dim - 1, 0), "edge": None if dim else 0, "wrap": None if kept > 0 else 0}
    limit = limits.get(mode)
    too_long = limit is not None and max(lo, hi) > limit
    if min(lo, hi) < -dim or dim + lo + hi < 0 or too_long:
        raise ShapeError(f"pads ({lo}, {hi}) do not fit dimension {dim} in mode {mode!r}")
    return dim + lo + hi


def _sources(dim: int, lo: int, hi: int, mode: Mode) -> Array:
    """Where each number of an axis that is continued beyond its ends comes from."""
    if mode == "wrap":
        first, kept = max(-lo, 0), dim + min(lo, 0) + min(hi, 0)  # what is cropped is not repeated
        return first + np.arange(-max(lo, 0), kept + max(hi, 0)) % max(kept, 1)
    at = np.arange(-lo, dim + hi)
    last = dim - 1
    return last - np.abs(last - np.abs(at)) if mode == "reflect" else np.clip(at, 0, last)


def _check_number(value: float, dtype: np.dtype[Any]) -> None:
    """Raises ShapeError if integers or booleans of that dtype do not include the value."""
    if dtype.kind in "biu":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if value % 1 != 0 or not low <= value <= high:
            raise ShapeError(f"{value} is no {dtype.name}")


@register
class Pad(Op):
    """lo numbers before and hi numbers behind each axis; crops where they are negative.

    They are `value`, or in mode "reflect" the axis mirrored at its ends (which are not
    repeated), in mode "edge" its ends repeated, in mode "wrap" the axis over and over.
    """

    name = "pad"
    onnx = ("Pad",)
    arity = (1, 1)
    traits = frozenset({"linear"})
    macs = no_macs
    flops = no_flops
    pads: Pads
    mode: Mode = "constant"
    value: float = 0.0

    def infer(self, x: TensorType) -> TensorType:
        _check(self.pads, self.mode, x.ndim)
        _check_number(self.value, x.dtype)
        return x.with_shape(_padded(d, lo, hi, self.mode) for d, (lo, hi) in zip(x.shape, self.pads, strict=True))

    def kernel(self, x: Array) -> Array:
        if self.mode != "constant":
            return x[np.ix_(*(_sources(d, *p, self.mode) for d, p in zip(x.shape, self.pads, strict=True)))]
        y = np.empty([d + lo + hi for d, (lo, hi) in zip(x.shape, self.pads, strict=True)], x.dtype)
        put_into_border(crop(x, self.pads), self._border, self.value, y)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        if not types[0].is_static:
            return None
        border, mode, value = self._border, self.mode, self.value
        if mode == "constant":

            def fill(inputs: Any, outputs: Any, workspace: Array) -> None:
                put_into_border(crop(inputs[0], self.pads), border, value, outputs[0])

            return Prepared(fill, 0, "fill")
        if border != self.pads:
            return None  # what is cropped may stand in the border
        if mode == "wrap" and any(max(p) > _MOST_TURNS * d for d, p in zip(types[0].dims, border, strict=True)):
            return None

        def continued(inputs: Any, outputs: Any, workspace: Array) -> None:
            continue_into_border(inputs[0], border, mode, outputs[0])

        return Prepared(continued, 0, "copy")

    def fits_channels_last(self, types: Types, constants: Sequence[Array | None]) -> bool:
        return types[0].ndim > 2 and self.lower(types, constants, 1) is not None

    def lower_channels_last(
        self,
        types: Types,
        constants: Sequence[Array | None],
        workers: int,
        precision: Precision,
        epilogue: Epilogue,
    ) -> Prepared:
        """The same on other axes."""
        (n, channels, *sizes), (batch, between, *spatial) = types[0].shape, self.pads
        moved = replace(self, pads=(batch, *spatial, between))
        kernel = moved.lower([types[0].with_shape((n, *sizes, channels))], constants, workers)
        assert kernel is not None
        return kernel

    @property
    def _border(self) -> Pads:
        """The pads where they are not negative."""
        return tuple((max(lo, 0), max(hi, 0)) for lo, hi in self.pads)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        if self.mode == "constant":
            return [pad(cotangents[0], [(-lo, -hi) for lo, hi in self.pads])]
        return [apply(PadGrad(self.pads, self.mode), cotangents[0])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        pads = export.const(np.array(self.pads, np.int64).reshape(-1, 2).T.ravel())
        value = [export.const(np.array(self.value, types[0].dtype))] if self.mode == "constant" else []
        return export.node("Pad", [*inputs, pads, *value], mode=self.mode)


@register
class PadGrad(Op):
    """Each number is added to the place that padding took it from: the gradient of pad, but with a constant."""

    name = "pad_grad"
    arity = (1, 1)
    traits = frozenset({"linear"})
    macs = no_macs
    flops = per_input(1)
    to_onnx = gradient_not_in_onnx
    pads: Pads
    mode: Mode

    def infer(self, g: TensorType) -> TensorType:
        _check(self.pads, self.mode, g.ndim)
        floating(g)
        x = g.with_shape(
            d - lo - hi if isinstance(d, int) else d for d, (lo, hi) in zip(g.shape, self.pads, strict=True)
        )
        if [_padded(d, lo, hi, self.mode) for d, (lo, hi) in zip(x.shape, self.pads, strict=True)] != list(g.shape):
            raise ShapeError(f"pads {self.pads} do not fit")
        return x

    def kernel(self, g: Array) -> Array:
        x = np.zeros(tuple(d - lo - hi for d, (lo, hi) in zip(g.shape, self.pads, strict=True)), g.dtype)
        np.add.at(x, np.ix_(*(_sources(d, *p, self.mode) for d, p in zip(x.shape, self.pads, strict=True))), g)
        return x

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [pad(cotangents[0], self.pads, self.mode)]


def pad(x: Tensor, pads: Sequence[Sequence[int]], mode: Mode = "constant", value: Tensor = 0.0) -> Tensor:
    """Lengthens each axis, or crops it where a number is negative.

    Args:
        x: any shape and dtype.
        pads: a pair (before, behind) for each axis; (0, 0) leaves an open dimension open.
        mode: "constant", "reflect" (the ends are not repeated; fewer than the axis has),
            "edge" (the ends are repeated) or "wrap" (the axis is, or what is left of it).
        value: what "constant" fills in: a number, or a tensor that holds one, of x's dtype.

    Raises:
        ShapeError: the pads or the value do not fit x.

    Source: ONNX Pad.
    """
    pairs = tuple((int(lo), int(hi)) for lo, hi in pads)
    if mode != "constant":
        return apply(Pad(pairs, mode), x)
    if isinstance(value, Symbolic):
        y = apply(Pad(pairs), x)
        return where(_outside(type_of(x), pairs), reshape(value, ()), y)
    number = np.ravel(value)[0].item()
    return apply(Pad(pairs, mode, float(number) if type_of(x).dtype.kind == "f" else number), x)


def _outside(x: TensorType, pads: Pads) -> Array:
    """Whether a number of padded x is one that padding put there; of size 1 along axes that have none."""
    longer = _longer(x, pads)
    inside = np.zeros([d for d, _ in longer], np.bool_)
    return Pad(tuple(pair for _, pair in longer), value=1).kernel(inside)


def _outside_bytes(x: TensorType, pads: Sequence[tuple[int, int]]) -> int:
    return prod(max(d + lo + hi, 1) for d, (lo, hi) in _longer(x, pads))


def _longer(x: TensorType, pads: Sequence[tuple[int, int]]) -> list[tuple[int, tuple[int, int]]]:
    """Size and pads of each axis; 1 and none of those that do not become longer."""
    return [
        (d, pair) if isinstance(d, int) and max(pair) > 0 else (1, (0, 0))
        for d, pair in zip(x.shape, pads, strict=True)
    ]


@from_onnx("Pad")
def _pad(node: Any, x: Tensor, pads: Tensor = None, value: Tensor = None, axes: Tensor = None) -> Tensor:
    mode, ndim = node.get("mode", "constant"), type_of(x).ndim
    if mode not in get_args(Mode):
        raise ModelFormatError(f"its mode is {mode!r}; ONNX has {', '.join(get_args(Mode))}")
    widths = node.get("pads") if pads is None else node.demand(1, "pads")
    if widths is None:
        raise ModelFormatError("it has no pads")
    number = node.get("value", 0.0) if value is None else node.constant(2)
    along = range(ndim) if axes is None else [normal_axis(int(a), ndim) for a in node.demand(3, "axes")]
    if len(widths) != 2 * len(along):
        raise ShapeError(f"{len(widths)} pads for {len(along)} axes")
    pairs = [(0, 0)] * ndim
    for i, axis in enumerate(along):
        pairs[axis] = (int(widths[i]), int(widths[len(along) + i]))
    if mode == "constant" and number is None:
        node.afford(_outside_bytes(type_of(x), pairs))
    return pad(x, pairs, mode, value if number is None else number)

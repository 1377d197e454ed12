"""Padding of any axis with a constant, by reflection or with the edge; negative padding crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
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

__all__ = ["pad"]

Mode = Literal["constant", "reflect", "edge"]
Pads = tuple[tuple[int, int], ...]


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
    limit = {"constant": None, "reflect": dim - 1, "edge": None if dim else 0}[mode]
    too_long = limit is not None and max(lo, hi) > max(limit, 0)
    if min(lo, hi) < -dim or dim + lo + hi < 0 or too_long:
        raise ShapeError(f"pads ({lo}, {hi}) do not fit dimension {dim} in mode {mode!r}")
    return dim + lo + hi


def _sources(dim: int, lo: int, hi: int, mode: Mode) -> Array:
    """Where each number of a reflected or edge-padded axis comes from."""
    at = np.arange(-lo, dim + hi)
    last = dim - 1
    return last - np.abs(last - np.abs(at)) if mode == "reflect" else np.clip(at, 0, last)


@register
class Pad(Op):
    """lo numbers before and hi numbers behind each axis; crops where they are negative.

    They are `value`, or in mode "reflect" the axis mirrored at its ends (which are not
    repeated), or in mode "edge" its ends repeated.
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
        if x.dtype.kind in "iu" and self.value % 1 != 0:
            raise ShapeError(f"{self.value} is no {x.dtype.name}")
        return x.with_shape(_padded(d, lo, hi, self.mode) for d, (lo, hi) in zip(x.shape, self.pads, strict=True))

    def kernel(self, x: Array) -> Array:
        if self.mode != "constant":
            return x[np.ix_(*(_sources(d, *p, self.mode) for d, p in zip(x.shape, self.pads, strict=True)))]
        crop = [(max(-lo, 0), max(d + min(hi, 0), 0)) for d, (lo, hi) in zip(x.shape, self.pads, strict=True)]
        x = x[tuple(slice(start, stop) for start, stop in crop)]
        room = [(max(lo, 0), max(hi, 0)) for lo, hi in self.pads]
        return np.pad(x, room, constant_values=self.value) if room else x

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
    """Each number is added to the place that reflect or edge padding took it from: the gradient of pad."""

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


def pad(x: Tensor, pads: Sequence[Sequence[int]], mode: Mode = "constant", value: float = 0.0) -> Tensor:
    """Lengthens each axis, or crops it where a number is negative.

    Args:
        x: any shape and dtype.
        pads: a pair (before, behind) for each axis; (0, 0) leaves an open dimension open.
        mode: "constant", "reflect" (the ends are not repeated; fewer than the axis has) or
            "edge" (the ends are repeated).
        value: what "constant" fills in.

    Raises:
        ShapeError: the pads do not fit x.

    Source: ONNX Pad.
    """
    pairs = tuple((int(lo), int(hi)) for lo, hi in pads)
    return apply(Pad(pairs, mode, float(value) if mode == "constant" else 0.0), x)


@from_onnx("Pad")
def _pad(node: Any, x: Tensor, pads: Tensor = None, value: Tensor = None, axes: Tensor = None) -> Tensor:
    mode = node.get("mode", "constant")
    if mode not in get_args(Mode):
        raise UnsupportedOp(f"Pad in mode {mode!r}")
    ndim = type_of(x).ndim
    widths = node.get("pads") if node.opset < 11 else node.demand(1, "pads")
    number = node.get("value", 0.0) if value is None else node.demand(2, "constant_value")
    along = range(ndim) if axes is None else [normal_axis(int(a), ndim) for a in node.demand(3, "axes")]
    if len(widths) != 2 * len(along):
        raise ShapeError(f"{len(widths)} pads for {len(along)} axes")
    pairs = [(0, 0)] * ndim
    for i, axis in enumerate(along):
        pairs[axis] = (int(widths[i]), int(widths[len(along) + i]))
    return pad(x, pairs, mode, np.ravel(number)[0])

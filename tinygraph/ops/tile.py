"""A tensor repeated along its axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    apply,
    from_onnx,
    no_flops,
    no_macs,
    register,
    type_of,
)
from tinygraph.ops.reduce import sum
from tinygraph.ops.shape import reshape, single_dim

__all__ = ["tile"]


@register
class Tile(Op):
    """x over and over along each axis: y[i] = x[i mod the size of the axis]."""

    name = "tile"
    onnx = ("Tile",)
    arity = (1, 1)
    traits = frozenset({"linear"})
    macs = no_macs
    flops = no_flops
    repeats: tuple[Dim, ...]

    def infer(self, x: TensorType) -> TensorType:
        if len(self.repeats) != x.ndim:
            raise ShapeError(f"{len(self.repeats)} repeats for {x.ndim} dimensions")
        repeats = TensorType(self.repeats).shape
        return x.with_shape(single_dim(pair) for pair in zip(repeats, x.shape, strict=True))

    def kernel(self, x: Array) -> Array:
        return np.tile(x, self.repeats)  # type: ignore[arg-type]  # bound by now

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        if not types[0].is_static or any(isinstance(n, Symbol) for n in self.repeats):
            return None
        apart = self._apart(types[0])
        every_other = (None, slice(None)) * len(self.repeats)

        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            np.copyto(outputs[0].reshape(apart), inputs[0][every_other])

        return Prepared(run, 0, "copy")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        apart = reshape(cotangents[0], self._apart(inputs[0].type))
        return [sum(apart, range(0, 2 * inputs[0].ndim, 2))]

    def _apart(self, x: TensorType) -> tuple[Dim, ...]:
        """The shape of the result with an axis for the repeats before each axis of x."""
        return tuple(d for pair in zip(self.repeats, x.shape, strict=True) for d in pair)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        for n in self.repeats:
            if isinstance(n, Symbol):
                raise UnsupportedOp(f"ONNX cannot repeat an axis {n} times: bind {n} first")
        return export.node("Tile", [*inputs, export.const(np.array(self.repeats, np.int64))])


def tile(x: Tensor, repeats: Sequence[Dim]) -> Tensor:
    """Repeats x as often as said along each axis.

    Args:
        x: any shape and dtype.
        repeats: one for each axis. An axis of size 1 may be repeated as often as an open
            dimension has entries, and an open axis once.

    Raises:
        ShapeError: the repeats do not fit x.

    Source: ONNX Tile.
    """
    return apply(Tile(TensorType(tuple(repeats)).shape), x)


@from_onnx("Tile")
def _tile(node: Any, x: Tensor, repeats: Tensor) -> Tensor:
    wanted = node.sizes(1, "repeats")
    return x if all(n == 1 for n in wanted) and len(wanted) == type_of(x).ndim else tile(x, wanted)

"""Pixels that become channels and back: space_to_depth, depth_to_space."""

from __future__ import annotations

from typing import Any, Literal, get_args

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
    family,
    from_onnx,
    no_flops,
    no_macs,
    register,
)

__all__ = ["depth_to_space", "space_to_depth"]

Order = Literal["DCR", "CRD"]


@family
class _Blocks(Op):
    """Blocks of block x block pixels, each of which lies in a channel of its own.

    These channels have the numbers pixel * channels + c in order "DCR" (depth, column, row), and
    c * block^2 + pixel in order "CRD". A pixel's number counts row by row.
    """

    arity = (1, 1)
    traits = frozenset({"linear"})
    macs = no_macs
    flops = no_flops
    block: int
    order: Order = "DCR"

    def checked(self, x: TensorType) -> tuple[Dim, ...]:
        """The four dimensions of x."""
        if self.order not in get_args(Order):
            raise ShapeError(f"there is no order {self.order!r}; give {' or '.join(get_args(Order))}")
        if x.ndim != 4 or self.block < 1:
            raise ShapeError(f"wants x [N, C, H, W] and blocks of 1 or more, got {x} and {self.block}")
        return x.shape

    def parts(self, dim: Dim, count: int) -> Dim:
        """A part of a dimension that is divided by a number."""
        if count == 1:
            return dim
        if isinstance(dim, Symbol):
            raise ShapeError(f"cannot divide the open dimension {dim} by {count}: bind it first")
        if dim % count:
            raise ShapeError(f"a dimension of {dim} is not divisible by {count}")
        return dim // count

    def times(self, dim: Dim, count: int) -> Dim:
        """A dimension that is multiplied by a number."""
        return dim.times(count) if isinstance(dim, Symbol) else dim * count

    def blocks(self, space: Array) -> Array:
        """A view of [N, C, H, W] as [N, row, column, C, H / block, W / block], or [N, C, row, column, ...] in "CRD"."""
        n, c, h, w = space.shape
        apart = space.reshape(n, c, h // self.block, self.block, w // self.block, self.block)
        return apart.transpose((0, 3, 5, 1, 2, 4) if self.order == "DCR" else (0, 1, 3, 5, 2, 4))


@register
class SpaceToDepth(_Blocks):
    """The pixels of each block x block block of a channel, as channels of one pixel each."""

    name = "space_to_depth"
    onnx = ("SpaceToDepth", "Reshape", "Transpose")

    def infer(self, x: TensorType) -> TensorType:
        n, c, h, w = self.checked(x)
        return x.with_shape((n, self.times(c, self.block**2), self.parts(h, self.block), self.parts(w, self.block)))

    def kernel(self, x: Array) -> Array:
        n, c, h, w = x.shape
        return self.blocks(x).reshape(n, c * self.block**2, h // self.block, w // self.block)

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            blocks = self.blocks(inputs[0])
            np.copyto(outputs[0].reshape(blocks.shape), blocks)

        return Prepared(run, 0, "copy") if types[0].is_static else None

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(DepthToSpace(self.block, self.order), cotangents[0])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        y = export.node("SpaceToDepth", inputs, blocksize=self.block)
        return y if self.order == "DCR" else _reordered(export, y, types[0], self.block)


def _reordered(export: Exporter, y: str, x: TensorType, block: int) -> str:
    """Channels in order "CRD": SpaceToDepth of opset 20 has only "DCR"."""
    channels, *pixels = x.shape[1:]
    sizes = [d // block for d in pixels if isinstance(d, int)]
    if isinstance(channels, Symbol) or len(sizes) < 2:
        raise UnsupportedOp(f"ONNX cannot change the order of the channels of {x}: bind the open dimensions first")
    apart = export.const(np.array([0, block**2, channels, *sizes], np.int64))
    joined = export.const(np.array([0, channels * block**2, *sizes], np.int64))
    swapped = export.node("Transpose", [export.node("Reshape", [y, apart])], perm=(0, 2, 1, 3, 4))
    result: str = export.node("Reshape", [swapped, joined])
    return result


@register
class DepthToSpace(_Blocks):
    """Channels as the pixels of blocks of fewer channels: the inverse of space_to_depth."""

    name = "depth_to_space"
    onnx = ("DepthToSpace",)

    def infer(self, x: TensorType) -> TensorType:
        n, c, h, w = self.checked(x)
        return x.with_shape((n, self.parts(c, self.block**2), self.times(h, self.block), self.times(w, self.block)))

    def kernel(self, x: Array) -> Array:
        n, c, h, w = x.shape
        y = np.empty((n, c // self.block**2, h * self.block, w * self.block), x.dtype)
        self._write(x, y)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            self._write(inputs[0], outputs[0])

        return Prepared(run, 0, "copy") if types[0].is_static else None

    def _write(self, x: Array, y: Array) -> None:
        blocks = self.blocks(y)
        np.copyto(blocks, x.reshape(blocks.shape))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(SpaceToDepth(self.block, self.order), cotangents[0])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("DepthToSpace", inputs, blocksize=self.block, mode=self.order)


def space_to_depth(x: Tensor, block: int, order: Order = "DCR") -> Tensor:
    """Makes channels of the pixels of each block: [N, C, H, W] to [N, C block^2, H / block, W / block].

    Args:
        x: [N, C, H, W], any dtype; H and W divisible by block.
        block: rows and columns of a block.
        order: of the new channels: pixels before channels ("DCR") or channels before pixels
            ("CRD", PyTorch's).

    Raises:
        ShapeError: x cannot be divided into such blocks.

    Source: ONNX SpaceToDepth; torch.nn.PixelUnshuffle.
    """
    return apply(SpaceToDepth(int(block), order), x)


def depth_to_space(x: Tensor, block: int, order: Order = "DCR") -> Tensor:
    """Makes blocks of pixels of channels: [N, C block^2, H, W] to [N, C, H block, W block].

    Args:
        x: [N, C block^2, H, W], any dtype.
        block: rows and columns of a block.
        order: of x's channels, as in space_to_depth.

    Raises:
        ShapeError: the channels are no blocks.

    Source: ONNX DepthToSpace; Shi et al. 2016, torch.nn.PixelShuffle.
    """
    return apply(DepthToSpace(int(block), order), x)


_READERS = {"SpaceToDepth": space_to_depth, "DepthToSpace": depth_to_space}


@from_onnx(*_READERS)
def _blocks(node: Any, x: Tensor) -> Tensor:
    return _READERS[node.op_type](x, node.get("blocksize"), node.get("mode", "DCR"))

"""Convolution and its weight gradient. With conv_transpose.py the set is closed under vjp.

The convolution of neural networks is a cross-correlation: the kernel is not flipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.kernels import channels_last, taps
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.channels_last.program import Program, is_in_rows
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.im2col import Im2col, Pointwise
from tinygraph.kernels.weight_grad import WeightGrad
from tinygraph.ops.base import (
    CALL,
    Exporter,
    Op,
    Precision,
    Prepared,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    not_in_onnx,
    register,
    type_of,
)
from tinygraph.ops.reduce import sum
from tinygraph.ops.windows import Pads, margins, onnx_padding, output_sizes, pads, per_axis

__all__ = ["conv", "conv1d", "conv2d", "conv3d"]


@family
class Convolution(Op):
    """What convolution, its transpose and its weight gradient have in common.

    Attributes:
        stride, dilation: one number per spatial axis.
        padding: a (front, behind) pair of counts per spatial axis.
        groups: the channels of both sides fall into that many independent parts.
    """

    stride: tuple[int, ...] = (1, 1)
    padding: Pads = ((0, 0), (0, 0))
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes that all three ops share."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def onnx_attributes(self) -> dict[str, Any]:
        """The same as ONNX names them."""
        pads = [front for front, _ in self.padding] + [behind for _, behind in self.padding]
        return {"strides": self.stride, "pads": pads, "dilations": self.dilation, "group": self.groups}

    def windows(self, sizes: Sequence[Dim], kernel: Sequence[int]) -> tuple[Dim, ...]:
        """How many windows fit on each axis."""
        return output_sizes(sizes, kernel, self.stride, self.padding, self.dilation)

    def check(self, x: TensorType, other: TensorType, what: str) -> None:
        """Raises ShapeError unless both arrays have the same number of spatial axes, and there is a group."""
        if x.ndim < 3:
            raise ShapeError(f"wants an input [N, C, *spatial] with 1 or more spatial axes, got {x}")
        if other.ndim != x.ndim:
            raise ShapeError(f"the input has {x.ndim} axes and the {what} {other.ndim}; they must have as many")
        if isinstance(self.groups, bool) or not isinstance(self.groups, int) or self.groups < 1:
            raise ShapeError(f"groups must be a whole number >= 1, got {self.groups!r}")

    def divided(self, channels: Dim, what: str) -> int:
        """Channels in each group."""
        if isinstance(channels, Symbol):
            raise ShapeError(f"{what} is the open {channels}; it must be a number")
        if channels % self.groups:
            raise ShapeError(f"{self.groups} groups do not divide {what}, {channels}")
        return channels // self.groups

    def scratch(self, inputs: Types, outputs: Types) -> int:
        """The padding of the larger map; the weight, second or the result, has none."""
        ranked = [t for t in (*inputs, *outputs) if t.ndim == len(self.padding) + 2]
        weight = ranked.pop(-1 if hasattr(self, "kernel_size") else 1)
        return max(margins(t, weight.dims[2:], self.padding, self.dilation) for t in ranked)

    def convolved(self, x: TensorType, w: TensorType) -> TensorType:
        """The type of a convolution's result; ShapeError if sizes, channels or groups do not fit together."""
        self.check(x, w, "weight")
        k, per_group, *kernel = w.dims
        if self.divided(x.shape[1], "the input channels") != per_group:
            raise ShapeError(
                f"the weight reads {per_group} channels in each of {self.groups} groups, the input has {x.shape[1]}"
            )
        self.divided(k, "the output channels")
        return x.with_shape((x.shape[0], k, *self.windows(x.shape[2:], kernel)))

    def geometry(self, x: TensorType, y: TensorType, kernel: Sequence[int]) -> Geometry | None:
        """The numbers of the convolution from x to y; None if there is no faster kernel for such types."""
        if not (x.is_static and y.is_static and x.size and y.size) or x.dtype not in (np.float32, np.float64):
            return None
        return Geometry(
            batch=x.dims[0],
            channels=x.dims[1],
            filters=y.dims[1],
            sizes=x.dims[2:],
            out=y.dims[2:],
            kernel=tuple(kernel),
            **self.attributes,
            dtype=x.dtype,
        )


def check_bias(bias: Sequence[TensorType], channels: int) -> None:
    """Raises ShapeError unless the bias, if there is one, has one number for each output channel."""
    if bias and bias[0].shape != (channels,):
        raise ShapeError(f"the bias is {bias[0]}, want one number for each of {channels} output channels")


def add_bias(y: Array, bias: Sequence[Array]) -> Array:
    """The bias, if there is one, added along the channel axis 1."""
    return y + bias[0].reshape(-1, *[1] * (y.ndim - 2)) if bias else y


def sum_to_channels(g: Tensor) -> Tensor:
    """The cotangent of a bias: g [N, K, *spatial] summed over all but the channels."""
    return sum(g, axis=(0, *range(2, type_of(g).ndim)))


def prepared(routine: Any) -> Prepared:
    """A routine that computes y from x, w and perhaps a bias, as a prepared kernel."""

    def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
        x, w, *bias = inputs
        routine.run(x, w, bias[0] if bias else None, outputs[0], workspace)

    return Prepared(run, routine.workspace, routine.algorithm)


def prepared_channels_last(routine: Any, bias: Array | None, epilogue: Epilogue) -> Prepared:
    """A routine that computes y from x, the bias and perhaps a residual, the channels of all of them last."""

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> Callable[[], None]:
        residual = inputs[-1] if epilogue.residual else None
        arrays = inputs[0], bias, residual, outputs[0], workspace
        if not all(is_in_rows(a) for a in (inputs[0], residual) if a is not None):
            return partial(routine.run, *arrays)  # rows of them are copies, of the numbers of today
        program: Program = routine.program(*arrays)
        return program

    return Prepared.bound(
        bind,
        routine.workspace,
        routine.algorithm + epilogue.suffix,
        held=routine.held,
        reads_slices=routine.reads_slices,
        slice_workspace=routine.slice_workspace,
    )


def ranked(w: Tensor, axes: int) -> Tensor:
    """The weight; ShapeError unless it has that many spatial axes."""
    if type_of(w).ndim != axes + 2:
        raise ShapeError(f"a weight with {axes} spatial axes has {axes + 2} axes in all, got {type_of(w)}")
    return w


@family
class Weighing(Convolution):
    """What convolution and its transpose have in common: y of x, a weight and perhaps a bias."""

    arity = (2, 3)
    traits = frozenset({"linear"})
    anchors = finishes = True

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs, and 1 per output element for the bias."""
        return 2 * self.macs(inputs, outputs) + (outputs[0].size if len(inputs) > 2 else 0)

    def work(self, inputs: Types, outputs: Types) -> int:
        """The plain kernels go from tap to tap."""
        return super().work(inputs, outputs) + CALL * prod(inputs[1].dims[2:])

    def planned(self, types: Types) -> Geometry | None:
        """The convolution that is computed, or whose transpose is; None if there is no faster kernel for such types."""
        raise NotImplementedError

    def routine(self, g: Geometry, workers: int, weight: Array, epilogue: Epilogue, fast: bool) -> Any:
        """What computes it for maps whose channels are last."""
        raise NotImplementedError

    def fits_channels_last(self, types: Types, constants: Sequence[Array | None]) -> bool:
        return self.planned(types) is not None and all(c is not None for c in constants[1:])

    def lower_channels_last(
        self,
        types: Types,
        constants: Sequence[Array | None],
        workers: int,
        precision: Precision,
        epilogue: Epilogue,
    ) -> Prepared:
        g, weight, *bias = self.planned(types), *constants[1:]
        assert g is not None
        assert weight is not None
        routine = self.routine(g, workers, weight, epilogue, precision == "fast")
        return prepared_channels_last(routine, bias[0] if bias else None, epilogue)


@register
class Conv(Weighing):
    """y[n, k, o] = b[k] + sum over c, t of w[k, c, t] x[n, c, o stride + t dilation - padding].

    x [N, C, *spatial], w [K, C / groups, *kernel], b [K] -> y [N, K, *out].
    """

    name = "conv"
    onnx = ("Conv",)

    def infer(self, x: TensorType, w: TensorType, *bias: TensorType) -> TensorType:
        floating(x, w, *bias)
        y = self.convolved(x, w)
        check_bias(bias, w.dims[0])
        return y

    def macs(self, inputs: Types, outputs: Types) -> int:
        """(C / groups) prod(kernel) per output element."""
        return outputs[0].size * prod(inputs[1].dims[1:])

    def kernel(self, x: Array, w: Array, *bias: Array) -> Array:
        return add_bias(taps.convolve(x, w, **self.attributes), bias)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        g = self.planned(types)
        if g is None:
            return None
        return prepared(Pointwise(g, workers) if g.is_pointwise else Im2col(g, workers))

    def planned(self, types: Types) -> Geometry | None:
        x, w, *bias = types
        return self.geometry(x, self.infer(x, w, *bias), w.dims[2:])

    def routine(self, g: Geometry, workers: int, weight: Array, epilogue: Epilogue, fast: bool) -> Any:
        return channels_last.convolution(g, workers, weight, epilogue, fast)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.ops.conv_transpose import ConvTranspose

        x, w, *bias = inputs
        g = cotangents[0]
        dx = apply(ConvTranspose(**self.attributes, output_size=type_of(x).shape[2:]), g, w)
        dw = apply(ConvWeightGrad(**self.attributes, kernel_size=type_of(w).dims[2:]), x, g)
        return [dx, dw, *(sum_to_channels(g) for _ in bias)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Conv", inputs, **self.onnx_attributes)


@register
class ConvWeightGrad(Convolution):
    """The cotangent of a convolution's weight, from its input x and the cotangent g of its output.

    w[k, c, t] = sum over n, o of g[n, k, o] x[n, c, o stride + t dilation - padding];
    x [N, C, *spatial], g [N, K, *out] -> w [K, C / groups, *kernel].
    """

    name = "conv_weight_grad"
    arity = (2, 2)
    traits = frozenset({"linear"})
    to_onnx = not_in_onnx("ONNX has no operator for the gradient of a weight")
    kernel_size: tuple[int, ...] = field(kw_only=True)

    def infer(self, x: TensorType, g: TensorType) -> TensorType:
        floating(x, g)
        self.check(x, g, "cotangent")
        per_group = self.divided(x.shape[1], "the input channels")
        k = self.divided(g.shape[1], "the output channels") * self.groups
        counts = self.windows(x.shape[2:], self.kernel_size)
        if (x.shape[0], *counts) != (g.shape[0], *g.shape[2:]):
            raise ShapeError(
                f"a convolution of {x} with kernel {self.kernel_size} makes {counts} positions, {g} has others"
            )
        return x.with_shape((k, per_group, *self.kernel_size))

    def macs(self, inputs: Types, outputs: Types) -> int:
        """(C / groups) prod(kernel) per element of g, as the convolution itself."""
        return inputs[1].size * prod(outputs[0].dims[1:])

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs."""
        return 2 * self.macs(inputs, outputs)

    def kernel(self, x: Array, g: Array) -> Array:
        return taps.correlate(x, g, self.kernel_size, **self.attributes)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        g = self.geometry(types[0], types[1], self.kernel_size)
        if g is None:
            return None
        routine = WeightGrad(g, workers)

        def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
            routine.run(inputs[0], inputs[1], outputs[0], workspace)

        return Prepared(run, routine.workspace, routine.algorithm)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.ops.conv_transpose import ConvTranspose

        x, g = inputs
        u = cotangents[0]
        dx = apply(ConvTranspose(**self.attributes, output_size=type_of(x).shape[2:]), g, u)
        return [dx, apply(Conv(**self.attributes), x, u)]


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution (cross-correlation, the kernel is not flipped) over 1, 2, 3 or more spatial axes.

    y[n, k, o] = bias[k] + sum over c, t of weight[k, c, t] x[n, c, o stride + t dilation - padding], with
    floor((size + padding - dilation (kernel - 1) - 1) / stride) + 1 positions o on each axis.

    Args:
        x: [N, C, *spatial], floating.
        weight: [K, C / groups, *kernel], of the same dtype.
        bias: [K], or None.
        stride: a number, or one per axis.
        padding: zeros around x: a number; a number or (front, behind) pair per axis; "valid" for
            none; "same" for ceil(size / stride) positions, an odd zero going behind;
            "same_lower", where it goes in front.
        dilation: a number, or one per axis.
        groups: input and output channels fall into that many independent parts; C of them make
            a depthwise convolution.

    Returns:
        [N, K, *out], of x's dtype.

    Raises:
        ShapeError: sizes, channels, groups, dtypes or attributes do not fit together.

    Source: ONNX Conv.
    """
    op = Conv(**attributes(x, weight, stride, padding, dilation, groups))
    return apply(op, x, weight) if bias is None else apply(op, x, weight, bias)


def attributes(x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
    """The attributes of a convolution, as the public functions take them."""
    sizes, kernel = type_of(x).shape[2:], type_of(weight).dims[2:]
    steps = per_axis(stride, len(kernel), "stride")
    spacing = per_axis(dilation, len(kernel), "dilation")
    padding = pads(padding, sizes, kernel, steps, spacing)
    return {"stride": steps, "padding": padding, "dilation": spacing, "groups": groups}


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`conv` of x [N, C, L] with weight [K, C / groups, k]."""
    return conv(x, ranked(weight, 1), bias, stride, padding, dilation, groups)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`conv` of x [N, C, H, W] with weight [K, C / groups, kh, kw]."""
    return conv(x, ranked(weight, 2), bias, stride, padding, dilation, groups)


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`conv` of x [N, C, D, H, W] with weight [K, C / groups, kd, kh, kw]."""
    return conv(x, ranked(weight, 3), bias, stride, padding, dilation, groups)


def onnx_axes(node: Any, w: Tensor) -> int:
    """The spatial axes of an ONNX node's weight; ModelFormatError if its kernel_shape is another one."""
    said, found = node.get("kernel_shape"), type_of(w).dims[2:]
    if said is not None and tuple(said) != found:
        raise ModelFormatError(f"kernel_shape {said} is not that of the weight, {list(found)}")
    return len(found)


def attributes_from_onnx(node: Any, x: Tensor, w: Tensor) -> dict[str, Any]:
    """The attributes of a convolution, as an ONNX node has them."""
    padding = onnx_padding(node, onnx_axes(node, w))
    return attributes(x, w, node.get("strides", 1), padding, node.get("dilations", 1), node.get("group", 1))


@from_onnx("Conv")
def _conv(node: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    op = Conv(**attributes_from_onnx(node, x, weight))
    return apply(op, x, weight) if bias is None else apply(op, x, weight, bias)

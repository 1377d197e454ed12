"""Layers as functions, with PyTorch's names and signatures, on tensors and arrays alike.

    from tinygraph.nn import functional as F
    y = F.relu(F.conv2d(x, weight, bias, padding=1))

Plain functions of NumPy's kind (add, concat, where, mean and so on) are here too, as
tinygraph.ops has them. What each function takes in detail stands in tinygraph.ops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tinygraph import ops
from tinygraph.errors import UsageError
from tinygraph.nn import losses
from tinygraph.nn.losses import *  # noqa: F403  # its __all__ says what is public
from tinygraph.nn.norm_functions import batch_norm, group_norm, instance_norm, layer_norm, local_response_norm
from tinygraph.ops import (
    abs,
    add,
    argmax,
    broadcast_to,
    cast,
    compare,
    concat,
    conv1d,
    conv2d,
    conv3d,
    div,
    elu,
    exp,
    expand_dims,
    flatten,
    linear,
    log,
    matmul,
    max,
    maximum,
    maxout,
    mean,
    minimum,
    mul,
    neg,
    one_hot,
    prelu,
    relu,
    reshape,
    sigmoid,
    sign,
    softplus,
    sqrt,
    squeeze,
    sub,
    sum,
    tanh,
    transpose,
    where,
)
from tinygraph.ops.base import Tensor, type_of
from tinygraph.ops.conv import ranked
from tinygraph.ops.windows import per_axis
from tinygraph.trace import current

__all__ = [
    *losses.__all__,
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "linear",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "min_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "adaptive_avg_pool2d",
    "batch_norm",
    "layer_norm",
    "group_norm",
    "instance_norm",
    "local_response_norm",
    "dropout",
    "relu",
    "leaky_relu",
    "prelu",
    "elu",
    "sigmoid",
    "tanh",
    "softmax",
    "log_softmax",
    "maxout",
    "softplus",
    "pad",
    # as in tinygraph.ops
    "abs",
    "add",
    "argmax",
    "broadcast_to",
    "cast",
    "compare",
    "concat",
    "div",
    "exp",
    "expand_dims",
    "flatten",
    "log",
    "matmul",
    "max",
    "maximum",
    "mean",
    "minimum",
    "mul",
    "neg",
    "one_hot",
    "reshape",
    "sign",
    "sqrt",
    "squeeze",
    "sub",
    "sum",
    "transpose",
    "where",
]

Sizes = int | Sequence[int]
PadMode = Literal["constant", "reflect", "replicate"]


# ---- transposed convolutions ---------------------------------------------------------------------


def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Any = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Transposed convolution of x [N, K, L] with weight [K, C / groups, k]; see ops.conv_transpose."""
    return ops.conv_transpose(x, ranked(weight, 1), bias, stride, padding, output_padding, dilation, groups)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Any = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Transposed convolution of x [N, K, H, W] with weight [K, C / groups, kh, kw]; see ops.conv_transpose."""
    return ops.conv_transpose(x, ranked(weight, 2), bias, stride, padding, output_padding, dilation, groups)


def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Any = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Transposed convolution of x [N, K, D, H, W] with weight [K, C / groups, kd, kh, kw]; see ops.conv_transpose."""
    return ops.conv_transpose(x, ranked(weight, 3), bias, stride, padding, output_padding, dilation, groups)


# ---- pooling -----------------------------------------------------------------------------------


def max_pool1d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Any = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window of x [N, C, L]; see ops.max_pool."""
    return ops.max_pool(x, per_axis(kernel_size, 1, "kernel_size"), stride, padding, dilation, ceil_mode)


def max_pool2d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Any = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window of x [N, C, H, W]; see ops.max_pool."""
    return ops.max_pool(x, per_axis(kernel_size, 2, "kernel_size"), stride, padding, dilation, ceil_mode)


def max_pool3d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Any = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window of x [N, C, D, H, W]; see ops.max_pool."""
    return ops.max_pool(x, per_axis(kernel_size, 3, "kernel_size"), stride, padding, dilation, ceil_mode)


def min_pool2d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Any = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The smallest element of each window of x [N, C, H, W]; see ops.min_pool."""
    return ops.min_pool(x, per_axis(kernel_size, 2, "kernel_size"), stride, padding, dilation, ceil_mode)


def avg_pool1d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of x [N, C, L]; see ops.avg_pool."""
    return ops.avg_pool(x, per_axis(kernel_size, 1, "kernel_size"), stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of x [N, C, H, W]; see ops.avg_pool."""
    return ops.avg_pool(x, per_axis(kernel_size, 2, "kernel_size"), stride, padding, ceil_mode, count_include_pad)


def avg_pool3d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of x [N, C, D, H, W]; see ops.avg_pool."""
    return ops.avg_pool(x, per_axis(kernel_size, 3, "kernel_size"), stride, padding, ceil_mode, count_include_pad)


def adaptive_avg_pool2d(x: Tensor, output_size: Sizes) -> Tensor:
    """Means of evenly spread windows, [N, C, H, W] -> [N, C, *output_size]; see ops.adaptive_avg_pool."""
    return ops.adaptive_avg_pool(x, per_axis(output_size, 2, "output_size"))


# ---- dropout -----------------------------------------------------------------------------------


def dropout(x: Tensor, p: float = 0.5, training: bool | None = None, *, key: Tensor | None = None) -> Tensor:
    """Zeroes elements at random and scales the others by 1 / (1 - p).

    Args:
        x: floating.
        p: probability that an element is dropped.
        training: False returns x. By default whether the running trace is of training mode.
        key: u64[2] that the mask is drawn from. By default the random key of the running
            trace, an input of its graph; each dropout draws a mask of its own from it.

    Raises:
        UsageError: no trace runs, and no key was given.
        ShapeError: p is no probability.
    """
    trace = current()
    if training is None:
        training = trace is not None and trace.mode == "training"
    if not training or p == 0:
        return x
    if key is not None:
        return ops.dropout(x, key, p, stream=0)
    if trace is None:
        raise UsageError("dropout outside of a trace needs key=, an array of two uint64")
    key, stream = trace.random()
    return ops.dropout(x, key, p, stream)


# ---- activations -------------------------------------------------------------------------------


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Returns x where x > 0, else negative_slope * x."""
    return ops.leaky_relu(x, negative_slope)


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along dim."""
    return ops.softmax(x, dim)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """log(softmax(x)) along dim, exact where softmax underflows."""
    return ops.log_softmax(x, dim)


# ---- shapes ------------------------------------------------------------------------------------

_MODES: dict[PadMode, Any] = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def pad(x: Tensor, pad: Sequence[int], mode: PadMode = "constant", value: float = 0.0) -> Tensor:
    """Adds elements around x, or with negative numbers cuts them off.

    Args:
        x: any tensor.
        pad: (front, behind) of the last axis, then of the one before it, and so on: (left,
            right, top, bottom) for images.
        mode: "constant"; "reflect" without repeating the rim; "replicate" the rim.
        value: what "constant" adds.

    Raises:
        UsageError: an odd count of numbers, more of them than axes, or no such mode.
        ShapeError: the axes are too short.
    """
    ndim = type_of(x).ndim
    if len(pad) % 2 or len(pad) > 2 * ndim:
        raise UsageError(f"pad={tuple(pad)} must be (front, behind) pairs, for at most {ndim} axes")
    if mode not in _MODES:
        raise UsageError(f"mode={mode!r}: choose {', '.join(map(repr, _MODES))}")
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    pairs += [(0, 0)] * (ndim - len(pairs))
    return ops.pad(x, tuple(reversed(pairs)), _MODES[mode], value)

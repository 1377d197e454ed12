"""Rows of convolution, transposed convolution and weight gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, N, real
from tinygraph.ops.conv import Conv, ConvWeightGrad
from tinygraph.ops.conv_transpose import ConvTranspose


def padded(x: Array, padding: Any) -> Array:
    wide = [n + front + behind for n, (front, behind) in zip(x.shape[2:], padding, strict=True)]
    y = np.zeros((*x.shape[:2], *wide), x.dtype)
    for n, c, *at in np.ndindex(*x.shape):
        y[(n, c, *(i + front for i, (front, _) in zip(at, padding, strict=True)))] = x[(n, c, *at)]
    return y


def place(op: Any, window: tuple[int, ...], tap: tuple[int, ...]) -> tuple[int, ...]:
    """The position in the padded input that a window's tap meets."""
    return tuple(o * s + t * d for o, s, t, d in zip(window, op.stride, tap, op.dilation, strict=True))


def naive_conv(op: Conv, x: Array, w: Array, *bias: Array) -> Array:
    x = padded(x, op.padding)
    k, per_group, *kernel = w.shape
    spans = [(size - 1) * d + 1 for size, d in zip(kernel, op.dilation, strict=True)]
    out = [(n - span) // s + 1 for n, span, s in zip(x.shape[2:], spans, op.stride, strict=True)]
    y = np.empty((len(x), k, *out), x.dtype)
    for n, f, *window in np.ndindex(*y.shape):
        first = f // (k // op.groups) * per_group
        total = 0
        for c, *tap in np.ndindex(per_group, *kernel):
            total = total + w[(f, c, *tap)] * x[(n, first + c, *place(op, window, tap))]
        y[(n, f, *window)] = total + bias[0][f] if bias else total
    return y


def naive_conv_transpose(op: ConvTranspose, x: Array, w: Array, *bias: Array) -> Array:
    k, per_group, *kernel = w.shape
    wide = [n + front + behind for n, (front, behind) in zip(op.output_size, op.padding, strict=True)]
    y = np.zeros((len(x), per_group * op.groups, *wide), x.dtype)
    for n, f, *window in np.ndindex(*x.shape):
        first = f // (k // op.groups) * per_group
        for c, *tap in np.ndindex(per_group, *kernel):
            at = (n, first + c, *place(op, window, tap))
            y[at] = y[at] + w[(f, c, *tap)] * x[(n, f, *window)]
    crop = [slice(front, front + n) for n, (front, _) in zip(op.output_size, op.padding, strict=True)]
    y = y[(slice(None), slice(None), *crop)]
    for n, c, *at in np.ndindex(*y.shape) if bias else ():
        y[(n, c, *at)] = y[(n, c, *at)] + bias[0][c]
    return y


def naive_weight_grad(op: ConvWeightGrad, x: Array, g: Array) -> Array:
    x = padded(x, op.padding)
    k, per_group = g.shape[1], x.shape[1] // op.groups
    w = np.empty((k, per_group, *op.kernel_size), x.dtype)
    for f, c, *tap in np.ndindex(*w.shape):
        first = f // (k // op.groups) * per_group
        total = 0
        for n, *window in np.ndindex(len(x), *g.shape[2:]):
            total = total + g[(n, f, *window)] * x[(n, first + c, *place(op, window, tap))]
        w[(f, c, *tap)] = total
    return w


LINE = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,)}
SPACE = {"stride": (1, 1, 1), "padding": ((0, 0),) * 3, "dilation": (1, 1, 1)}

CASES = [
    Case(Conv(), [real(N, 2, 4, 5), real(3, 2, 3, 2)], naive_conv),
    Case(Conv(padding=((1, 1), (1, 1))), [real(N, 2, 4, 3), real(3, 2, 3, 3), real(3)], naive_conv, "bias and padding"),
    Case(Conv(stride=(2, 3)), [real(N, 2, 6, 7), real(2, 2, 3, 2), real(2)], naive_conv, "stride with remainder"),
    Case(Conv(dilation=(2, 1)), [real(1, 2, 6, 4), real(2, 2, 3, 2)], naive_conv, "dilation"),
    Case(Conv(padding=((0, 2), (3, 1))), [real(1, 1, 3, 3), real(2, 1, 2, 3)], naive_conv, "asymmetric padding"),
    Case(Conv(groups=2), [real(N, 4, 3, 3), real(6, 2, 2, 2), real(6)], naive_conv, "groups"),
    Case(
        Conv(groups=3, padding=((1, 1), (1, 1))), [real(N, 3, 3, 4), real(6, 1, 3, 3), real(6)], naive_conv, "depthwise"
    ),
    Case(Conv(), [real(N, 4, 3, 2), real(3, 4, 1, 1), real(3)], naive_conv, "pointwise"),
    Case(Conv(stride=(2, 2)), [real(N, 3, 5, 4), real(2, 3, 1, 1)], naive_conv, "pointwise with stride"),
    Case(
        Conv((2, 1), ((1, 0), (2, 2)), (1, 2), 2),
        [real(2, 4, 4, 4), real(4, 2, 3, 2), real(4)],
        naive_conv,
        "all at once",
    ),
    Case(Conv(), [real(2, 3, 4, 4), real(2, 3, 4, 4), real(2)], naive_conv, "window of the whole input"),
    Case(Conv(**LINE), [real(N, 2, 6), real(3, 2, 3), real(3)], naive_conv, "one axis"),
    Case(Conv(**SPACE), [real(1, 2, 3, 3, 2), real(2, 2, 2, 2, 1), real(2)], naive_conv, "three axes"),
    Case(ConvTranspose(output_size=(4, 4)), [real(N, 3, 2, 3), real(3, 2, 3, 2)], naive_conv_transpose),
    Case(
        ConvTranspose((2, 2), output_size=(4, 4)),
        [real(1, 3, 2, 2), real(3, 1, 2, 2), real(1)],
        naive_conv_transpose,
        "upsampling",
    ),
    Case(
        ConvTranspose((2, 3), ((1, 0), (1, 1)), output_size=(5, 6)),
        [real(N, 2, 2, 2), real(2, 3, 3, 3), real(3)],
        naive_conv_transpose,
        "size with remainder",
    ),
    Case(
        ConvTranspose((1, 2), ((0, 1), (2, 0)), (2, 1), 2, output_size=(4, 5)),
        [real(2, 4, 3, 3), real(4, 2, 2, 3), real(4)],
        naive_conv_transpose,
        "all at once",
        reference=False,  # onnx.reference mistakes groups with several filters each
    ),
    Case(
        ConvTranspose((2, 2), groups=3, output_size=(5, 5)),
        [real(N, 3, 2, 2), real(3, 1, 3, 3)],
        naive_conv_transpose,
        "depthwise",
    ),
    Case(
        ConvTranspose(output_size=(2, 3)),
        [real(N, 3, 2, 3), real(3, 2, 1, 1), real(2)],
        naive_conv_transpose,
        "pointwise",
    ),
    Case(
        ConvTranspose((2,), ((1, 1),), (1,), output_size=(6,)),
        [real(N, 2, 3), real(2, 2, 3), real(2)],
        naive_conv_transpose,
        "one axis",
    ),
    Case(
        ConvTranspose(**SPACE, output_size=(3, 3, 2)),
        [real(1, 2, 2, 2, 2), real(2, 1, 2, 2, 1)],
        naive_conv_transpose,
        "three axes",
    ),
    Case(ConvWeightGrad(kernel_size=(3, 2)), [real(N, 2, 4, 3), real(N, 3, 2, 2)], naive_weight_grad),
    Case(
        ConvWeightGrad((2, 1), ((1, 0), (0, 2)), (1, 2), 2, kernel_size=(2, 2)),
        [real(2, 4, 4, 3), real(2, 4, 2, 3)],
        naive_weight_grad,
        "all at once",
    ),
    Case(
        ConvWeightGrad(groups=3, kernel_size=(2, 2)),
        [real(N, 3, 3, 3), real(N, 3, 2, 2)],
        naive_weight_grad,
        "depthwise",
    ),
    Case(
        ConvWeightGrad((2,), ((0, 0),), (1,), kernel_size=(2,)),
        [real(N, 2, 5), real(N, 3, 2)],
        naive_weight_grad,
        "one axis",
    ),
    Case(
        ConvWeightGrad(**SPACE, kernel_size=(2, 1, 2)),
        [real(1, 2, 3, 2, 2), real(1, 2, 2, 2, 1)],
        naive_weight_grad,
        "three axes",
    ),
]

"""Generated rows of ops whose windows slide over [N, C, *spatial]: convolutions and pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.gradients.draws import Draw, Shape, number, numbers, pairs, row, type_made
from tests.ops.harness import Case, distinct, real
from tinygraph.ops.base import Op
from tinygraph.ops.conv import Conv, ConvWeightGrad
from tinygraph.ops.conv_transpose import ConvTranspose
from tinygraph.ops.pool import MaxPool, MinPool
from tinygraph.ops.pool_adaptive import AdaptiveAvgPool, AdaptiveAvgPoolGrad
from tinygraph.ops.pool_average import AvgPool, AvgPoolGrad
from tinygraph.ops.pool_grad import ExtremeGather, ExtremeGrad
from tinygraph.ops.windows import extents


@st.composite
def convolutions(draw: Draw, kind: type[Op]) -> Case:
    """Up to three axes, groups, uneven padding, and sizes between two numbers of windows."""
    axes = number(draw, 1, 3)
    kernel, dilation, stride, windows = (numbers(draw, axes, 1, most) for most in (3, 2, 3, 3))
    padding, spans = pairs(draw, axes, 0, 2), extents(kernel, dilation)
    sizes = tuple(
        max(1, (count - 1) * step + span - sum(pads) + number(draw, 0, step - 1))
        for count, step, span, pads in zip(windows, stride, spans, padding, strict=True)
    )
    batch, groups, channels, filters = (number(draw, 1, most) for most in (2, 3, 2, 2))
    geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w = (batch, groups * channels, *sizes), (groups * filters, channels, *kernel)
    y = type_made(Conv(**geometry), x, w).dims
    if kind is ConvWeightGrad:
        return row(ConvWeightGrad(**geometry, kernel_size=kernel), real(*x), real(*y))
    ends, op = ((y, x), ConvTranspose(**geometry, output_size=sizes)) if kind is ConvTranspose else ((x, y), None)
    bias = [real(ends[1][1])] if draw(st.booleans()) else []
    return row(op or Conv(**geometry), real(*ends[0]), real(*w), *bias)


@st.composite
def pools(draw: Draw, make: Callable[[Draw, dict[str, Any], Shape], Op]) -> Case:
    """Windows that overlap, leave gaps, hang over, or reach far into uneven padding."""
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))
    kernel, dilation, stride = (numbers(draw, axes, 1, most) for most in (3, 2, 3))
    spans = extents(kernel, dilation)
    padding = tuple((number(draw, 0, min(2, span - 1)), number(draw, 0, min(2, span - 1))) for span in spans)
    sizes = tuple(
        max(1, span - sum(pads)) + number(draw, 0, 3 if axes < 3 else 1)
        for span, pads in zip(spans, padding, strict=True)
    )
    x = (*numbers(draw, 2, 1, 2), *sizes)
    geometry: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": draw(st.booleans()),
    }
    y = type_made(MaxPool(**geometry), x).dims
    op = make(draw, geometry, x)
    special = {ExtremeGrad: [distinct(*x), real(*y)], ExtremeGather: [distinct(*x), real(*x)], AvgPoolGrad: [real(*y)]}
    return row(op, *special.get(type(op), [distinct(*x)]))


@st.composite
def adaptive_pools(draw: Draw, backward: bool) -> Case:
    """Fewer windows than elements, more, and numbers that do not divide."""
    axes = number(draw, 1, 3)
    front, sizes, counts = numbers(draw, 2, 1, 2), numbers(draw, axes, 1, 5), numbers(draw, axes, 1, 4)
    op = AdaptiveAvgPoolGrad(sizes) if backward else AdaptiveAvgPool(counts)
    return row(op, real(*front, *(counts if backward else sizes)))


def _average(make: Callable[..., Op], backward: bool) -> st.SearchStrategy[Case]:
    def averaging(draw: Draw, geometry: dict[str, Any], x: Shape) -> Op:
        size: dict[str, Any] = {"size": x[2:]} if backward else {}
        return make(**geometry, count_include_pad=draw(st.booleans()), **size)

    return pools(averaging)


def _winning(make: Callable[..., Op]) -> st.SearchStrategy[Case]:
    return pools(lambda draw, geometry, x: make(**geometry, smallest=draw(st.booleans())))


WINDOWS: dict[str, st.SearchStrategy[Case]] = {
    "conv": convolutions(Conv),
    "conv_transpose": convolutions(ConvTranspose),
    "conv_weight_grad": convolutions(ConvWeightGrad),
    "max_pool": pools(lambda draw, geometry, x: MaxPool(**geometry)),
    "min_pool": pools(lambda draw, geometry, x: MinPool(**geometry)),
    "max_pool_grad": _winning(ExtremeGrad),
    "max_pool_gather": _winning(ExtremeGather),
    "avg_pool": _average(AvgPool, backward=False),
    "avg_pool_grad": _average(AvgPoolGrad, backward=True),
    "adaptive_avg_pool": adaptive_pools(False),
    "adaptive_avg_pool_grad": adaptive_pools(True),
}
"""By the names of the ops."""

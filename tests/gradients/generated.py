"""Rows that Hypothesis generates: shapes, axes, strides, paddings, dilations and groups of all small sizes.

Their numbers are drawn as those of any other row. They have no naive loops: only their gradients
are looked at.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from tests.gradients.draws import Draw, number, numbers, row, shape, thinned, type_made
from tests.gradients.windows import WINDOWS
from tests.ops.harness import Case, Input, booleans, distinct, key, labels, positive, real
from tinygraph.ops.activation import Elu, LeakyRelu
from tinygraph.ops.arithmetic import Add, Div, Maximum, Minimum, Mul, Sub, Where
from tinygraph.ops.base import Op
from tinygraph.ops.cross_entropy import CrossEntropy
from tinygraph.ops.dropout import Dropout
from tinygraph.ops.elementwise import Cast, Exp, Log, Neg, Relu, Sigmoid, Softplus, Sqrt, Tanh
from tinygraph.ops.index import Concat, Slice, SliceGrad
from tinygraph.ops.lrn import ChannelSum, Lrn
from tinygraph.ops.matmul import Linear, MatMul
from tinygraph.ops.norm import BatchNorm, BatchNormTrain
from tinygraph.ops.pad import Pad, PadGrad
from tinygraph.ops.prelu import PRelu
from tinygraph.ops.reduce import Max, Mean, Sum
from tinygraph.ops.shape import BroadcastTo, Reshape, Transpose
from tinygraph.ops.sign import Abs, Sign
from tinygraph.ops.softmax import LogSoftmax, Softmax

# ---- movements ----


@st.composite
def pads(draw: Draw, backward: bool) -> Case:
    """Padding and cropping in every mode."""
    x = shape(draw, 1)
    mode = draw(st.sampled_from(["reflect", "edge"] if backward else ["constant", "reflect", "edge"]))
    most = [d - 1 if mode == "reflect" else 3 for d in x]
    sides = tuple((number(draw, 1 - d, high), number(draw, 0, high)) for d, high in zip(x, most, strict=True))
    if draw(st.booleans()):
        sides = tuple((behind, front) for front, behind in sides)
    op = Pad(sides, mode, 1.5 if mode == "constant" else 0.0)
    y = type_made(op, x).dims
    return row(PadGrad(op.pads, mode), real(*y)) if backward else row(op, real(*x))


@st.composite
def slices(draw: Draw, backward: bool) -> Case:
    """Any places of an axis in even distances, forwards and backwards."""
    x = numbers(draw, number(draw, 1, 3), 1, 5)
    steps = tuple(draw(st.sampled_from([-2, -1, 1, 2, 3])) for _ in x)
    starts = tuple(number(draw, 0, d - 1) for d in x)
    stops = tuple(
        start + step * number(draw, 1, len(range(start, d if step > 0 else -1, step)))
        for d, start, step in zip(x, starts, steps, strict=True)
    )
    op = Slice(starts, stops, steps)
    return row(SliceGrad(starts, stops, steps, x), real(*op.sliced(x))) if backward else row(op, real(*x))


@st.composite
def concats(draw: Draw) -> Case:
    """Up to four tensors; the last axis by its negative number, too."""
    x = list(shape(draw, 1, 3))
    axis = number(draw, -len(x), len(x) - 1)
    inputs = []
    for _ in range(number(draw, 1, 4)):
        x[axis] = number(draw, 0, 3)
        inputs.append(real(*x))
    return row(Concat(axis), *inputs)


@st.composite
def movements(draw: Draw, kind: type[Op]) -> Case:
    """Reshape, transpose and broadcast_to of any shape."""
    x = shape(draw)
    if kind is Transpose:
        return row(Transpose(tuple(draw(st.permutations(range(len(x)))))), real(*x))
    if kind is Reshape:
        merged = (int(np.prod(x[:2])), *x[2:])
        return row(Reshape(draw(st.sampled_from([merged, (*x, 1), tuple(draw(st.permutations(x)))]))), real(*x))
    return row(BroadcastTo(x), real(*thinned(draw, x)))


@st.composite
def reductions(draw: Draw, kind: Callable[..., Op]) -> Case:
    """Over any axes, all of them or none."""
    x = shape(draw)
    axes = tuple(axis for axis in range(len(x)) if draw(st.booleans()))
    return row(kind(axes, draw(st.booleans())), distinct(*x) if kind is Max else real(*x))


# ---- products ----


@st.composite
def matmuls(draw: Draw) -> Case:
    """Stacks of matrices that are broadcast."""
    stack = shape(draw, 0, 2)
    m, k, n = numbers(draw, 3, 1, 3)
    return row(MatMul(), real(*thinned(draw, stack), m, k), real(*thinned(draw, stack), k, n))


@st.composite
def linears(draw: Draw) -> Case:
    """Any number of leading axes, with and without a bias."""
    features, units = numbers(draw, 2, 1, 3)
    bias = [real(units)] if draw(st.booleans()) else []
    return row(Linear(), real(*shape(draw, 0, 3), features), real(units, features), *bias)


# ---- functions ----


@st.composite
def functions(draw: Draw, op: Op, numbers: Callable[..., Input] = real) -> Case:
    """A function of one tensor of any shape."""
    return row(op, numbers(*shape(draw)))


@st.composite
def pairwise(draw: Draw, op: Op) -> Case:
    """A function of two tensors that are broadcast; no two numbers are close, and none is near to 0."""
    whole = shape(draw)
    a, b = thinned(draw, whole), thinned(draw, whole)
    apart = Input(b, lambda rng, dims: distinct(*dims).draw(rng, dims) * 1.01 + 0.07)
    return row(op, distinct(*a), positive(*b) if isinstance(op, Div) else apart)


@st.composite
def choices(draw: Draw) -> Case:
    """A condition and two tensors, all of them broadcast."""
    whole = shape(draw)
    condition, a, b = (thinned(draw, whole) for _ in range(3))
    return row(Where(), booleans(*condition), real(*a), real(*b))


@st.composite
def dropouts(draw: Draw) -> Case:
    """Any probability and stream."""
    return row(Dropout(draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])), number(draw, 0, 9)), real(*shape(draw)), key())


@st.composite
def maps(draw: Draw, make: Callable[[Draw, int], Op], numbers: Callable[..., Input] = real) -> Case:
    """An op on [N, C, *] whose attributes depend on the number of axes."""
    x = shape(draw, 2, 4)
    return row(make(draw, len(x)), numbers(*x[:1], number(draw, 1, 5), *x[2:]))


@st.composite
def batch_norms(draw: Draw, training: bool) -> Case:
    """Any number of spatial axes; enough numbers a channel that their variance is well away from 0."""
    channels, eps = number(draw, 1, 3), draw(st.sampled_from([1e-3, 0.1]))
    x = (number(draw, 4, 6), channels, *shape(draw, 0, 2))
    gamma, beta, mean, var = real(channels), real(channels), real(channels), positive(channels)
    if training:
        return row(BatchNormTrain(eps), distinct(*x), gamma, beta)
    return row(BatchNorm(eps), real(*x), gamma, beta, mean, var)


@st.composite
def prelus(draw: Draw) -> Case:
    """One slope, or one for each channel."""
    x = shape(draw, 1)
    return row(PRelu(), distinct(*x), real(x[1] if len(x) > 1 and draw(st.booleans()) else 1))


@st.composite
def cross_entropies(draw: Draw) -> Case:
    """Labels of samples and of pixels, some of them ignored."""
    batch, classes = number(draw, 1, 4), number(draw, 1, 4)
    pixels = shape(draw, 0, 2)
    ignored = number(draw, -1, classes - 1)
    return row(CrossEntropy(ignored), real(batch, classes, *pixels), labels(batch, *pixels, classes=classes))


def _lrn(draw: Draw, _: int) -> Op:
    over = draw(st.sampled_from(["size", "one"]))
    return Lrn(number(draw, 1, 6), 0.1, draw(st.sampled_from([0.5, 0.75])), 2.0, over)


def _channel_sum(draw: Draw, _: int) -> Op:
    return ChannelSum(number(draw, 0, 3), number(draw, 0, 3))


def _along(kind: Callable[[int], Op]) -> st.SearchStrategy[Case]:
    return maps(lambda draw, ndim: kind(number(draw, 0, ndim - 1)))


GENERATED: dict[str, st.SearchStrategy[Case]] = {
    **WINDOWS,
    **{op.name: functions(op) for op in (Neg(), Exp(), Tanh(), Sigmoid(), Softplus())},
    **{op.name: functions(op, distinct) for op in (Relu(), LeakyRelu(0.3), Elu(0.5), Abs(), Sign())},
    **{op.name: functions(op, positive) for op in (Log(), Sqrt())},
    **{op.name: pairwise(op) for op in (Add(), Sub(), Mul(), Div(), Maximum(), Minimum())},
    "where": choices(),
    "prelu": prelus(),
    "cast": functions(Cast("float64")),
    "dropout": dropouts(),
    **{kind.name: reductions(kind) for kind in (Sum, Mean, Max)},
    **{kind.name: movements(kind) for kind in (Reshape, Transpose, BroadcastTo)},
    "slice": slices(False),
    "slice_grad": slices(True),
    "pad": pads(False),
    "pad_grad": pads(True),
    "concat": concats(),
    "matmul": matmuls(),
    "linear": linears(),
    "batch_norm": batch_norms(training=False),
    "batch_norm_train": batch_norms(training=True),
    "lrn": maps(_lrn),
    "channel_sum": maps(_channel_sum),
    "softmax": _along(Softmax),
    "log_softmax": _along(LogSoftmax),
    "cross_entropy": cross_entropies(),
}
"""By the names of the ops."""

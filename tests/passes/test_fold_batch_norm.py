"""fold_batch_norm: what it folds, what it leaves alone, and that the answers get no worse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.passes.checks import apply, error, leaves, ops, turns
from tinygraph.ir import Graph, TensorType
from tinygraph.nn.init import KaimingNormal, Seeded
from tinygraph.ops import batch_norm, conv, conv_transpose, linear, relu, transpose
from tinygraph.passes.fold_batch_norm import Scaled, fold_batch_norm
from tinygraph.passes.pipeline import optimize
from tinygraph.runtime.evaluate import evaluate
from tinygraph.text import parse
from tinygraph.trace import Spec, trace

CONV = """
graph inference
input %x: f32[1,1,2,2]
param %w: f32[2,1,1,1] = {1, 2}
param %gamma: f32[2] = {3, 1}
param %beta: f32[2] = {0.5, 0}
buffer %mean: f32[2] = {1, 2}
buffer %var: f32[2] = {3, 0}
%conv: f32[1,2,2,2] = conv(%x, %w) @ m.conv net.py:3
%bn: f32[1,2,2,2] = batch_norm(%conv, %gamma, %beta, %mean, %var, eps=1.0) @ m.bn net.py:4
%y: f32[1,2,2,2] = relu(%bn)
output "y" = %y
"""


def test_conv_without_bias() -> None:
    after = """
    graph inference
    input %x: f32[1,1,2,2]
    frozen %w.folded: f32[2,1,1,1] = {1.5, 2}
    frozen %conv.bias.folded: f32[2] = {-1, -2}
    %conv: f32[1,2,2,2] = conv(%x, %w.folded, %conv.bias.folded) @ m.conv net.py:3 from conv, bn
    %y: f32[1,2,2,2] = relu(%conv)
    output "y" = %y
    """
    turns(fold_batch_norm, CONV, after)


def test_conv_with_bias_and_an_output_between_conv_and_relu() -> None:
    before = CONV.replace("param %gamma", "frozen %b: f32[2] = {10, 20}\nparam %gamma")
    before = before.replace("conv(%x, %w)", "conv(%x, %w, %b)")
    after = """
    graph inference
    input %x: f32[1,1,2,2]
    frozen %w.folded: f32[2,1,1,1] = {1.5, 2}
    frozen %b.folded: f32[2] = {14, 18}
    %conv: f32[1,2,2,2] = conv(%x, %w.folded, %b.folded) @ m.conv net.py:3 from conv, bn
    %y: f32[1,2,2,2] = relu(%conv)
    output "y" = %y
    output "before" = %conv
    """
    turns(fold_batch_norm, before + 'output "before" = %bn', after)


def test_a_chain_of_batch_norms_folds_as_one() -> None:
    chain = """%b2: f32[1,2,2,2] = batch_norm(%bn, %gamma, %beta, %mean, %var, eps=1.0)
    %b3: f32[1,2,2,2] = batch_norm(%b2, %beta, %gamma, %var, %mean, eps=0.0)
    %y: f32[1,2,2,2] = relu(%b3)"""
    graph = parse(CONV.replace("%y: f32[1,2,2,2] = relu(%bn)", chain))
    after = apply(fold_batch_norm, graph)
    assert ops(after) == ["conv", "relu"]
    assert after.nodes[0].origins == ("conv", "bn", "b2", "b3")
    assert sum(v.name.endswith(".folded") for v in after.data) == 2


LINEAR = """
graph inference
input %x: f32[N,2]
param %w: f32[2,2] = {1, 2, 3, 4}
param %b: f32[2] = {1, 1}
buffer %one: f32[2] = {1, 4}
buffer %half: f32[2] = {0.5, 2}
"""


def test_linear() -> None:
    before = (
        LINEAR
        + """
    %h: f32[N,2] = linear(%x, %w, %b)
    %y: f32[N,2] = batch_norm(%h, %half, %half, %one, %one, eps=0.0)
    output "y" = %y
    """
    )
    after = """
    graph inference
    input %x: f32[N,2]
    frozen %w.folded: f32[2,2] = {0.5, 1, 3, 4}
    frozen %b.folded: f32[2] = {0.5, -1}
    %h: f32[N,2] = linear(%x, %w.folded, %b.folded) from h, y
    output "y" = %h
    """
    turns(fold_batch_norm, before, after)


def test_in_front_of_linear() -> None:
    before = (
        LINEAR
        + """
    %h: f32[N,2] = batch_norm(%x, %half, %half, %one, %one, eps=0.0)
    %y: f32[N,2] = linear(%h, %w, %b)
    output "y" = %y
    """
    )
    after = """
    graph inference
    input %x: f32[N,2]
    frozen %w.folded: f32[2,2] = {0.5, 2, 1.5, 4}
    frozen %b.folded: f32[2] = {-3, -7}
    %y: f32[N,2] = linear(%x, %w.folded, %b.folded) from y, h
    output "y" = %y
    """
    turns(fold_batch_norm, before, after)


# ---- every geometry, against float64 ----------------------------------------------------


class Numbers:
    """Random weights and random, far from trivial, statistics."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape, np.float32)

    def bn(self, x: Any, channels: int, eps: float = 1e-3) -> Any:
        var = self.rng.uniform(0.2, 3, channels).astype(np.float32)
        return batch_norm(x, self(channels), self(channels), self(channels), var, eps)


def check_folds(fn: Callable[..., Any], *shape: int | str) -> Graph:
    graph = trace(fn, Spec(shape))
    after = apply(fold_batch_norm, graph)
    assert "batch_norm" not in ops(after)
    return after


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((3, 3), {"padding": 1}),
        ((3, 2), {"stride": (2, 1), "padding": ((0, 2), (1, 0))}),
        ((2, 2), {"dilation": (2, 3), "padding": "same"}),
        ((1, 1), {}),
        ((3,), {"padding": 1}),
        ((2, 1, 3), {"stride": 2, "padding": 1}),
    ],
)
@pytest.mark.parametrize(("cin", "cout", "groups"), [(4, 6, 1), (4, 6, 2), (4, 4, 4), (3, 6, 3)])
def test_behind_a_convolution(
    kernel: tuple[int, ...], options: dict[str, Any], cin: int, cout: int, groups: int, bias: bool
) -> None:
    r = Numbers()
    w, b = r(cout, cin // groups, *kernel), r(cout) if bias else None
    check_folds(lambda x: r.bn(conv(x, w, b, groups=groups, **options), cout), 2, cin, *(7,) * len(kernel))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("cin", "cout", "groups"), [(4, 6, 1), (4, 6, 2), (4, 4, 4), (3, 6, 3), (6, 3, 3)])
def test_behind_a_transposed_convolution(cin: int, cout: int, groups: int, bias: bool) -> None:
    r = Numbers()
    w, b = r(cin, cout // groups, 3, 2), r(cout) if bias else None
    options: dict[str, Any] = {"stride": 2, "padding": 1, "output_padding": 1, "groups": groups}
    check_folds(lambda x: r.bn(conv_transpose(x, w, b, **options), cout), 2, cin, 4, 5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("cin", "cout", "groups"), [(4, 6, 1), (4, 6, 2), (4, 4, 4), (3, 6, 3)])
def test_in_front_of_an_unpadded_convolution(cin: int, cout: int, groups: int, bias: bool) -> None:
    r = Numbers()
    w, b = r(cout, cin // groups, 3, 2), r(cout) if bias else None
    after = check_folds(
        lambda x: conv(r.bn(r.bn(x, cin), cin), w, b, stride=2, dilation=(1, 2), groups=groups), 2, cin, 6, 7
    )
    assert ops(after) == ["conv"]


def test_on_both_sides_of_one_convolution() -> None:
    r = Numbers()
    w = r(4, 3, 2, 2)
    after = optimize(trace(lambda x: r.bn(conv(r.bn(x, 3), w), 4), Spec((1, 3, 5, 5))), check=True)
    assert ops(after) == ["conv"]
    assert set(after.nodes[0].origins) == {"conv", "batch_norm", "batch_norm.1"}


def test_between_two_convolutions_it_goes_to_the_first() -> None:
    r = Numbers()
    v, w = r(4, 3, 2, 2), r(2, 4, 2, 2)
    after = check_folds(lambda x: conv(r.bn(conv(x, v), 4), w), 1, 3, 5, 5)
    assert [len(node.inputs) for node in after.nodes] == [3, 2]


def test_a_weight_shared_by_two_convolutions_is_folded_twice() -> None:
    r = Numbers()
    w = r(3, 3, 1, 1)
    graph = trace(lambda x: r.bn(conv(relu(r.bn(conv(x, w), 3)), w), 3), Spec((1, 3, 4, 4)))
    shared = optimize(graph, ["cse"])
    assert len({node.inputs[1] for node in shared.nodes if node.op.name == "conv"}) == 1
    after = apply(fold_batch_norm, shared)
    first, _, second = after.nodes
    assert ops(after) == ["conv", "relu", "conv"]
    assert first.inputs[1] is not second.inputs[1]


def test_float64_and_float16() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.float16, np.float64):
        vectors = [rng.uniform(0.5, 1.5, 3).astype(dtype) for _ in range(4)]
        w = rng.standard_normal((3, 2, 3, 3)).astype(dtype)
        after = apply(
            fold_batch_norm, trace(lambda x, w=w, v=vectors: batch_norm(conv(x, w), *v), Spec((1, 2, 5, 5), dtype))
        )
        assert {v.type.dtype for v in after.values()} == {np.dtype(dtype)}


# ---- accuracy --------------------------------------------------------------------------


def test_folding_is_more_exact_than_not_folding() -> None:
    """Bias and mean of 1000, variance 1e-12: what cancels must cancel before it is rounded."""
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((8, 16, 3, 3)) * 1e-3).astype(np.float32)
    thousand = np.full(8, 1000, np.float32)
    ones, zeros, tiny = np.ones(8, np.float32), np.zeros(8, np.float32), np.full(8, 1e-12, np.float32)
    graph = trace(
        lambda x: batch_norm(conv(x, w, thousand, padding=1), ones, zeros, thousand, tiny), Spec((1, 16, 8, 8))
    )
    x = {"x": rng.standard_normal((1, 16, 8, 8)).astype(np.float32)}
    exact = evaluate(graph, x, np.float64)
    unfused = error(graph, exact, x)
    assert unfused > 1e-3
    assert error(fold_batch_norm(graph), exact, x) <= unfused / 10


# ---- numbers that are made later ---------------------------------------------------------


def test_recipes_stay_recipes() -> None:
    weight = Seeded(TensorType((4, 3, 3, 3)), KaimingNormal(), key="w")
    graph = parse("""
    graph inference
    input %x: f32[1,3,5,5]
    param %w: f32[4,3,3,3] = kaiming_normal() seed=0 key="w"
    param %v: f32[4] = {1, 2, 3, 4}
    %c: f32[1,4,3,3] = conv(%x, %w)
    %y: f32[1,4,3,3] = batch_norm(%c, %v, %v, %v, %v)
    output "y" = %y
    """)
    after = fold_batch_norm(graph)
    old, new = graph.data[graph.value("w")], after.data[after.value("w.folded")]
    assert not isinstance(new, np.ndarray)
    assert new.type == weight.type
    assert "_made" not in vars(old) | vars(new), "folding made numbers"
    v = np.arange(1, 5, dtype=np.float64)
    np.testing.assert_allclose(new.array(), weight.array() * (v / np.sqrt(v + 1e-5)).reshape(4, 1, 1, 1), rtol=1e-6)
    assert not new.array().flags.writeable
    apply(fold_batch_norm, graph)


def test_recipes_folded_on_both_sides_are_scaled_twice_and_rounded_once() -> None:
    after = optimize(
        parse("""
        graph inference
        input %x: f32[1,3,5,5]
        param %w: f32[4,3,3,3] = kaiming_normal() seed=0 key="w"
        param %u: f32[3] = {0.5, 2, 3}
        param %v: f32[4] = {1, 2, 3, 4}
        %a: f32[1,3,5,5] = batch_norm(%x, %u, %u, %u, %u)
        %c: f32[1,4,3,3] = conv(%a, %w)
        %y: f32[1,4,3,3] = batch_norm(%c, %v, %v, %v, %v)
        output "y" = %y
        """),
        check=True,
    )
    (weight,) = (data for value, data in after.data.items() if value.type.ndim == 4)
    assert isinstance(weight, Scaled)
    assert isinstance(weight.weight, Seeded)


# ---- what must be left alone ---------------------------------------------------------------


LEFT_ALONE = {
    "training": {"inference": "training"},
    "the conv is an output": {'output "y"': 'output "conv" = %conv\noutput "y"'},
    "the conv is read elsewhere": {"relu(%bn)": "add(%bn, %conv)"},
    "the weight is an input": {"param %w: f32[2,1,1,1] = {1, 2}": "input %w: f32[2,1,1,1]"},
    "the bias is an input": {"param %w": "input %b: f32[2]\nparam %w", "(%x, %w)": "(%x, %w, %b)"},
    "the variance is an input": {"buffer %var: f32[2] = {3, 0}": "input %var: f32[2]"},
    "gamma is an input": {"param %gamma: f32[2] = {3, 1}": "input %gamma: f32[2]"},
    "variance + eps is 0": {"{3, 0}": "{3, -1}"},
    "variance + eps is negative": {"{3, 0}": "{3, -2}"},
    "the scale leaves float32": {
        "{3, 1}": "{3, 3e38}",
        "eps=1.0": "eps=1e-30",
        "mean: f32[2] = {1, 2}": "mean: f32[2] = {1, 0}",
    },
    "the shift leaves float32": {
        "mean: f32[2] = {1, 2}": "mean: f32[2] = {1e38, 2}",
        "{3, 0}": "{3e-10, 1}",
        "eps=1.0": "eps=1e-12",
    },
    "relu between": {"%conv: f32[1,2,2,2] =": "%c: f32[1,2,2,2] =", "%bn:": "%conv: f32[1,2,2,2] = relu(%c)\n%bn:"},
}


@pytest.mark.parametrize("label", LEFT_ALONE)
def test_left_alone(label: str) -> None:
    text = CONV
    for old, new in LEFT_ALONE[label].items():
        assert old in text
        text = text.replace(old, new)
    leaves(fold_batch_norm, text)


def test_nan_and_infinite_statistics_are_left_alone() -> None:
    for position, bad in [(0, np.inf), (1, np.nan), (2, -np.inf), (3, np.nan), (3, np.inf)]:
        vectors = [np.ones(2, np.float32) for _ in range(4)]
        vectors[position] = np.float32([1, bad])
        graph = trace(
            lambda x, v=vectors: batch_norm(conv(x, np.ones((2, 1, 1, 1), np.float32)), *v), Spec((1, 1, 2, 2))
        )
        if (position, bad) == (3, np.inf):  # 1 / sqrt(inf) is an honest 0
            assert ops(apply(fold_batch_norm, graph)) == ["conv"]
        else:
            leaves(fold_batch_norm, graph)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_weights_that_would_overflow_are_left_alone(dtype: Any) -> None:
    """A scale of 316 is finite and so is the weight, but their product is not."""
    zeros, ones, eps = np.zeros(2, dtype), np.ones(2, dtype), 1e-5
    w = np.full((2, 2, 1, 1), np.finfo(dtype).max / 100, dtype)

    def behind(x: Any) -> Any:
        return batch_norm(conv(x, w), ones, zeros, zeros, zeros, eps)

    def in_front(x: Any) -> Any:
        return conv(batch_norm(x, ones, zeros, zeros, zeros, eps), w)

    for fn in (behind, in_front):
        leaves(fold_batch_norm, trace(fn, Spec((1, 2, 3, 3), dtype)))


def test_linear_on_more_axes_is_left_alone() -> None:
    r = Numbers()
    w = r(4, 3)
    leaves(fold_batch_norm, trace(lambda x: r.bn(linear(x, w), 4), Spec((2, 4, 3))))
    leaves(fold_batch_norm, trace(lambda x: linear(r.bn(x, 3), w), Spec((2, 3, 3))))


@pytest.mark.parametrize("padding", [1, ((0, 1), (0, 0)), "same"])
def test_in_front_of_a_padded_convolution_is_left_alone(padding: Any) -> None:
    r = Numbers()
    w = r(4, 3, 3, 3)
    leaves(fold_batch_norm, trace(lambda x: conv(r.bn(x, 3), w, padding=padding), Spec((1, 3, 5, 5))))


def test_in_front_of_a_convolution_that_would_have_to_cancel_is_left_alone() -> None:
    one, far, near = (np.full(3, v, np.float32) for v in (1, 1e4, 1e-2))
    w = Numbers()(4, 3, 3, 3)
    leaves(fold_batch_norm, trace(lambda x: conv(batch_norm(x, one, one, far, one), w), Spec((1, 3, 5, 5))))
    assert ops(fold_batch_norm(trace(lambda x: conv(batch_norm(x, one, one, one, near), w), Spec((1, 3, 5, 5))))) == [
        "conv"
    ]


def test_in_front_of_a_transposed_convolution_is_left_alone() -> None:
    r = Numbers()
    w = r(3, 4, 3, 3)
    leaves(fold_batch_norm, trace(lambda x: conv_transpose(r.bn(x, 3), w), Spec((1, 3, 5, 5))))


def test_in_front_with_another_reader_is_left_alone() -> None:
    r = Numbers()
    w = r(3, 3, 1, 1)

    def fork(x: Any) -> Any:
        h = r.bn(x, 3)
        return conv(h, w) + h

    leaves(fold_batch_norm, trace(fork, Spec((1, 3, 5, 5))))


def test_a_chain_read_in_the_middle_folds_up_to_there() -> None:
    r = Numbers()
    w = r(3, 3, 1, 1)

    def fork(x: Any) -> Any:
        h = r.bn(conv(x, w), 3)
        return r.bn(h, 3) + h

    after = apply(fold_batch_norm, trace(fork, Spec((1, 3, 5, 5))))
    assert ops(after) == ["conv", "batch_norm", "add"]


def test_statistics_that_come_out_of_the_chain_itself_are_left_alone() -> None:
    ones, w = np.ones(2, np.float32), np.ones((2, 1, 1, 1), np.float32)

    def odd(x: Any) -> Any:
        h = batch_norm(conv(x, w), ones, ones, ones, ones)
        return batch_norm(np.ones((1, 2, 1, 1), np.float32), h[0, :, 0, 0], ones, ones, ones)

    assert ops(apply(fold_batch_norm, trace(odd, Spec((1, 1, 1, 1)))))[-1] == "batch_norm"


def test_something_else_between_is_left_alone() -> None:
    r = Numbers()
    w = r(3, 3, 1, 1)
    leaves(fold_batch_norm, trace(lambda x: r.bn(transpose(conv(x, w), (0, 2, 1, 3)), 5), Spec((1, 3, 5, 5))))


def scaled_by_hand() -> list[Callable[[Any], Any]]:
    c, w, width = np.float32([2, -3, 0.5]).reshape(3, 1, 1), Numbers()(3, 3, 1, 1), np.float32([1, 2, 3])
    wide = np.ones((4, 3, 1, 1), np.float32)
    return [
        lambda x: conv(x, w) * c,
        lambda x: conv(x, w) + c,
        lambda x: c - conv(x, w),
        lambda x: c / conv(x, w),
        lambda x: conv(x, w) / c,
        lambda x: conv(x, w) * width,
        lambda x: conv(x, w) + wide,
    ]


@pytest.mark.parametrize("fn", scaled_by_hand())
def test_arithmetic_behind_a_convolution_is_left_alone(fn: Callable[[Any], Any]) -> None:
    """A [W] vector with W == C is no channel vector, and an addition may widen the batch."""
    graph = trace(fn, Spec((1, 3, 3, 3)))
    leaves(fold_batch_norm, graph)
    assert ops(optimize(graph, check=True)) == ops(graph)

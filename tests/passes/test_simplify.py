"""simplify: what does nothing goes, and what only looks like nothing stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.passes.checks import apply, leaves, ops, turns
from tinygraph.ops import avg_pool, cast, conv, max_pool, min_pool, neg, pad
from tinygraph.passes.compare import random_inputs
from tinygraph.passes.pipeline import PASSES, optimize
from tinygraph.passes.simplify import simplify
from tinygraph.runtime.evaluate import evaluate
from tinygraph.text import parse
from tinygraph.trace import Spec, trace


def test_no_ops_go() -> None:
    before = """
    graph inference
    input %x: f32[N,3]
    %a: f32[N,3] = reshape(%x, shape=(N, 3))
    %b: f32[N,3] = transpose(%a, axes=(0, 1))
    %c: f32[N,3] = cast(%b, dtype="float32")
    %d: f32[N,3] = broadcast_to(%c, shape=(N, 3))
    %e: f32[N,3] = pad(%d, pads=((0, 0), (0, 0)))
    %f: f32[N,3] = slice(%e, starts=(0, 0), stops=(N, 3), steps=(1, 1))
    %g: f32[N,3] = concat(%f, axis=1)
    %y: f32[N,3] = relu(%g) @ act net.py:1
    output "y" = %y
    """
    after = """
    graph inference
    input %x: f32[N,3]
    %y: f32[N,3] = relu(%x) @ act net.py:1
    output "y" = %y
    """
    turns(simplify, before, after)


def test_an_identity_between_input_and_output_keeps_both() -> None:
    before = 'graph inference\ninput %x: f32[2]\n%a: f32[2] = reshape(%x, shape=(2,))\noutput "y" = %a\noutput "x" = %x'
    turns(simplify, before, 'graph inference\ninput %x: f32[2]\noutput "y" = %x\noutput "x" = %x')


def test_reshapes_in_a_row_become_one() -> None:
    before = """
    graph inference
    input %x: f32[N,2,3]
    %a: f32[N,6] = reshape(%x, shape=(N, 6)) @ m net.py:1
    %b: f32[N,3,2] = reshape(%a, shape=(N, 3, 2)) @ m net.py:2
    %c: f32[N,2,3] = reshape(%b, shape=(N, 2, 3))
    output "a" = %a
    output "b" = %b
    output "c" = %c
    """
    after = """
    graph inference
    input %x: f32[N,2,3]
    %a: f32[N,6] = reshape(%x, shape=(N, 6)) @ m net.py:1
    %b: f32[N,3,2] = reshape(%x, shape=(N, 3, 2)) @ m net.py:2 from b
    output "a" = %a
    output "b" = %b
    output "c" = %x
    """
    turns(simplify, before, after)


def test_transposes_in_a_row_become_one() -> None:
    before = """
    graph inference
    input %x: f32[2,3,4]
    %a: f32[3,4,2] = transpose(%x, axes=(1, 2, 0))
    %b: f32[4,3,2] = transpose(%a, axes=(1, 0, 2))
    %c: f32[2,3,4] = transpose(%b, axes=(2, 1, 0))
    %p: f32[4,3,2] = relu(%b)
    output "p" = %p
    output "c" = %c
    """
    after = """
    graph inference
    input %x: f32[2,3,4]
    %b: f32[4,3,2] = transpose(%x, axes=(2, 1, 0)) from b
    %p: f32[4,3,2] = relu(%b)
    output "p" = %p
    output "c" = %x
    """
    turns(simplify, before, after)


def test_every_composition_of_two_transposes() -> None:
    from itertools import permutations

    for first in permutations(range(3)):
        for second in permutations(range(3)):
            graph = trace(lambda x, a=first, b=second: x.transpose(a).transpose(b), Spec((2, 3, 4)))
            assert len(apply(simplify, graph).nodes) <= 1


def test_dropout_that_drops_nothing() -> None:
    text = """
    graph training
    input %x: f32[4]
    input %key: u64[2]
    %y: f32[4] = dropout(%x, %key, p=0.0, stream=0)
    output "y" = %y
    """
    after = apply(simplify, parse(text))
    assert ops(after) == []
    assert [v.name for v in after.inputs] == ["x", "key"]
    leaves(simplify, text.replace("p=0.0", "p=0.5"))


@pytest.mark.parametrize(
    "line",
    [
        "%y: f32[3,3] = transpose(%x, axes=(1, 0))",
        "%y: f32[3,3] = slice(%x, starts=(2, 0), stops=(-1, 3), steps=(-1, 1))",
        "%y: f32[3,3] = pad(%x, pads=((1, -1), (0, 0)))",
        '%y: f32[3,3] = pad(%x, pads=((1, -1), (0, 0)), mode="edge")',
        "%y: f32[3,6] = concat(%x, %x, axis=1)",
        '%y: f64[3,3] = cast(%x, dtype="float64")',
        "%y: f32[9] = reshape(%x, shape=(9,))",
        "%y: f32[2,3,3] = broadcast_to(%x, shape=(2, 3, 3))",
    ],
)
def test_what_keeps_the_shape_but_moves_numbers_stays(line: str) -> None:
    leaves(simplify, f'graph inference\ninput %x: f32[3,3]\n{line}\noutput "y" = %y')


# ---- algebra that does not hold for floats -----------------------------------------------

ODD = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, 1e38, 1e-45, -3])


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x + np.float32(0),
        lambda x: x - np.float32(0),
        lambda x: x * np.float32(0),
        lambda x: x * np.float32(1),
        lambda x: x / np.float32(1),
        lambda x: np.float32(0) - x,
        lambda x: np.float32(0) / x,
        lambda x: x - x,
        lambda x: x / x,
        lambda x: neg(neg(x)),
        lambda x: cast(cast(x, "float16"), "float32"),
    ],
)
def test_no_pass_touches_the_bits_of_odd_numbers(fn: Callable[[Any], Any]) -> None:
    graph = trace(fn, Spec((len(ODD),)))
    want = evaluate(graph, {"x": ODD})["output"]
    got = evaluate(optimize(graph), {"x": ODD})["output"]
    assert want.tobytes() == got.tobytes()


# ---- padding -----------------------------------------------------------------------------

BORDERS = ((0, 0), (0, 0), (1, 1), (1, 1))
PADDED: dict[str, Callable[[Any], Any]] = {
    "zeros, max pool": lambda x: max_pool(pad(x, BORDERS), 3, 2),
    "zeros, min pool": lambda x: min_pool(pad(x, BORDERS), 3, 2),
    "-inf, max pool": lambda x: max_pool(pad(x, BORDERS, value=-np.inf), 3, 2),
    "zeros, padded max pool": lambda x: max_pool(pad(x, BORDERS), 3, 2, padding=1),
    "zeros, average pool": lambda x: avg_pool(pad(x, BORDERS), 3, 2),
    "zeros, average pool, own pads not counted": lambda x: avg_pool(pad(x, BORDERS), 3, 2, 1, count_include_pad=False),
    "asymmetric": lambda x: max_pool(pad(x, ((0, 0), (0, 0), (0, 2), (1, 0))), 2),
    "cropped": lambda x: max_pool(pad(x, ((0, 0), (0, 0), (-1, 0), (0, -2))), 2),
    "reflected": lambda x: max_pool(pad(x, BORDERS, "reflect"), 3, 2),
    "edge, average pool": lambda x: avg_pool(pad(x, BORDERS, "edge"), 3, 2),
    "fives": lambda x: max_pool(pad(x, BORDERS, value=5), 3, 2),
    "channels": lambda x: max_pool(pad(x, ((0, 0), (1, 0), (0, 0), (0, 0))), 2),
    "ceil mode": lambda x: max_pool(pad(x, BORDERS), 3, 2, padding=1, ceil_mode=True),
    "average pool, ceil mode": lambda x: avg_pool(pad(x, BORDERS), 3, 2, padding=1, ceil_mode=True),
    "zeros, convolution": lambda x: conv(pad(x, BORDERS), np.ones((2, 3, 3, 3), np.float32), padding=1),
    "fives, convolution": lambda x: conv(pad(x, BORDERS, value=5), np.ones((2, 3, 3, 3), np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("label", PADDED)
def test_padding_keeps_its_meaning(label: str) -> None:
    graph = trace(PADDED[label], Spec((1, 3, 6, 7)))
    x = random_inputs(graph)["x"]
    for inputs in (x, -np.abs(x) - 1, np.abs(x) + 1):
        for passes in ("inference", *([name] for name in PASSES)):
            after = optimize(graph, passes, check={"x": inputs})
            assert "pad" in ops(after) or "convolution" in label

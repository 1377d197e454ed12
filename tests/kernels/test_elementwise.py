"""Functions of broadcast arrays, choices, reductions and products, whole and divided among threads."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygraph.kernels import elementwise, matrix, reduction
from tinygraph.kernels.elementwise import Choice, Elementwise, extent, tiles
from tinygraph.kernels.matrix import MatrixProduct
from tinygraph.kernels.reduction import Reduce
from tinygraph.kernels.scratch import Array

SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)
WORKERS = st.integers(1, 3)


@st.composite
def broadcast(draw: Any, operands: int) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """Shapes of operands, and what they are broadcast to."""
    whole = draw(SHAPES)
    shapes = []
    for _ in range(operands):
        cut = draw(st.integers(0, len(whole)))
        shapes.append(tuple(n if draw(st.booleans()) else 1 for n in whole[cut:]))
    return shapes, np.broadcast_shapes(*shapes)


def numbers(shape: tuple[int, ...], dtype: Any, seed: int) -> Array:
    """Numbers of any dtype, NaN, infinities and -0.0 among them where there are such."""
    rng = np.random.default_rng(seed)
    x = np.asarray(rng.integers(-2, 3, shape).astype(dtype))
    if x.dtype.kind == "f":
        x[rng.random(shape) < 0.2] = np.nan
        x[rng.random(shape) < 0.2] = -np.inf
        x[rng.random(shape) < 0.2] = -0.0
    return x


def same_bits(a: Array, b: Array) -> None:
    np.testing.assert_array_equal(np.ascontiguousarray(a).view(np.uint8), np.ascontiguousarray(b).view(np.uint8))


@given(broadcast(2), WORKERS)
@settings(deadline=None)
def test_elementwise(shapes: Any, workers: int) -> None:
    operands, shape = shapes
    a, b = (numbers(s, np.float64, i) for i, s in enumerate(operands))
    y = np.full(shape, 7.0)
    with patch.multiple(elementwise, _WORTH_SHARING=1), np.errstate(invalid="ignore"):
        Elementwise(np.subtract, operands, shape, workers).run([a, b], y)
        np.testing.assert_array_equal(y, a - b)


@given(
    broadcast(3),
    WORKERS,
    st.sampled_from([1, 3, 1000]),
    st.sampled_from(["bool", "int8", "float16", "int32", "float32", "int64", "float64"]),
    st.booleans(),
    st.sampled_from(["own", "a", "b", "reversed"]),
)
@settings(max_examples=300, deadline=None)
def test_choice(shapes: Any, workers: int, tile: int, dtype: str, zero: bool, memory: str) -> None:
    """Bit by bit what np.where takes; also when the result lies where an operand is."""
    operands, shape = shapes
    condition = numbers(operands[0], np.int8, 0) > 0
    a, b = numbers(operands[1], dtype, 1), numbers(operands[2], dtype, 2)
    if zero:
        b = np.zeros_like(b)
    wanted = np.where(condition, a, b)
    y = np.empty(shape, dtype)
    if memory == "a" and a.shape == shape:
        y = a
    elif memory == "b" and b.shape == shape:
        y = b
    elif memory == "reversed":
        y = np.empty(shape[::-1], dtype).T
    with patch.multiple(elementwise, _WORTH_SHARING=1, _TILE=tile):
        routine = Choice(operands, shape, np.dtype(dtype), zero, workers)
        routine.run(condition, a, b, y, np.full(routine.workspace, 0xFF, np.uint8))
    same_bits(y, wanted)


@given(SHAPES, st.integers(1, 30))
@settings(deadline=None)
def test_tiles_cover_every_element_once(shape: tuple[int, ...], most: int) -> None:
    hits = np.zeros(shape, int)
    for tile in tiles(shape, most):
        hits[(*tile, ...)] += 1
        assert hits[tile].size == np.prod(extent(shape, tile), dtype=int) <= max(most, 1)
    assert (hits == 1).all()


@given(SHAPES, st.data(), WORKERS, st.booleans())
@settings(deadline=None)
def test_reduction(shape: tuple[int, ...], data: Any, workers: int, keepdims: bool) -> None:
    axes = tuple(sorted(data.draw(st.sets(st.sampled_from(range(len(shape)))) if shape else st.just(set()))))
    x = np.random.default_rng(0).standard_normal(shape)
    wanted = np.asarray(x.sum(axes, keepdims=keepdims))
    y = np.full(wanted.shape, 7.0)
    with patch.multiple(reduction, _WORTH_SHARING=1):
        Reduce(np.add, shape, axes, keepdims, workers).run(x, y)
    np.testing.assert_allclose(y, wanted, atol=1e-12)


@pytest.mark.parametrize("stacks", [((), ()), ((3,), (3,)), ((2, 1), (3,)), ((), (2,))])
@pytest.mark.parametrize("sizes", [(1, 4, 5), (6, 3, 2), (2, 0, 3), (0, 2, 2)])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_matrix_product(stacks: Any, sizes: tuple[int, int, int], workers: int) -> None:
    m, k, n = sizes
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((*stacks[0], m, k)), rng.standard_normal((*stacks[1], k, n))
    y = np.full((*np.broadcast_shapes(*stacks), m, n), 7.0)
    with patch.multiple(matrix, _WORTH_SHARING=1):
        MatrixProduct(a.shape, b.shape, workers).run(a, b, y)
    np.testing.assert_allclose(y, a @ b, atol=1e-12)

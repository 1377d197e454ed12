"""Small numbers and shapes that Hypothesis draws, and rows made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from tests.ops.harness import Case, Input
from tinygraph.build import infer
from tinygraph.errors import ShapeError
from tinygraph.ir import TensorType
from tinygraph.ops.base import Op

Draw = Callable[[st.SearchStrategy[Any]], Any]
Shape = tuple[int, ...]


def type_made(op: Op, *shapes: Shape) -> TensorType:
    """What the op makes of float64 arrays of these shapes; what it refuses is not tried."""
    try:
        (result,) = infer(op, [TensorType(shape, np.dtype(np.float64)) for shape in shapes])
    except ShapeError:
        reject()
    return result


def row(op: Op, *inputs: Input) -> Case:
    """A row without loops."""
    return Case(op, inputs, _no_loops, f"{op} of {', '.join(str(i.shape) for i in inputs)}")


def _no_loops(*_: Any) -> Any:
    raise AssertionError("a generated row has no naive loops")


def number(draw: Draw, low: int, high: int) -> int:
    """From low to high."""
    return int(draw(st.integers(low, high)))


def numbers(draw: Draw, count: int, low: int, high: int) -> Shape:
    """That many numbers, each from low to high."""
    return tuple(number(draw, low, high) for _ in range(count))


def pairs(draw: Draw, count: int, low: int, high: int) -> tuple[tuple[int, int], ...]:
    """That many pairs, such as the padding in front of and behind each axis."""
    return tuple((number(draw, low, high), number(draw, low, high)) for _ in range(count))


def shape(draw: Draw, least: int = 0, most: int = 4) -> Shape:
    """A shape of so many axes."""
    return numbers(draw, number(draw, least, most), 1, 3)


def thinned(draw: Draw, whole: Shape) -> Shape:
    """A shape that broadcasts to the whole one: some axes of size 1, and some left out in front."""
    thin = tuple(1 if draw(st.booleans()) else d for d in whole)
    return thin[number(draw, 0, len(whole)) :] if draw(st.booleans()) else whole

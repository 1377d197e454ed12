"""The row format of the op tests: a Case, and the descriptions of its inputs.

    CASES = [
        Case(Add(), [real(N, 3), real(3)], naive_add, "broadcast"),
    ]

One row runs all of checks.py. The naive function gets the op and one array per input, and computes
each number of the result by itself, in explicit loops:

    def naive_relu(op, x):
        y = np.empty(x.shape, x.dtype)
        for i in np.ndindex(x.shape):
            y[i] = maximum(x[i], 0)
        return y

It runs twice: on float64 arrays, for the numbers; and on object arrays of counting numbers, for FLOPs
and MACs. So it makes its arrays of the dtype of its inputs, and calls exp, log, sqrt, tanh, sigmoid,
maximum, minimum and where from here rather than NumPy. Comparisons count too; `float(x)` takes a
number out of the count. An accumulator that starts from a plain 0 makes a dot product of n terms 2n.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.ops.counted import exp, log, maximum, minimum, plain, sigmoid, sqrt, tanh, where
from tinygraph.ir import Dim, Symbol, TensorType
from tinygraph.ops.base import Op

__all__ = [
    "BATCH",
    "Case",
    "Input",
    "N",
    "booleans",
    "distinct",
    "each",
    "exp",
    "fixed",
    "integers",
    "key",
    "labels",
    "log",
    "maximum",
    "minimum",
    "plain",
    "positive",
    "real",
    "sigmoid",
    "sqrt",
    "tanh",
    "where",
]

Array = np.ndarray

N = Symbol("N")
"""An open batch: `real(N, 3)`. Types are inferred with it open and with numbers in its place."""

BATCH = 2
"""What N is, unless a check tries others too."""


@dataclass(frozen=True)
class Input:
    """An input of a row.

    Attributes:
        shape: may hold N.
        draw: makes the numbers, in float64 if they are floating.
        numbers: whether arithmetic on it counts; labels, conditions and keys are no numbers.
        held: whether the op takes it as given: it has no gradient by it.
    """

    shape: tuple[Dim, ...]
    draw: Callable[[np.random.Generator, tuple[int, ...]], Array]
    numbers: bool = True
    held: bool = False

    def array(self, rng: np.random.Generator, batch: int = BATCH) -> Array:
        """The numbers."""
        array = np.array(self.draw(rng, TensorType(self.shape).bind({"N": batch}).dims))
        array.flags.writeable = False
        return array


@dataclass(frozen=True, eq=False)
class Case:
    """One row: an op with its attributes, inputs for it, and what it should compute.

    Attributes:
        op: may have N among the dims of an attribute.
        inputs: one description each.
        naive: naive(op, *arrays) -> array, or tuple of arrays, in explicit loops.
        label: tells rows of one op apart.
        smooth: whether the function has two derivatives at these inputs, so that finite differences
            can be compared with the gradient. False for rows on kinks and ties, and for
            functions into integers.
        tolerance: of float32 results against float64, relative to the largest number.
        reference: whether onnx and its reference evaluator take this row as the ONNX standard has it.
    """

    op: Op
    inputs: Sequence[Input]
    naive: Callable[..., Any]
    label: str = ""
    smooth: bool = True
    tolerance: float = 1e-5
    reference: bool = True

    def __str__(self) -> str:
        return "-".join(filter(None, (self.op.name, self.label.replace(" ", "_"))))

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on nothing but the row's name."""
        return np.random.default_rng(zlib.crc32(str(self).encode()))

    def arrays(self, dtype: Any = np.float64, batch: int = BATCH) -> list[Array]:
        """The inputs, read-only; floating ones in that dtype."""
        rng = self.rng
        arrays = [i.array(rng, batch) for i in self.inputs]
        with np.errstate(over="ignore"):
            arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
        for array in arrays:
            array.flags.writeable = False
        return arrays

    def types(self, dtype: Any = np.float64) -> list[TensorType]:
        """The types of the inputs, N open."""
        arrays = self.arrays(dtype)
        return [TensorType(i.shape, a.dtype) for i, a in zip(self.inputs, arrays, strict=True)]


def each(scalar: Callable[..., Any]) -> Callable[..., Any]:
    """The naive function of an elementwise op: scalar(op, a, b, ...) for each element, after broadcasting."""

    def naive(op: Op, *arrays: Array) -> Array:
        spread = np.broadcast_arrays(*arrays)
        numbers = [scalar(op, *(array[i] for array in spread)) for i in np.ndindex(spread[0].shape)]
        return np.array(numbers).reshape(spread[0].shape)

    return naive


def real(*shape: Dim) -> Input:
    """Normally distributed numbers."""
    return Input(shape, lambda rng, dims: rng.standard_normal(dims))


def positive(*shape: Dim) -> Input:
    """Numbers between 0.5 and 2."""
    return Input(shape, lambda rng, dims: rng.uniform(0.5, 2.0, dims))


def distinct(*shape: Dim) -> Input:
    """Numbers between -2 and 2, well away from each other and from 0: no kink of max or relu is near."""

    def draw(rng: np.random.Generator, dims: tuple[int, ...]) -> Array:
        size = int(np.prod(dims))
        return (rng.permutation(size).reshape(dims) - size // 2 + 0.5) * (4.0 / max(size, 8))

    return Input(shape, draw)


def integers(*shape: Dim, low: int = -5, high: int = 5) -> Input:
    """int64 from low to high."""
    return Input(shape, lambda rng, dims: rng.integers(low, high, dims, endpoint=True))


def labels(*shape: Dim, classes: int) -> Input:
    """int64 from 0 to classes - 1; they name things, so arithmetic on them is not counted."""
    return Input(shape, lambda rng, dims: rng.integers(0, classes, dims), numbers=False)


def booleans(*shape: Dim) -> Input:
    """True and False."""
    return Input(shape, lambda rng, dims: rng.random(dims) < 0.5, numbers=False)


def key() -> Input:
    """A random key, u64[2]."""
    return Input((2,), lambda rng, dims: rng.integers(0, 2**64, dims, np.uint64), numbers=False)


def fixed(array: Any, numbers: bool = True) -> Input:
    """These numbers; floating ones take the dtype of the check."""
    array = np.asarray(array)
    return Input(array.shape, lambda rng, dims: array.copy(), numbers)

"""Activations in few passes: NumPy calls that write into y and scratch memory.

Each is called as passes(x, y, *scratch) on arrays of one shape and dtype, single or double
precision; y may be x itself, so it is written last, or when x is no longer needed.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from tinygraph.kernels import erf as error_function

Array = np.ndarray[Any, np.dtype[Any]]

_MISH_END = 40.0  # tanh(softplus(x)) is 1 in double precision from here on, and nothing overflows up to here


def sigmoid(x: Array, y: Array) -> None:
    """y = 1 / (1 + e ** -x); where e ** -x is infinite, y is 0 as it should."""
    np.negative(x, out=y)
    np.exp(y, out=y)
    np.add(y, 1, out=y)
    np.reciprocal(y, out=y)


def leaky_relu(x: Array, y: Array, low: Array, slope: float) -> None:
    """y = the larger of x and slope * x, for a slope above 0 and up to 1."""
    np.multiply(x, slope, out=low)
    np.maximum(x, low, out=y)


def elu(x: Array, y: Array, low: Array, alpha: float) -> None:
    """y = the larger of x and alpha * (e ** min(x, 0) - 1), for an alpha above 0 and up to 1."""
    np.minimum(x, 0, out=low)
    np.expm1(low, out=low)
    np.multiply(low, alpha, out=low)
    np.maximum(x, low, out=y)


def hard_sigmoid(x: Array, y: Array, alpha: float, beta: float) -> None:
    """y = alpha * x + beta, brought into [0, 1]."""
    np.multiply(x, alpha, out=y)
    np.add(y, beta, out=y)
    np.clip(y, 0, 1, out=y)


def hard_swish(x: Array, y: Array, gate: Array) -> None:
    """y = x * (x + 3) / 6, the quotient brought into [0, 1]; x + 3 is exact where it is small."""
    np.add(x, 3, out=gate)
    np.multiply(gate, 1 / 6, out=gate)
    np.clip(gate, 0, 1, out=gate)
    np.multiply(x, gate, out=y)


def swish(x: Array, y: Array, gate: Array, alpha: float) -> None:
    """y = x * sigmoid(alpha * x)."""
    np.multiply(x, alpha, out=gate)
    sigmoid(gate, gate)
    np.multiply(x, gate, out=y)


def mish(x: Array, y: Array, n: Array, d: Array) -> None:
    """y = x * tanh(log(1 + e ** x)), where the tangent is n / (n + 2) for n = e ** x * (e ** x + 2)."""
    np.minimum(x, _MISH_END, out=n)
    np.exp(n, out=n)
    np.add(n, 2, out=d)
    np.multiply(n, d, out=n)
    np.add(n, 2, out=d)
    np.divide(n, d, out=n)
    np.multiply(x, n, out=y)


def gelu(x: Array, y: Array, gate: Array, *scratch: Array) -> None:
    """y = x / 2 * (1 + erf(x / sqrt(2)))."""
    np.multiply(x, sqrt(0.5), out=gate)
    error_function.erf_into(gate, gate, *scratch)
    np.add(gate, 1, out=gate)
    np.multiply(gate, 0.5, out=gate)
    np.multiply(x, gate, out=y)


def gelu_by_tanh(x: Array, y: Array, gate: Array) -> None:
    """y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3))), with half the tangent as a sigmoid."""
    np.multiply(x, x, out=gate)
    np.multiply(gate, 0.044715 * sqrt(8 / np.pi), out=gate)
    np.add(gate, sqrt(8 / np.pi), out=gate)
    np.multiply(gate, x, out=gate)
    sigmoid(gate, gate)
    np.multiply(x, gate, out=y)

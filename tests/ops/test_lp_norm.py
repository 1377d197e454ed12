"""Vectors of unit length: against the formula, where a vector is zero, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tests.ops.checks import execute
from tests.ops.test_onnx_forms import model
from tinygraph import ops
from tinygraph.errors import ShapeError, UnsupportedOp

X = np.array([[3.0, -4.0], [0.0, 0.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("p", "axis", "wanted"),
    [
        (2, 1, [[0.6, -0.8], [0, 0], [1, 0]]),
        (1, -1, [[3 / 7, -4 / 7], [0, 0], [1, 0]]),
        (1, 0, [[0.75, -1], [0, 0], [0.25, 0]]),
    ],
)
def test_the_formula_and_onnx(p: int, axis: int, wanted: list[list[float]]) -> None:
    np.testing.assert_allclose(ops.lp_normalize(X, p, axis), wanted, rtol=1e-15)
    (found,) = execute(tg.load(model("LpNormalization", [X], 13, p=p, axis=axis)), [X])
    np.testing.assert_allclose(found, wanted, rtol=1e-15)


def test_the_gradient_of_a_vector_of_zeros_is_finite() -> None:
    slopes = tg.grad(lambda x: ops.sum(ops.lp_normalize(x)))(X)
    np.testing.assert_array_equal(slopes[1], [1, 1])  # there it is x / 1
    assert np.all(np.isfinite(slopes))


def test_other_norms_are_refused() -> None:
    with pytest.raises(ShapeError, match="no norm of order 3"):
        ops.lp_normalize(X, 3)
    with pytest.raises(ShapeError, match="wants floating-point"):
        ops.lp_normalize(np.arange(3))
    with pytest.raises(UnsupportedOp, match="p = 3"):
        tg.load(model("LpNormalization", [X], 13, p=3))

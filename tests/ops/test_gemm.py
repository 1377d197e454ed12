"""Gemm of ONNX in all its forms against its formula, alpha a' b' + beta c."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.ops.checks import execute
from tests.ops.test_onnx_forms import model
from tinygraph.errors import ModelFormatError, UnsupportedOp

RNG = np.random.default_rng(0)


def whole(shape: tuple[int, ...], dtype: Any) -> Any:
    return RNG.integers(-5, 5, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (2.0, 1.0), (1.0, 3.0), (-2.0, 0.0)])
@pytest.mark.parametrize("shape", [None, (), (1,), (4,), (1, 4), (3, 1), (3, 4)])
def test_forms(dtype: Any, alpha: float, beta: float, shape: tuple[int, ...] | None) -> None:
    for left, right in np.ndindex(2, 2):
        a, b = whole((2, 3) if left else (3, 2), dtype), whole((4, 2) if right else (2, 4), dtype)
        c = [] if shape is None else [whole(shape, dtype)]
        content = model("Gemm", [a, b, *c], 13, transA=left, transB=right, alpha=alpha, beta=beta)
        (found,) = execute(tg.load(content), [a])
        wanted = alpha * (a.T if left else a) @ (b.T if right else b) + sum(beta * part for part in c)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, wanted)


def test_what_does_not_fit_is_refused() -> None:
    a, b = whole((3, 2), np.int64), whole((2, 4), np.int64)
    with pytest.raises(UnsupportedOp, match=r"alpha = 0\.5, which is no whole number"):
        tg.load(model("Gemm", [a, b], 13, alpha=0.5))
    with pytest.raises(ModelFormatError, match="does not fit into"):
        tg.load(model("Gemm", [a, b, whole((2, 3, 4), np.int64)], 13))
    with pytest.raises(ModelFormatError, match="multiplies two matrices"):
        tg.load(model("Gemm", [a[None], b], 13))

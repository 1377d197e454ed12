"""The reference executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.sessions import ALIASES, F32, arange, as_dict, refused
from tinygraph import ops
from tinygraph.errors import ShapeError, UsageError
from tinygraph.runtime.evaluate import evaluate


def test_evaluate_in_another_dtype() -> None:
    def fn(x: Any) -> Any:
        return {"y": ops.cast(ops.cast(x, np.float16), F32) / np.array(3, F32), "i": ops.cast(x, np.int32)}

    graph = tg.trace(fn, tg.Spec((1,)))
    x = np.array([1 + 2**-20])
    found = evaluate(graph, {"x": x}, np.float64)
    assert found["y"].dtype == np.float64
    assert found["y"] == x / 3
    assert found["i"].dtype == np.int32
    exact = evaluate(graph, {"x": x.astype(F32)})
    assert exact["y"] == F32(1) / F32(3)


def test_evaluate_checks_its_inputs() -> None:
    graph = tg.trace(lambda x: x + 1, tg.Spec(("N", 2)))
    refused(UsageError, "missing: x", evaluate, graph, {})
    refused(UsageError, "no input 'y'", evaluate, graph, {"x": arange(1, 2), "y": arange(1)})
    refused(UsageError, "no input 'y'", evaluate, graph, {"x": arange(1, 2), "y": arange(1)}, np.float64)
    refused(UsageError, "float64", evaluate, graph, {"x": np.ones((1, 2))})
    refused(UsageError, "int32 is not a floating dtype", evaluate, graph, {"x": arange(1, 2)}, np.int32)
    refused(ShapeError, r"want f64\[N,2\]", evaluate, graph, {"x": arange(1, 3)}, np.float64)


@pytest.mark.parametrize("fn", ALIASES.values(), ids=ALIASES.keys())
def test_what_evaluate_returns_is_the_callers(fn: Callable[[Any], Any]) -> None:
    graph = tg.trace(fn, tg.Spec((2, 2)))
    x = arange(2, 2)
    first = evaluate(graph, {"x": x})
    want = as_dict(tg.compile(graph, passes="none")(x))
    for name, y in first.items():
        np.testing.assert_array_equal(y, want[name])
        y[...] = -99
    np.testing.assert_array_equal(x, arange(2, 2))

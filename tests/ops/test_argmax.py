"""Argmax, abs and sign: what is refused, ties, NaN, and the forms of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tests.ops.checks import execute
from tests.ops.test_onnx_forms import model
from tinygraph import ops
from tinygraph.autodiff import gradients
from tinygraph.errors import NotDifferentiable, ShapeError

X = np.random.default_rng(0).integers(-3, 3, (2, 5, 4))  # with many ties
NAN = np.array([[1.0, np.nan, 3.0, np.nan], [2.0, 2.0, -1.0, -1.0]], np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.argmax(X, 3), "there is no axis 3 in 3 dimensions"),
        (lambda: ops.argmax(X[:, :0], 1), r"no largest of no numbers: axis 1 of .* is empty"),
        (lambda: ops.argmax(X > 0), "wants numbers, got bool"),
        (lambda: ops.abs(X > 0), "wants numbers, got bool"),
        (lambda: ops.sign(X > 0), "wants numbers, got bool"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_argmax_is_numpys(axis: int, keepdims: bool) -> None:
    np.testing.assert_array_equal(ops.argmax(X, axis, keepdims), X.argmax(axis, keepdims=keepdims))
    np.testing.assert_array_equal(ops.argmax(NAN), [1, 0])
    assert ops.argmax(X).dtype == np.int64


def test_places_have_no_gradient() -> None:
    graph = tg.trace(lambda x: ops.sum(x * ops.cast(ops.argmax(x, 1, True), np.float32)), tg.Spec((2, 3)))
    found = execute(gradients(graph, wrt=["x"]), [NAN[:, :3]])[-1]
    np.testing.assert_array_equal(found, [[1, 1, 1], [0, 0, 0]])  # as if the places were constants
    with pytest.raises(NotDifferentiable, match="holds no floating-point numbers"):
        gradients(tg.trace(lambda x: ops.argmax(x, 0), tg.Spec((3,))), wrt=["x"])


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize(
    "attributes",
    [{}, {"axis": -1}, {"axis": 1, "keepdims": 0}, {"axis": 1, "select_last_index": 1}, {"select_last_index": 1}],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8])
def test_forms_of_onnx(op_type: str, attributes: dict[str, Any], dtype: Any) -> None:
    x = X.astype(dtype)
    content = model(op_type, [x], 13, **attributes)
    (wanted,) = ReferenceEvaluator(content).run(None, {"x0": x})
    (found,) = execute(tg.load(content), [x])
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.int64


def test_the_smallest_of_the_extreme_integers() -> None:
    x = np.array([[0, -128, 127], [5, 127, 5]], np.int8)
    content = model("ArgMin", [x], 13, axis=1, keepdims=0)
    np.testing.assert_array_equal(execute(tg.load(content), [x])[0], [1, 0])


def test_slopes_of_abs_and_sign() -> None:
    graph = tg.trace(lambda x: ops.sum(abs(x) + 5 * ops.sign(x)), tg.Spec((5,)))
    x = np.array([-2, -0.0, 0, 3, np.inf], np.float32)
    np.testing.assert_array_equal(execute(gradients(graph, wrt=["x"]), [x])[-1], [-1, 0, 0, 1, 1])

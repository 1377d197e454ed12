"""The public functions of gather.py and scatter.py: open dimensions, indices out of range, ties, and files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.ops.checks import execute
from tests.ops.test_onnx_forms import ints, model
from tests.ops.test_shape import type_of
from tinygraph import ops
from tinygraph.errors import ModelFormatError, NotDifferentiable, ShapeError

X = np.arange(24.0).reshape(2, 3, 4)


def test_a_single_index_drops_the_axis() -> None:
    np.testing.assert_array_equal(ops.gather(X, -1, 1), X[:, -1])
    np.testing.assert_array_equal(ops.gather(X, [[2], [0]], 1), X[:, [[2], [0]]])


def test_gather_elements_and_scatter_elements_are_numpys() -> None:
    order = np.argsort(-X, axis=1)
    np.testing.assert_array_equal(ops.gather_elements(X, order, 1), np.take_along_axis(X, order, 1))
    wanted = X.copy()
    np.put_along_axis(wanted, order, 2 * X, 1)
    np.testing.assert_array_equal(ops.scatter_elements(X, order, 2 * X, 1), wanted)


def test_the_last_of_several_updates_stays() -> None:
    assert ops.scatter_elements(np.zeros(2), ints(1, 1), np.array([3.0, 4.0])).tolist() == [0, 4]
    assert ops.scatter_nd(np.zeros(2), ints(1, 1)[:, None], np.array([3.0, 4.0])).tolist() == [0, 4]


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda x: ops.gather(x, ints(2, 0), 1), "f32[N,2,4]"),
        (lambda x: ops.gather(x, ints(1), 0), "f32[1,3,4]"),
        (lambda x: ops.gather(ops.reshape(X, (6, 4)), ops.cast(x[:, 0], "int64"), 0), "f64[N,4,4]"),
        (lambda x: ops.gather_elements(x, ops.cast(x, "int64"), 2), "f32[N,3,4]"),
        (lambda x: ops.gather_nd(x, ops.cast(x[:, :, :2], "int64"), 1), "f32[N,3]"),
        (lambda x: ops.scatter_elements(x, ops.cast(x, "int64"), x, 2), "f32[N,3,4]"),
        (lambda x: ops.scatter_nd(x.T, ints(0, 2)[:, None], x.T[:2]), "f32[4,3,N]"),
    ],
)
def test_open_dimensions_pass_through(function: Any, wanted: str) -> None:
    assert type_of(function, "N", 3, 4) == wanted


INDEXED = [
    lambda x, i: ops.gather(x, i),
    lambda x, i: ops.gather_elements(x, i),
    lambda x, i: ops.gather_nd(x, ops.reshape(i, (2, 1))),
    lambda x, i: ops.scatter_elements(x, i, np.ones(2)),
    lambda x, i: ops.scatter_nd(x, ops.reshape(i, (2, 1)), np.ones(2)),
]


@pytest.mark.parametrize("function", INDEXED)
@pytest.mark.parametrize("index", [-4, 3])
def test_an_index_out_of_range_is_an_error_when_it_is_computed(function: Any, index: int) -> None:
    session = tg.compile(tg.trace(function, tg.Spec((3,), np.float64), tg.Spec((2,), np.int64)))
    session(np.ones(3), ints(-3, 2))
    with pytest.raises(ShapeError, match=f"the index {index} is out of range: the axis has 3 entries"):
        session(np.ones(3), ints(0, index))
    with pytest.raises(ShapeError, match="out of range"):
        function(np.ones(3), ints(0, index))


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: ops.gather(X, X), "indices must be int32 or int64, got float64"),
        (lambda: ops.gather(X, 0, 3), "there is no axis 3 in 3 dimensions"),
        (lambda: ops.gather_elements(X, ints(0)), "indices of 1 dimensions meet an array of 3"),
        (lambda: ops.gather_elements(X, np.zeros((2, 4, 4), int), 2), "4 indices stand beside 3 numbers on axis 1"),
        (lambda: ops.gather_nd(X, np.zeros((2, 4), int)), "tuples of 4 indices do not fit 3 axes"),
        (lambda: ops.gather_nd(X, np.zeros((3, 1), int), 1), "the first 1 axes of array and indices differ"),
        (lambda: ops.gather_nd(X, ints(0), 1), "no 1 batch axes"),
        (lambda: ops.scatter_elements(X, np.zeros((2, 3, 4), int), X[:1]), r"want updates of f64\[2,3,4\]"),
        (lambda: ops.scatter_nd(X, ints(0), X), r"want updates of f64\[3,4\]"),
        (lambda: ops.scatter_nd(X, ints(0), X[0], "mean"), "no reduction 'mean'; give none, add, mul, max, min"),
        (lambda: ops.scatter_nd(X, ints(0), X[0].astype(np.float32)), "dtypes differ"),
        (lambda: ops.reverse_sequence(X, ints(1, 1), 1, 2), "time and batch on the first two axes"),
        (lambda: ops.reverse_sequence(X, ints(1, 1)), r"wants a length i64\[3\]"),
        (lambda: ops.reverse_sequence(X, ints(1, 4), 1, 0), "a length of 4 does not fit 3 steps"),
    ],
)
def test_errors_say_what_is_wrong(attempt: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        attempt()


def test_ties_share_the_gradient_of_a_maximum() -> None:
    def largest(x: Any) -> Any:
        return ops.sum(ops.scatter_elements(x, ints(0, 0, 1), x[:3] * 0 + np.array([1.0, 1.0, 0.0]), 0, "max"))

    np.testing.assert_allclose(tg.grad(largest)(np.array([1.0, 5.0, 2.0])), [1 / 3, 1, 1])


def test_products_of_updates_have_no_gradient() -> None:
    def product(x: Any) -> Any:
        return ops.sum(ops.scatter_elements(x, ints(0), x[:1], 0, "mul"))

    with pytest.raises(NotDifferentiable, match="products of updates"):
        tg.grad(product)(np.ones(3))


def test_a_number_that_is_known_is_a_slice_of_the_file() -> None:
    x = X.astype(np.float32)
    graph = tg.load(model("Gather", [x, np.array(-1)], 13, axis=2))
    assert {node.op.name for node in graph.nodes} == {"slice", "reshape"}
    np.testing.assert_array_equal(execute(graph, [x])[0], x[:, :, -1])


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize("starts", [None, ints(1, 2)])
def test_a_cache_is_written_to(mode: str, starts: Any) -> None:
    past, update = np.zeros((2, 4, 3), np.float32), np.arange(1, 13, dtype=np.float32).reshape(2, 2, 3)
    inputs = [past, update, starts] if starts is not None else [past, update]
    graph = tg.load(model("TensorScatter", inputs, 24, mode=mode, axis=1))
    wanted = past.copy()
    for sample, start in enumerate(starts if starts is not None else (0, 0)):
        wanted[sample, start : start + 2] = update[sample]
    np.testing.assert_array_equal(execute(graph, [past])[0], wanted)


def test_a_circular_cache_goes_on_at_its_beginning() -> None:
    past, update = np.zeros((1, 3, 1), np.float32), np.array([[[5.0], [6.0]]], np.float32)
    graph = tg.load(model("TensorScatter", [past, update, ints(2)], 24, mode="circular", axis=1))
    assert execute(graph, [past])[0].ravel().tolist() == [6, 0, 5]


def test_a_cache_along_the_batch_is_refused() -> None:
    with pytest.raises(ModelFormatError, match="an axis behind the first"):
        tg.load(model("TensorScatter", [X, X], 24, axis=0))

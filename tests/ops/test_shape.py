"""The public functions of shape.py, pad.py and index.py against NumPy, with open dimensions, and their errors."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices

import tinygraph as tg
from tests.ops.checks import execute
from tinygraph import ops
from tinygraph.errors import ShapeError
from tinygraph.ir import TensorType
from tinygraph.onnx.load import from_proto
from tinygraph.onnx.save import to_proto
from tinygraph.ops.index import Slice

X = np.arange(24.0).reshape(2, 3, 4)


def type_of(function: Any, *shape: Any) -> str:
    """The type of what a function makes of a tensor of that shape."""
    return str(tg.trace(lambda x: function(x), tg.Spec(shape)).outputs[0][1].type)


# ---- against NumPy ----


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_getitem_is_numpys(data: st.DataObject) -> None:
    shape = data.draw(array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    index = data.draw(basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    np.testing.assert_array_equal(ops.getitem(x, index), x[index])
    graph = tg.trace(lambda t: t[index], tg.Spec(shape, np.float64))
    np.testing.assert_array_equal(execute(graph, [x])[0], x[index])


@pytest.mark.parametrize("step", [-5, -1, 1, 2])
@pytest.mark.parametrize("stop", [None, -9, -3, 0, 2, 9])
@pytest.mark.parametrize("start", [None, -9, -4, -1, 0, 3, 9])
def test_slices_that_begin_or_end_outside_are_numpys(start: int | None, stop: int | None, step: int) -> None:
    x, index = np.arange(3.0), slice(start, stop, step)
    np.testing.assert_array_equal(ops.getitem(x, index), x[index])
    graph = tg.trace(lambda t: t[index], tg.Spec((3,), np.float64))
    np.testing.assert_array_equal(execute(graph, [x])[0], x[index])


@pytest.mark.parametrize("start", range(-3, 3))
@pytest.mark.parametrize("end", range(-3, 3))
def test_flatten(start: int, end: int) -> None:
    first, last = start % 3, end % 3
    if last < first:
        with pytest.raises(ShapeError, match="before the start"):
            ops.flatten(X, start, end)
    else:
        shape = (*X.shape[:first], -1, *X.shape[last + 1 :])
        np.testing.assert_array_equal(ops.flatten(X, start, end), X.reshape(shape))


def test_squeeze_and_expand_dims() -> None:
    y = X[:, None, :, :, None]
    assert ops.squeeze(y).shape == (2, 3, 4)
    assert ops.squeeze(y, 1).shape == (2, 3, 4, 1)
    assert ops.squeeze(y, (-1, 1)).shape == (2, 3, 4)
    for axis in (0, 2, -1, (0, 1), (0, -1), (-2, 1)):
        np.testing.assert_array_equal(ops.expand_dims(X, axis), np.expand_dims(X, axis))


def test_transpose_and_broadcast_to() -> None:
    np.testing.assert_array_equal(ops.transpose(X), X.T)
    np.testing.assert_array_equal(ops.transpose(X, (1, -1, 0)), X.transpose(1, -1, 0))
    np.testing.assert_array_equal(ops.broadcast_to(X, (5, 2, 3, 4)), np.broadcast_to(X, (5, 2, 3, 4)))


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [((0, 0), (2, 1), (3, 3)), ((1, 1), (0, 2), (0, 0))])
def test_pad_is_numpys(mode: str, pads: Any) -> None:
    np.testing.assert_array_equal(ops.pad(X, pads, mode), np.pad(X, pads, mode))


def test_what_is_cropped_is_not_wrapped_around() -> None:
    assert ops.pad(np.arange(4), ((-1, 3),), "wrap").tolist() == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("pads", [((0, 0), (2, 1), (0, -1)), ((1, 0), (-1, 2), (0, 0)), ((0, 0),) * 3])
def test_the_number_that_pads_may_be_computed(pads: Any) -> None:
    specs = tg.Spec(X.shape, np.int64), tg.Spec((1,), np.int64)
    graph = tg.trace(lambda x, value: ops.pad(x, pads, value=value), *specs)
    x, value = X.astype(np.int64), np.array([2**60 + 1])
    np.testing.assert_array_equal(execute(graph, [x, value])[0], ops.pad(x, pads, value=value))


def test_axes_may_be_numpy_integers() -> None:
    def function(x: Any) -> Any:
        axis = np.int64(-1)
        x = ops.concat([ops.transpose(x, (axis, 0, 1)), x[:, :, : np.int64(1)].reshape(4, 2, np.int64(1))], axis)
        return ops.sum(ops.squeeze(ops.expand_dims(x, axis), axis), axis)

    graph = tg.trace(function, tg.Spec((2, 4, 4)))
    assert str(tg.parse(str(graph))) == str(graph)


def test_slice_and_concat() -> None:
    np.testing.assert_array_equal(ops.slice(X, (0, -2, None), (1, None, None), (1, 1, -1)), X[0:1, -2:, ::-1])
    assert ops.slice(X, (0, 0, 0), (9, 3, None)) is X
    np.testing.assert_array_equal(ops.concat([X, X[:, :1]], 1), np.concatenate([X, X[:, :1]], 1))
    np.testing.assert_array_equal(ops.concat([X, X], -1), np.concatenate([X, X], -1))


def test_one_hot() -> None:
    assert ops.one_hot(np.array([1, 0, -1, 3, -4]), 3).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0] * 3, [0] * 3]
    assert ops.one_hot(np.array([1], np.uint8), 2, np.float64).dtype == np.float64
    for dtype in (np.int8, np.uint8):
        assert np.flatnonzero(ops.one_hot(np.array([100], dtype), 1000)).tolist() == [100]
    assert np.flatnonzero(ops.one_hot(np.array([-1], np.int8), 1000)).tolist() == [999]


# ---- open dimensions ----


@pytest.mark.parametrize(
    ("function", "shape", "wanted"),
    [
        (lambda x: x.reshape(-1, 12), ("N", 3, 4), "f32[N,12]"),
        (lambda x: x.reshape(x.shape[0], -1), ("N", 3, 4), "f32[N,12]"),
        (lambda x: x.reshape((-1,)), ("N",), "f32[N]"),
        (lambda x: x.reshape(3, 4, -1), ("N", 12), "f32[3,4,N]"),
        (lambda x: x.reshape(x.shape[1], x.shape[0], -1), ("N", "M", 6), "f32[M,N,6]"),
        (lambda x: ops.flatten(x), ("N", 3, 4), "f32[N,12]"),
        (lambda x: ops.flatten(x, 0, 1), ("N", 1, 4), "f32[N,4]"),
        (lambda x: ops.flatten(x), ("N", 0, 4), "f32[N,0]"),
        (lambda x: ops.squeeze(x), ("N", 1, 4), "f32[N,4]"),
        (lambda x: ops.expand_dims(x, (0, 3)), ("N", 4), "f32[1,N,4,1]"),
        (lambda x: x.T, ("N", 4), "f32[4,N]"),
        (lambda x: ops.broadcast_to(x, (5, *x.shape)), ("N", 4), "f32[5,N,4]"),
        (lambda x: x[:, 1], ("N", 4), "f32[N]"),
        (lambda x: x[..., None, ::2], ("N", 4), "f32[N,1,2]"),
        (lambda x: ops.concat([x, x], 1), ("N", 4), "f32[N,8]"),
        (lambda x: ops.concat([x], 0), ("N", 4), "f32[N,4]"),
        (lambda x: ops.pad(x, ((0, 0), (1, 1)), "reflect"), ("N", 4), "f32[N,6]"),
        (lambda x: ops.mean(x, (1, 2)), ("N", 3, 4), "f32[N]"),
        (lambda x: ops.sum(x, 0), ("N", 3), "f32[3]"),
        (lambda x: ops.one_hot(ops.cast(x, "int64"), 7), ("N",), "f32[N,7]"),
        (lambda x: x.reshape(-1, 2), ("N", 4), "f32[2*N,2]"),
        (lambda x: ops.flatten(x, 0), ("N", 4), "f32[4*N]"),
        (lambda x: x.reshape(-1, 2).reshape(-1, 3), ("N", 6), "f32[2*N,3]"),
        (lambda x: x.reshape(-1, 2).transpose((1, 0)).reshape(2, "N", 3), ("N", 6), "f32[2,N,3]"),
        (lambda x: ops.tile(x, (2, 1)), ("N", 4), "f32[2*N,4]"),
        (lambda x: ops.depth_to_space(x, 2), (1, 4, "H", 4), "f32[1,1,2*H,8]"),
        (lambda x: x.reshape(6, -1), ("2*N", 9), "f32[6,3*N]"),
    ],
)
def test_open_dimensions_pass_through(function: Any, shape: Any, wanted: str) -> None:
    assert type_of(function, *shape) == wanted


def test_multiples_of_an_open_dimension_get_their_numbers() -> None:
    def function(x: Any) -> Any:
        return ops.tile(x.reshape(-1, 2).transpose((1, 0)), (2, 1)).reshape(4, "N", 3)

    graph = tg.trace(function, tg.Spec(("N", 6)))
    assert graph.symbols == ("N",)
    assert str(tg.parse(str(graph))) == str(graph)
    session, reloaded = tg.compile(graph), tg.compile(from_proto(to_proto(graph)))
    for batch in (2, 0, 1):
        x = np.arange(6.0 * batch, dtype=np.float32).reshape(batch, 6)
        wanted = np.tile(x.reshape(-1, 2).T, (2, 1)).reshape(4, batch, 3)
        for found in (session(x), reloaded(x), *execute(graph.bind(N=batch), [x])):
            assert np.array_equal(found, wanted)


def test_an_input_may_have_a_multiple_of_an_open_dimension() -> None:
    session = tg.compile(tg.trace(lambda x, y: x + y.reshape("N", 2), tg.Spec(("N", 2)), tg.Spec(("2*N",))))
    assert np.array_equal(session(np.ones((2, 2), np.float32), np.arange(4, dtype=np.float32)), [[1, 2], [3, 4]])
    for wrong in (3, 2):
        with pytest.raises(ShapeError, match=r"input 'y' is f32\[\d\]"):
            session(np.ones((2, 2), np.float32), np.zeros(wrong, np.float32))


@pytest.mark.parametrize("dim", ["1*N", "0*N", "02*N", "-2*N", "2*", "2*3*N", "2*2", "N*2", "2 * N"])
def test_a_multiple_is_written_in_one_way(dim: str) -> None:
    with pytest.raises(ShapeError, match="is not a dimension"):
        TensorType((dim,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (lambda x: x.reshape(-1, 6), ("N", 4), "leaves no whole number for the -1 beside 6"),
        (lambda x: x.reshape(-1), ("N", "M"), r"M \* N is not a dimension: bind M first"),
        (lambda x: x.reshape("K", -1), ("N", 4), "leaves no whole number"),
        (lambda x: x.reshape(2, 2), ("N", 4), "another number of elements"),
        (lambda x: ops.squeeze(x, 0), ("N", 4), "axis 0 of .* has size N, not 1"),
        (lambda x: x[0], ("N", 4), "cannot take number 0 of the open dimension N: bind it first"),
        (lambda x: x[:2], ("N", 4), "cannot cut the open dimension N"),
        (lambda x: x[::-1], ("N", 4), "cannot cut the open dimension N"),
        (lambda x: ops.concat([x, x], 0), ("N", 4), "axis 0 is open"),
        (lambda x: ops.pad(x, ((1, 0), (0, 0))), ("N", 4), "cannot pad the open dimension N"),
    ],
)
def test_what_needs_the_number_of_an_open_dimension_says_so(function: Any, shape: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        type_of(function, *shape)


# ---- errors ----


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: ops.reshape(X, (5, 5)), r"cannot reshape to \[5,5\]: another number of elements"),
        (lambda: ops.reshape(X, (-1, -1)), "more than one -1"),
        (lambda: ops.reshape(X, (-1, 7)), "leaves no whole number for the -1 beside 7"),
        (lambda: ops.reshape(X, (-1, 0)), "leaves no whole number for the -1 beside 0"),
        (lambda: ops.reshape(X, (-2, 12)), "-2 is not a dimension"),
        (lambda: ops.flatten(X, 3), "there is no axis 3 in 3 dimensions"),
        (lambda: ops.squeeze(X, 0), "has size 2, not 1"),
        (lambda: ops.expand_dims(X, (0, 0)), "names an axis twice"),
        (lambda: ops.expand_dims(X, 4), "there is no axis 4 in 4 dimensions"),
        (lambda: ops.transpose(X, (0, 1)), "do not name each of 3 dimensions once"),
        (lambda: ops.transpose(X, (0, 1, 1)), "do not name each of 3 dimensions once"),
        (lambda: ops.broadcast_to(X, (3, 4)), "it is the smaller shape"),
        (lambda: ops.broadcast_to(X, (2, 3, 5)), "do not broadcast: 4 against 5"),
        (lambda: ops.pad(X, ((1, 1),)), "1 pairs of pads for 3 dimensions"),
        (lambda: ops.pad(X, ((0, 0), (0, 0), (-3, -2))), r"pads \(-3, -2\) do not fit dimension 4"),
        (lambda: ops.pad(X, ((0, 0), (0, 0), (-5, 3))), r"pads \(-5, 3\) do not fit dimension 4"),
        (lambda: ops.pad(X, ((0, 0), (0, 0), (3, -5))), r"pads \(3, -5\) do not fit dimension 4"),
        (lambda: ops.base.apply(Slice((-1,), (-1,), (-1,)), np.ones(3)), "-1:-1:-1 are no places"),
        (lambda: ops.pad(X, ((0, 0), (3, 0), (0, 0)), "reflect"), r"do not fit dimension 3 in mode 'reflect'"),
        (lambda: ops.pad(np.ones(0), ((1, 0),), "edge"), "do not fit dimension 0 in mode 'edge'"),
        (lambda: ops.pad(X, ((0, 0),) * 3, "mirror"), "no padding mode 'mirror'; give constant, reflect, edge, wrap"),
        (lambda: ops.pad(X, ((0, 0), (-3, 1), (0, 0)), "wrap"), "do not fit dimension 3 in mode 'wrap'"),
        (lambda: ops.pad(np.ones(2, np.uint8), ((1, 0),), value=-1), "-1 is no uint8"),
        (lambda: ops.pad(np.ones(2, int), ((1, 0),), value=0.5), "0.5 is no int64"),
        (lambda: ops.slice(X, (0,), (1,)), "wants a start, stop and step for each axis"),
        (lambda: ops.slice(X, (0, 0, 0), (1, 1, 1), (0, 1, 1)), "a step of 0"),
        (lambda: ops.getitem(X, 2), "there is no number 2 in a dimension of 2"),
        (lambda: ops.getitem(X, (0, 0, 0, 0)), "too many entries"),
        (lambda: ops.getitem(X, (..., ...)), "too many entries"),
        (lambda: ops.getitem(X, np.array([0])), "cannot index with a ndarray: give whole numbers"),
        (lambda: ops.getitem(X, True), "cannot index with a bool"),
        (lambda: ops.getitem(X, (0, 0, -5)), "no number -5 in a dimension of 4"),
        (lambda: ops.getitem(np.ones(0), 0), "no number 0 in a dimension of 0"),
        (lambda: ops.concat([]), "nothing to join"),
        (lambda: ops.concat([X, X[0]]), "shapes differ in more than axis 1"),
        (lambda: ops.concat([X, X[:1]], 1), "shapes differ in more than axis 1"),
        (lambda: ops.concat([X], 3), "there is no axis 3"),
        (lambda: ops.one_hot(np.ones(2), 3), "labels must be integers, got float64"),
    ],
)
def test_errors_say_what_is_wrong(attempt: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        attempt()


def test_open_dimensions_that_move_or_grow_are_written_by_asking_for_them() -> None:
    rng = np.random.default_rng(0)
    swapped = tg.trace(lambda x: x.reshape(x.shape[1], x.shape[0]), tg.Spec(("N", "M")))
    widened = tg.trace(lambda x, y: ops.broadcast_to(x, y.shape) + y, tg.Spec((1, 3)), tg.Spec(("N", 3)))
    for graph, shapes in ((swapped, [(2, 5)]), (widened, [(1, 3), (4, 3)])):
        arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        file = io.BytesIO()
        tg.save(graph, file)
        again = tg.load(file.getvalue())
        assert len(again.nodes) == len(graph.nodes)
        np.testing.assert_array_equal(tg.compile(again)(*arrays), tg.compile(graph)(*arrays))

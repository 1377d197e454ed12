"""The public functions of split.py, crop.py, tile.py, space.py and fold.py: open dimensions, files, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tinygraph as tg
from tests.ops.checks import execute
from tests.ops.test_onnx_forms import ints, model
from tests.ops.test_shape import type_of
from tinygraph import ops
from tinygraph.errors import ModelFormatError, ShapeError, UnsupportedOp

X = np.arange(24.0).reshape(2, 3, 4)


# ---- against NumPy ----


@pytest.mark.parametrize(("sizes", "stops"), [(2, [2]), ((1, 0, 3), [1, 1]), (3, [2, 4]), ((4,), []), (1, [])])
def test_split(sizes: Any, stops: list[int]) -> None:
    parts = ops.split(X, sizes, 2)
    for part, wanted in zip(parts, np.split(X, stops, 2), strict=True):
        np.testing.assert_array_equal(part, wanted)


def test_center_crop_pad() -> None:
    x = np.arange(1, 6)
    assert ops.center_crop_pad(x, (2,)).tolist() == [2, 3]
    assert ops.center_crop_pad(x, (8,)).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert ops.center_crop_pad(X, (2, 4), (-2, -1)).shape == (2, 2, 4)
    assert ops.center_crop_pad(X, X.shape) is X


def test_tile_and_space() -> None:
    np.testing.assert_array_equal(ops.tile(X, (2, 1, 3)), np.tile(X, (2, 1, 3)))
    image = np.arange(48.0).reshape(1, 3, 4, 4)
    for order in ("DCR", "CRD"):
        np.testing.assert_array_equal(ops.depth_to_space(ops.space_to_depth(image, 2, order), 2, order), image)
    assert ops.space_to_depth(image, 2, "CRD")[0, :5, 0, 0].tolist() == [0, 1, 4, 5, 16]
    assert ops.space_to_depth(image, 2, "DCR")[0, :4, 0, 0].tolist() == [0, 16, 32, 1]


def test_col2im_counts_the_windows_over_each_pixel() -> None:
    columns = ops.im2col(np.ones((1, 1, 3, 3)), 2)
    assert columns.shape == (1, 4, 4)
    assert ops.col2im(columns, (3, 3), 2).tolist() == [[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]]


# ---- open dimensions ----


@pytest.mark.parametrize(
    ("function", "shape", "wanted"),
    [
        (lambda x: ops.split(x, (1, 3), 1)[1], ("N", 4), "f32[N,3]"),
        (lambda x: ops.split(x, 1, 0)[0], ("N", 4), "f32[N,4]"),
        (lambda x: ops.center_crop_pad(x, ("N", 6, 2)), ("N", 4, 4), "f32[N,6,2]"),
        (lambda x: ops.tile(x, (1, 3)), ("N", 4), "f32[N,12]"),
        (lambda x: ops.tile(x, ("N", 3)), (1, 4), "f32[N,12]"),
        (lambda x: ops.space_to_depth(x, 2), ("N", 3, 4, 4), "f32[N,12,2,2]"),
        (lambda x: ops.depth_to_space(x, 2), ("N", 4, 3, 3), "f32[N,1,6,6]"),
        (lambda x: ops.im2col(x, 2), ("N", 4, 3, 3), "f32[N,16,4]"),
        (lambda x: ops.col2im(x, (3, 3), 2), ("N", 16, 4), "f32[N,4,3,3]"),
    ],
)
def test_open_dimensions_pass_through(function: Any, shape: Any, wanted: str) -> None:
    assert type_of(lambda x: function(x), *shape) == wanted


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (lambda x: ops.split(x, 2, 0), ("N", 4), "cannot split the open dimension N: bind it first"),
        (lambda x: ops.split(x, (1, 2), 0), ("N", 4), "cannot split the open dimension N: bind it first"),
        (lambda x: ops.center_crop_pad(x, (3, 4)), ("N", 4), "cannot make 3 of the open dimension N"),
        (lambda x: ops.space_to_depth(x, 2), (1, 3, "H", 4), "cannot divide the open dimension H by 2"),
        (lambda x: ops.im2col(x, 2), (1, 4, "H", 4), "depends on H"),
        (lambda x: ops.im2col(x, 3, padding=1), (1, 4, "H", 4), "the dimension H of .* has no number yet"),
    ],
)
def test_what_needs_the_number_of_an_open_dimension_says_so(function: Any, shape: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        type_of(function, *shape)


# ---- files ----


@pytest.mark.parametrize(
    ("inputs", "opset", "attributes", "sizes"),
    [
        ([], 18, {"num_outputs": 3, "axis": 2}, (2, 2, 0)),
        ([], 18, {"num_outputs": 2, "axis": 1}, (2, 1)),
        ([ints(3, 1)], 18, {"axis": -1}, (3, 1)),
        ([ints(1, 1)], 13, {}, (1, 1)),
        ([], 13, {"axis": 2}, (2, 2)),
        ([], 11, {"axis": 2, "split": [1, 3]}, (1, 3)),
    ],
)
def test_split_in_every_opset(inputs: list[Any], opset: int, attributes: Any, sizes: tuple[int, ...]) -> None:
    x = X.astype(np.float32)
    wanted = np.split(x, np.cumsum(sizes)[:-1], attributes.get("axis", 0))
    graph = tg.load(split_model([x, *inputs], opset, len(sizes), **attributes))
    for found, part in zip(execute(graph, [x]), wanted, strict=True):
        np.testing.assert_array_equal(found, part)


def split_model(inputs: list[Any], opset: int, count: int, **attributes: Any) -> bytes:
    """A Split into so many outputs."""
    proto = onnx.load_from_string(model("Split", inputs, opset, **attributes))
    names = [f"part{i}" for i in range(count)]
    proto.graph.node[0].output[:] = names
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return proto.SerializeToString()


@pytest.mark.parametrize(
    ("inputs", "attributes", "message"),
    [
        ([], {"num_outputs": 3}, "it splits into 3, but has 2 outputs"),
        ([ints(1, 1, 0)], {}, "it splits into 3, but has 2 outputs"),
        ([ints(1, 2)], {}, "parts of 1, 2 do not make up a dimension of 2"),
        ([ints(-1, 3)], {}, "parts of -1, 3 do not make up a dimension of 2"),
        ([], {"axis": 3}, "there is no axis 3"),
    ],
)
def test_damaged_splits_are_refused(inputs: list[Any], attributes: Any, message: str) -> None:
    with pytest.raises(ModelFormatError, match=message):
        tg.load(split_model([X.astype(np.float32), *inputs], 18, 2, **attributes))


def flow(lines: str, shape: Any, **constants: Any) -> tg.Graph:
    """The graph of a model with the input x and the output y; lines are `result = Operator(inputs)`."""
    nodes = []
    for line in lines.split("; "):
        result, call = line.split(" = ")
        operator, inputs = call.rstrip(")").split("(")
        nodes.append(helper.make_node(operator, inputs.split(", "), [result]))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return tg.load(proto.SerializeToString())


FLOWS = {
    "s = Shape(x); b = Slice(s, zero, one); t = Pad(b, pads, rest); y = Reshape(x, t)": "f32[N,12]",
    "s = Shape(x); p = Slice(x, zero, one, last); y = Expand(p, s)": "f32[N,3,4]",
    "s = Shape(x); b = Gather(s, zero); t = Tile(b, one); y = Tile(row, t)": "f32[N]",
    "s = Shape(x); b = Gather(s, zero); y = Slice(x, zero, b, zero)": "f32[N,3,4]",
    "s = Shape(x); m = Reshape(s, line); t = Transpose(m); u = Squeeze(t, one); y = Expand(row, u)": "f32[N,3,4]",
}


@pytest.mark.parametrize(("lines", "wanted"), FLOWS.items())
def test_shapes_that_are_computed_keep_the_batch_open(lines: str, wanted: str) -> None:
    numbers = {"zero": [0], "one": [1], "last": [2], "pads": [0, 1], "rest": 12, "line": [1, 3]}
    graph = flow(
        lines, ("N", 3, 4), **{n: np.array(a, np.int64) for n, a in numbers.items()}, row=np.ones(1, np.float32)
    )
    ((_, y),) = graph.outputs
    assert str(y.type) == wanted
    x = X.astype(np.float32)
    assert execute(graph.bind(N=2), [x])[0].shape == y.type.bind({"N": 2}).dims


def test_what_begins_before_the_first_entry_and_goes_backwards_begins_there() -> None:
    graph = flow(
        "y = Slice(x, start, end, axis, step)", (4,), start=ints(-9), end=ints(-9), axis=ints(0), step=ints(-1)
    )
    assert execute(graph, [np.arange(4, dtype=np.float32)])[0].tolist() == [0]


def test_a_number_that_pads_may_be_computed_in_a_file() -> None:
    graph = flow("m = ReduceMax(x, axes); y = Pad(x, pads, m)", (2, 3), axes=ints(0, 1), pads=ints(0, 0, 0, 1))
    x = X[0, :2, :3].astype(np.float32)
    np.testing.assert_array_equal(execute(graph, [x])[0], np.pad(x, ((0, 0), (0, 1)), constant_values=x.max()))


def test_parts_are_equal_before_opset_18() -> None:
    with pytest.raises(ModelFormatError, match="opset 13 does not split a dimension of 3 into 2 unequal parts"):
        tg.load(split_model([X.astype(np.float32)], 13, 2, axis=1))


def test_unread_parts_are_not_computed() -> None:
    graph = flow("y = Split(x)", (2, 3))
    assert [node.op.name for node in graph.nodes] == []


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float16, np.float64, np.bool_])
def test_levels_of_one_hot(dtype: Any) -> None:
    levels = np.array([1, 0], dtype)
    graph = tg.load(model("OneHot", [ints(0, 2, 9), ints(3), levels], 13, axis=0))
    (y,) = execute(graph, [ints(0, 2, 9)])
    np.testing.assert_array_equal(y, np.array([[0, 1, 1], [1, 1, 1], [1, 0, 1]], dtype))
    assert y.dtype == dtype


# ---- errors ----


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: ops.split(X, 6, 2), "a dimension of 4 does not make 6 parts"),
        (lambda: ops.split(X, (1, 1), 2), "parts of 1, 1 do not make up a dimension of 4"),
        (lambda: ops.center_crop_pad(X, (1, 1)), "2 sizes for 3 axes"),
        (lambda: ops.tile(X, (1, 2)), "2 repeats for 3 dimensions"),
        (lambda: ops.tile(X, (1, 1, -2)), "-2 is not a dimension"),
        (lambda: ops.space_to_depth(X, 2), r"wants x \[N, C, H, W\]"),
        (lambda: ops.space_to_depth(X[None], 2), "a dimension of 3 is not divisible by 2"),
        (lambda: ops.depth_to_space(X[None], 2, "RCD"), "no order 'RCD'; give DCR or CRD"),
        (lambda: ops.im2col(X[None], 5), "larger than 3 positions"),
        (lambda: ops.col2im(X, (3, 3), 2), r"4 taps and 4 windows make no \[3,4\]"),
        (lambda: ops.col2im(X.astype(int), (3, 3), 2), "wants floating-point"),
    ],
)
def test_errors_say_what_is_wrong(attempt: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        attempt()


def test_what_onnx_cannot_say_with_open_dimensions(tmp_path: Any) -> None:
    for function, shape in (
        (lambda x: ops.tile(x, ("N", 1)), (1, 4)),
        (lambda x: ops.space_to_depth(x, 2, "CRD"), (1, "C", 4, 4)),
    ):
        with pytest.raises((UnsupportedOp, ShapeError), match="bind"):
            tg.save(tg.trace(function, tg.Spec(shape)), tmp_path / "open.onnx")

"""Non-maximum suppression and unpooling as files have them: numbers that a run finds, limits that are computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tinygraph.errors import ShapeError, UnsupportedOp, UsageError
from tinygraph.ops.max_unpool import max_unpool
from tinygraph.ops.nms import non_max_suppression

Array = np.ndarray


def model(operator: str, inputs: dict[str, Array], constants: dict[str, Array], dtype: int, **attributes: Any) -> bytes:
    """One node that reads the inputs, and then the constants."""
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in inputs.items()
    ]
    graph = helper.make_graph(
        [helper.make_node(operator, [*inputs, *constants], ["y"], **attributes)],
        "one",
        values,
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(proto.SerializeToString())


LIMITS = {"most": np.array([7]), "overlap": np.array([0.3], np.float32), "threshold": np.array([0.2], np.float32)}


@pytest.mark.parametrize("centred", [0, 1])
def test_a_session_finds_how_many_boxes_there_are(centred: int) -> None:
    rng = np.random.default_rng(centred)
    shapes = {"boxes": np.zeros((2, 20, 4), np.float32), "scores": np.zeros((2, 3, 20), np.float32)}
    file = model("NonMaxSuppression", shapes, LIMITS, TensorProto.INT64, center_point_box=centred)
    session = tg.compile(tg.load(file))
    counts = set()
    for _ in range(10):
        given = {
            "boxes": rng.uniform(0, 1, (2, 20, 4)).astype(np.float32),
            "scores": (rng.integers(0, 12, (2, 3, 20)) / 10).astype(np.float32) - rng.choice([0, 0.5, 2]),
        }
        given["scores"] = given["scores"].astype(np.float32)
        wanted = ReferenceEvaluator(onnx.load_from_string(file)).run(None, given)[0]
        np.testing.assert_array_equal(session(**given), wanted)
        counts.add(len(wanted))
    assert len(counts) > 2


def test_without_a_limit_no_box_is_kept() -> None:
    shapes = {"boxes": np.zeros((1, 4, 4), np.float32), "scores": np.ones((1, 1, 4), np.float32)}
    file = model("NonMaxSuppression", shapes, {}, TensorProto.INT64)
    assert tg.compile(tg.load(file))(**shapes).shape == (0, 3)


def test_limits_that_are_inputs_are_to_be_bound() -> None:
    shapes = {"boxes": np.zeros((1, 4, 4), np.float32), "scores": np.ones((1, 1, 4), np.float32)}
    file = model("NonMaxSuppression", shapes | {"most": np.array([2])}, {}, TensorProto.INT64)
    with pytest.raises(UnsupportedOp, match="max_output_boxes_per_class") as refused:
        tg.load(file)
    assert refused.value.inputs == ("most",)
    graph = tg.load(file, bind={"most": np.array([2])})
    np.testing.assert_array_equal(tg.compile(graph)(**shapes)[:, 2], [0, 1])


def test_another_number_of_boxes_than_promised_is_refused() -> None:
    boxes, scores = np.zeros((1, 4, 4)), np.ones((1, 1, 4))
    with pytest.raises(UsageError, match="found 4"):
        non_max_suppression(boxes, scores, 3, 9)


def test_boxes_and_scores_must_fit_together() -> None:
    for boxes, scores in (((1, 4, 5), (1, 1, 4)), ((1, 4, 4), (1, 1, 3)), ((2, 4, 4), (1, 1, 4)), ((4, 4), (1, 4))):
        with pytest.raises(ShapeError, match="boxes"):
            non_max_suppression(np.zeros(boxes), np.zeros(scores), 1, 1)


def test_an_output_shape_adds_zeros_behind() -> None:
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)
    places = np.array([5, 7, 13, 15]).reshape(1, 1, 2, 2)
    inputs = {"x": x, "places": places}
    how: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    for size in (4, 5, 6):
        file = model("MaxUnpool", inputs, {"shape": np.array([1, 1, size, size])}, TensorProto.FLOAT, **how)
        wanted = np.zeros((1, 1, size, size), np.float32)
        wanted[0, 0, 1:4:2, 1:4:2] = x[0, 0]
        np.testing.assert_array_equal(tg.compile(tg.load(file))(**inputs), wanted)
    file = model("MaxUnpool", inputs, {"shape": np.array([1, 1, 3, 3])}, TensorProto.FLOAT, **how)
    with pytest.raises(tg.TinygraphError, match="no part of an output shape"):
        tg.load(file)


def test_places_outside_are_refused() -> None:
    with pytest.raises(ShapeError, match="out of range"):
        max_unpool(np.ones((1, 1, 2)), np.array([[[0, 4]]]), 2)
    with pytest.raises(ShapeError, match="place i64"):
        max_unpool(np.ones((1, 1, 2)), np.array([[[0, 4]]], np.int32), 2)

"""Dropout: what is refused, masks that are the same and masks that differ, ONNX's variants."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import tinygraph as tg
from tests.ops.checks import execute
from tests.ops.test_onnx_forms import model
from tinygraph import ops
from tinygraph.errors import ShapeError, UnsupportedOp

KEY = np.array([3, 5], np.uint64)
ONES = np.ones((50, 40), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.dropout(ONES, KEY, 1.5, 0), "the probability of dropping must be from 0 to 1, got 1.5"),
        (lambda: ops.dropout(ONES, KEY, -0.1, 0), "got -0.1"),
        (lambda: ops.dropout(ONES, KEY, np.nan, 0), "got nan"),
        (lambda: ops.dropout(ONES, KEY, 0.5, -1), "the stream must be a whole number >= 0, got -1"),
        (lambda: ops.dropout(ONES, KEY.astype(np.int64), 0.5, 0), r"the random key must be u64\[2\], got i64\[2\]"),
        (lambda: ops.dropout(ONES, KEY[:1], 0.5, 0), r"the random key must be u64\[2\]"),
        (lambda: ops.dropout(ONES.astype(int), KEY, 0.5, 0), "wants floating-point inputs"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


def test_a_mask_depends_on_key_and_stream_alone() -> None:
    mask = ops.dropout(ONES, KEY, 0.5, 2)
    np.testing.assert_array_equal(ops.dropout(ONES, KEY, 0.5, 2), mask)
    for dtype in (np.float64, np.float16):
        np.testing.assert_array_equal(ops.dropout(ONES.astype(dtype), KEY, 0.5, 2), mask.astype(dtype))
    others = [ops.dropout(ONES, KEY, 0.5, 3), ops.dropout(ONES, KEY + np.uint64(1), 0.5, 2)]
    for other in others:
        assert abs(np.mean(other == mask) - 0.5) < 0.05


def test_none_and_all() -> None:
    np.testing.assert_array_equal(ops.dropout(ONES, KEY, 0.0, 0), ONES)
    np.testing.assert_array_equal(ops.dropout(ONES, KEY, 1.0, 0), 0 * ONES)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_expectation_is_kept(p: float) -> None:
    y = ops.dropout(np.ones(100_000), KEY, p, 0)
    assert abs(np.mean(y == 0) - p) < 0.01
    assert abs(y.mean() - 1) < 5 * np.sqrt(p / (1 - p) / y.size)


@pytest.mark.parametrize(
    ("opset", "rest", "attributes"),
    [(7, [], {"ratio": 0.5}), (13, [np.float32(0.5)], {}), (13, [np.float32(0.5), np.False_], {})],
)
def test_dropout_of_a_file_is_the_identity(opset: int, rest: list[Any], attributes: dict[str, Any]) -> None:
    loaded = tg.load(model("Dropout", [ONES, *map(np.asarray, rest)], opset, **attributes))
    np.testing.assert_array_equal(execute(loaded, [ONES])[0], ONES)
    assert not loaded.nodes


def test_dropout_of_a_file_in_training_mode_is_refused() -> None:
    with pytest.raises(UnsupportedOp, match="in training mode"):
        tg.load(model("Dropout", [ONES, np.asarray(np.float32(0.5)), np.asarray(np.True_)], 13))


def test_dropout_of_a_file_in_training_mode_that_drops_nothing_is_the_identity() -> None:
    loaded = tg.load(model("Dropout", [ONES, np.asarray(np.float32(0)), np.asarray(np.True_)], 13))
    np.testing.assert_array_equal(execute(loaded, [ONES])[0], ONES)


def with_mask(opset: int) -> bytes:
    proto = onnx.load_from_string(model("Dropout", [ONES], opset))
    proto.graph.node[0].output.append("mask")
    assert not tg.load(proto.SerializeToString()).nodes  # nobody reads it yet
    proto.graph.output.append(onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.UNDEFINED, ONES.shape))
    return proto.SerializeToString()


def test_the_mask_of_a_dropout_of_a_file_keeps_everything() -> None:
    y, mask = execute(tg.load(with_mask(13)), [0 * ONES])
    np.testing.assert_array_equal(y, 0 * ONES)
    np.testing.assert_array_equal(mask, np.ones(ONES.shape, bool))


def test_the_mask_of_an_old_dropout_is_refused() -> None:
    with pytest.raises(UnsupportedOp, match="its mask is read, which the standard leaves open before opset 10"):
        tg.load(with_mask(7))

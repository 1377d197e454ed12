"""Reductions, running sums, TopK and their kin: the forms of ONNX's opsets, sizes that a run finds, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tests.ops.checks import close, execute
from tests.ops.test_onnx_forms import ints, model
from tinygraph import ops
from tinygraph.errors import ModelFormatError, ShapeError, UnsupportedOp, UsageError

X = np.random.default_rng(0).uniform(0.5, 2.0, (2, 3, 4)).astype(np.float32)
WHOLE = np.random.default_rng(1).integers(-4, 5, (2, 3, 4)).astype(np.int32)
FLOATING = ["ReduceLogSum", "ReduceLogSumExp"]
NUMBERS = ["ReduceL1", "ReduceL2", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"]


def agree(content: bytes, x: Any) -> None:
    """The model computes what onnx.reference does."""
    wanted = ReferenceEvaluator(content).run(None, {"x0": x})
    found = execute(tg.load(content), [x])
    assert [a.dtype for a in found] == [np.asarray(a).dtype for a in wanted]
    close(found, [np.asarray(a) for a in wanted], 1e-6, "tinygraph against onnx.reference")


@pytest.mark.parametrize("op_type", [*NUMBERS, *FLOATING, "ReduceMean"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_axes_are_an_attribute_or_an_input(op_type: str, keepdims: int) -> None:
    attributes = {"keepdims": keepdims}
    if op_type != "ReduceSum":  # its axes have been an input since opset 13
        agree(model(op_type, [X], 13, axes=[-1, 0], **attributes), X)
    agree(model(op_type, [X], 11, axes=[1], **attributes), X)
    agree(model(op_type, [X], 11, **attributes), X)
    agree(model(op_type, [X, ints(-1, 0)], 18, **attributes), X)
    agree(model(op_type, [X, ints()], 18, **attributes), X)
    agree(model(op_type, [X], 18, **attributes), X)


@pytest.mark.parametrize("op_type", NUMBERS)
def test_integers_stay_integers(op_type: str) -> None:
    content = model(op_type, [WHOLE, ints(1)], 18)
    (found,) = execute(tg.load(content), [WHOLE])
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, ReferenceEvaluator(content).run(None, {"x0": WHOLE})[0])


def test_the_mean_of_integers_is_rounded_towards_zero() -> None:
    (found,) = execute(tg.load(model("ReduceMean", [WHOLE, ints(1)], 18, keepdims=0)), [WHOLE])
    np.testing.assert_array_equal(found, np.trunc(WHOLE.mean(1)).astype(np.int32))


@pytest.mark.parametrize(
    ("op_type", "of_each"),
    [("ReduceSum", X), ("ReduceSumSquare", X * X), ("ReduceL2", X), ("ReduceLogSum", np.log(X)), ("ReduceProd", X)],
)
def test_without_axes_a_reduction_may_be_of_each_number_alone(op_type: str, of_each: Any) -> None:
    for axes in ([], [ints()]):
        content = model(op_type, [X, *axes], 18, noop_with_empty_axes=1)
        close(execute(tg.load(content), [X]), [of_each], 1e-6, op_type)


@pytest.mark.parametrize(
    ("op_type", "identity"),
    [
        ("ReduceMax", -np.inf),
        ("ReduceMin", np.inf),
        ("ReduceProd", 1),
        ("ReduceLogSum", -np.inf),
        ("ReduceLogSumExp", -np.inf),
        *((op_type, 0) for op_type in ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare")),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_is_made_of_no_numbers(op_type: str, identity: float) -> None:
    empty = X[:, :0]
    session = tg.compile(tg.load(model(op_type, [empty, ints(1)], 18)))
    np.testing.assert_array_equal(session(empty), np.full((2, 1, 4), identity, np.float32))


def test_integers_have_no_logarithm() -> None:
    for op_type in FLOATING:
        with pytest.raises(ModelFormatError, match="wants floating-point inputs, got int32"):
            tg.load(model(op_type, [WHOLE, ints(1)], 18))


FORMS = [
    ("CumSum", 11, [X, np.array(1)], {}),
    ("CumSum", 14, [X, np.array(-1, np.int32)], {"exclusive": 1}),
    ("CumSum", 14, [X, np.array(0)], {"exclusive": 1, "reverse": 1}),
    ("CumProd", 26, [X, np.array(2)], {"reverse": 1}),
    ("Trilu", 14, [X], {}),
    ("Trilu", 14, [X, np.array(1)], {"upper": 0}),
    ("EyeLike", 9, [X[0]], {"k": 1}),
    ("EyeLike", 9, [X[0]], {"dtype": onnx.TensorProto.INT32}),
    ("NonZero", 13, [np.array([[0, 1, 2], [3, 0, 0]])], {}),
    ("Compress", 11, [X, np.array([False, True])], {}),
    ("Compress", 11, [X, np.array([False, True])], {"axis": -1}),
    ("Det", 11, [X[:, :3, :3]], {}),
]


@pytest.mark.parametrize(("op_type", "opset", "inputs", "attributes"), FORMS)
def test_form(op_type: str, opset: int, inputs: list[Any], attributes: dict[str, Any]) -> None:
    agree(model(op_type, inputs, opset, **attributes), inputs[0])


@pytest.mark.parametrize(("opset", "form"), [(7, "attribute"), (10, "input"), (11, "input"), (13, "input")])
@pytest.mark.parametrize("axis", [0, -1])
def test_top_k_of_every_opset(opset: int, form: str, axis: int) -> None:
    content = model("TopK", [X, *([ints(2)] if form == "input" else [])], opset, axis=axis)
    proto = onnx.load_from_string(content)
    if form == "attribute":
        proto.graph.node[0].attribute.append(helper.make_attribute("k", 2))
    proto.graph.node[0].output.append("places")
    proto.graph.output.append(onnx.ValueInfoProto(name="places"))
    values, places = execute(tg.load(proto.SerializeToString()), [X])
    order = np.argsort(-X, axis).take([0, 1], axis)
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(values, np.take_along_axis(X, order, axis))


def test_of_equal_numbers_the_first_is_taken_and_nan_is_largest() -> None:
    x = np.array([1.0, 3.0, np.nan, 3.0, 1.0, -np.inf])
    np.testing.assert_array_equal(ops.top_k(x, 5)[1], [2, 1, 3, 0, 4])
    np.testing.assert_array_equal(ops.top_k(x, 6, largest=False)[1], [5, 0, 4, 1, 3, 2])
    lowest = np.array([-128, 127, -128], np.int8)
    np.testing.assert_array_equal(ops.top_k(lowest, 3)[1], [1, 0, 2])


def test_a_run_finds_how_many_there_are() -> None:
    content = model("NonZero", [X], 13)
    session = tg.compile(tg.load(content))
    for threshold in (0.0, 1.0, 3.0):
        x = X * (threshold < X)
        np.testing.assert_array_equal(session(x), np.argwhere(x).T)


def test_a_number_that_the_graph_knows_is_checked() -> None:
    with pytest.raises(UsageError, match="nonzero found 2, the graph was made for 3"):
        ops.nonzero(np.array([1, 0, 2]), 3)
    with pytest.raises(UsageError, match="compress found 1"):
        ops.compress(X, np.array([True, False]), 0, 2)
    with pytest.raises(UsageError, match="unique found 2"):
        ops.unique(np.array([1, 0, 1]), 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.cumsum(X > 1, 0), "wants numbers, got bool"),
        (lambda: ops.cumsum(X, 3), "there is no axis 3"),
        (lambda: ops.top_k(X, 5), "there are no 5 numbers along axis 2"),
        (lambda: ops.min(X[:, :0], 1), "no smallest of no numbers"),
        (lambda: ops.triu(X[0, 0]), "wants matrices"),
        (lambda: ops.det(X), "wants square matrices"),
        (lambda: ops.eye_like(X), "wants a matrix"),
        (lambda: ops.compress(X, X > 1, 0, 1), "booleans of one dimension"),
        (lambda: ops.compress(X, np.ones(5, bool), 0, 5), "5 conditions for 2 slices"),
        (lambda: ops.l2_norm(X > 1), "wants numbers, got bool"),
        (lambda: ops.log_sum_exp(WHOLE), "wants floating-point"),
        (lambda: ops.matmul(X > 1, X > 1), "wants numbers, got bool"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


def test_damaged_forms_are_refused() -> None:
    with pytest.raises(ModelFormatError, match="no axis 3"):
        tg.load(model("ReduceMax", [X, ints(3)], 18))
    with pytest.raises(UnsupportedOp, match="want one"):
        tg.load(model("CumSum", [X, ints(0, 1)], 14))

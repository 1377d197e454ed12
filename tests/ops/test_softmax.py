"""Softmax, hardmax, maxout and cross-entropy: what is refused, huge logits, ignored labels, ONNX's variants."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tests.ops.checks import close, execute
from tests.ops.test_onnx_forms import model
from tinygraph import ops
from tinygraph.autodiff import vjp_graph
from tinygraph.errors import ModelFormatError, ShapeError, UsageError

X = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
LABELS = np.array([[0, 5, 2], [1, 1, 4]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.softmax(X, 3), "there is no axis 3 in 3 dimensions"),
        (lambda: ops.softmax(X[:, :0], 1), "axis 1 of .* is empty"),
        (lambda: ops.softmax(LABELS), "wants floating-point inputs, got int64"),
        (lambda: ops.maxout(X, 4), "6 channels do not divide into groups of 4"),
        (lambda: ops.maxout(X, 0), "groups of 0"),
        (lambda: ops.cross_entropy(X, X[:, 0]), "labels must be whole numbers, got float32"),
        (lambda: ops.cross_entropy(X, LABELS[:1]), r"logits \[N, C, ...\] want labels \[N, ...\]"),
        (lambda: ops.cross_entropy(X[:, :0], LABELS), "has no classes"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


@pytest.mark.parametrize("label", [6, -1, -101])
def test_a_label_out_of_range_is_refused_when_it_is_seen(label: int) -> None:
    labels = LABELS.copy()
    labels[1, 2] = label
    with pytest.raises(UsageError, match=f"cross_entropy got the label {label}; want 0 to 5, or -100"):
        ops.cross_entropy(X, labels)


def test_maxout_takes_neighbouring_channels() -> None:
    np.testing.assert_array_equal(ops.maxout(X, 3), np.stack([X[:, :3].max(1), X[:, 3:].max(1)], 1))
    np.testing.assert_array_equal(ops.maxout(X, 3, axis=-1), X.max(2, keepdims=True))
    assert str(tg.trace(lambda x: ops.maxout(x, 2), tg.Spec(("N", 6))).outputs[0][1].type) == "f32[N,3]"


def gradient(logits: Any, labels: Any, cotangent: Any) -> Any:
    graph = tg.trace(ops.cross_entropy, tg.Spec(logits.shape, logits.dtype), tg.Spec(labels.shape, labels.dtype))
    return execute(vjp_graph(graph, ["logits"]), [logits, labels, cotangent])[-1]


def test_ignored_samples_have_no_loss_and_no_gradient() -> None:
    labels = LABELS.copy()
    labels[0] = -100
    x = X.copy()
    x[0, 0, 0] = np.nan
    x[0, 1, 1] = np.inf
    with np.errstate(invalid="ignore"):
        losses = ops.cross_entropy(x, labels)
    np.testing.assert_array_equal(losses[0], 0)
    np.testing.assert_array_equal(losses[1], ops.cross_entropy(X, LABELS)[1])
    slopes = gradient(x, labels, np.ones(labels.shape, np.float32))
    np.testing.assert_array_equal(slopes[0], 0)
    assert np.count_nonzero(slopes[1]) == slopes[1].size


def test_huge_logits_have_finite_losses_and_gradients() -> None:
    logits = np.array([[1e30, -1e30], [1e30, -1e30], [-1e30, -1e30]], np.float32)
    labels = np.array([0, 1, 1])
    np.testing.assert_allclose(ops.cross_entropy(logits, labels), [0, 2e30, np.log(2)], rtol=1e-6)
    np.testing.assert_array_equal(gradient(logits, labels, np.ones(3, np.float32)), [[0, 0], [1, -1], [0.5, -0.5]])
    np.testing.assert_array_equal(ops.softmax(logits), [[1, 0], [1, 0], [0.5, 0.5]])


def test_labels_of_any_whole_dtype() -> None:
    wanted = ops.cross_entropy(X, LABELS)
    for dtype in (np.uint8, np.int32, np.uint64):
        np.testing.assert_array_equal(ops.cross_entropy(X, LABELS.astype(dtype)), wanted)
        cotangent = np.ones(LABELS.shape, np.float32)
        np.testing.assert_array_equal(gradient(X, LABELS.astype(dtype), cotangent), gradient(X, LABELS, cotangent))


def test_the_label_that_minus_100_would_wrap_to_is_not_ignored() -> None:
    logits, labels = np.zeros((1, 200), np.float32), np.array([156], np.uint8)
    slope = gradient(logits, labels, np.ones(1, np.float32))
    np.testing.assert_allclose(slope[0, 156], 1 / 200 - 1, rtol=1e-6)


FORMS = [
    ("Softmax", 13, [X], {}),
    ("Softmax", 13, [X], {"axis": 0}),
    ("LogSoftmax", 13, [X], {"axis": -2}),
    ("SoftmaxCrossEntropyLoss", 13, [X, LABELS], {"reduction": "none"}),
    ("SoftmaxCrossEntropyLoss", 13, [X, LABELS], {"reduction": "sum"}),
    ("SoftmaxCrossEntropyLoss", 13, [X, LABELS], {}),
    ("SoftmaxCrossEntropyLoss", 13, [X, LABELS], {"ignore_index": 1}),
    ("NegativeLogLikelihoodLoss", 13, [X, LABELS], {"reduction": "none"}),
    ("NegativeLogLikelihoodLoss", 13, [X, LABELS], {}),
    ("NegativeLogLikelihoodLoss", 13, [X, LABELS], {"reduction": "sum", "ignore_index": 1}),
    ("NegativeLogLikelihoodLoss", 13, [X, LABELS, X[0, :, 0]], {}),
    ("NegativeLogLikelihoodLoss", 13, [X, LABELS, X[0, :, 0]], {"ignore_index": 5}),
    ("Hardmax", 13, [X], {"axis": 0}),
    ("Hardmax", 13, [X], {}),
]


@pytest.mark.parametrize(("op_type", "opset", "inputs", "attributes"), FORMS)
def test_forms_of_onnx(op_type: str, opset: int, inputs: list[Any], attributes: dict[str, Any]) -> None:
    content = model(op_type, inputs, opset, **attributes)
    wanted = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x0": X})
    close(execute(tg.load(content), [X]), wanted, 1e-6, op_type)


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_before_opset_13_softmax_goes_over_all_axes_from_the_given_one(op_type: str, axis: int | None) -> None:
    content = model(op_type, [X], 11, **({} if axis is None else {"axis": axis}))
    first = 1 if axis is None else axis
    flat = X.reshape(int(np.prod(X.shape[:first])), -1).astype(np.float64)
    e = np.exp(flat)
    wanted = (e / e.sum(1, keepdims=True)).reshape(X.shape)
    largest = np.broadcast_to((e / e.sum(1, keepdims=True)).max(1, keepdims=True), e.shape).reshape(X.shape)
    of = {"Softmax": wanted, "LogSoftmax": np.log(wanted), "Hardmax": (wanted == largest).astype(np.float32)}
    close(execute(tg.load(content), [X]), [of[op_type]], 1e-6, op_type)


def test_weights_and_log_probabilities_of_a_file() -> None:
    """By the formula: each loss times the weight of its label; a mean divides by these weights."""
    weights = np.array([1, 2, 0.5, 3, 1, 0.25], np.float32)
    wanted = ops.cross_entropy(X, LABELS) * weights[LABELS]
    content = model("SoftmaxCrossEntropyLoss", [X, LABELS, weights], 13, reduction="none")
    close(execute(tg.load(content), [X]), [wanted], 1e-6, "none")
    kept = LABELS != 1
    content = model("SoftmaxCrossEntropyLoss", [X, LABELS, weights], 13, ignore_index=1)
    mean = np.sum(wanted * kept) / np.sum(weights[LABELS] * kept)
    close(execute(tg.load(content), [X]), [mean], 1e-6, "mean of some")
    proto = onnx.load_from_string(content)
    proto.graph.node[0].output.append("logs")
    proto.graph.output.append(onnx.ValueInfoProto(name="logs"))
    results = execute(tg.load(proto.SerializeToString()), [X])
    close(results, [mean, ops.log_softmax(X, 1)], 1e-6, "with log-probabilities")


def test_a_reduction_that_is_none_is_refused() -> None:
    with pytest.raises(ModelFormatError, match="no reduction 'median'"):
        tg.load(model("NegativeLogLikelihoodLoss", [X, LABELS], 13, reduction="median"))

"""Losses against PyTorch's stored answers, and at their edges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.autodiff import gradients, vjp_graph
from tinygraph.ir import Array
from tinygraph.nn import functional as F
from tinygraph.runtime.evaluate import evaluate
from tinygraph.tools.goldens_losses import weights_of

GOLDENS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data/losses.json").read_text())


def differentiated(loss: Any, x: Array, target: Array) -> tuple[Any, list[Array], Array]:
    """What a golden has of a loss: its value, its slopes by both arguments, and the slope of the first slope."""
    floating = ["x", "target"] if target.dtype.kind == "f" else ["x"]
    graph = tg.trace(loss, tg.Spec(x.shape, x.dtype, "x"), tg.Spec(target.shape, target.dtype, "target"))
    first = vjp_graph(graph, floating)
    value = weights_of(np.empty(graph.outputs[0][1].type.dims))
    arrays = {"x": x, "target": target, "cotangent.output": value.astype(x.dtype)}
    results = evaluate(first, arrays)
    again = vjp_graph(first, ["x"], ["grad.x"])
    second = evaluate(again, {**arrays, "cotangent.grad.x": weights_of(x).astype(x.dtype)})
    return results["output"], [results[f"grad.{name}"] for name in floating], second["grad.x.1"]


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: f"{golden['function']}: {golden['name']}")
def test_values_and_two_gradients_are_torchs(golden: dict[str, Any]) -> None:
    function, options = getattr(F, golden["function"]), golden["options"]
    options = {k: np.array(v) if isinstance(v, list) else v for k, v in options.items()}
    x, target = np.array(golden["x"]), np.array(golden["target"])
    found = differentiated(lambda x, target: function(x, target, **options), x, target)
    wanted = golden["value"], golden["gradients"], golden["second"]
    for got, want in zip((found[0], *found[1], found[2]), (wanted[0], *wanted[1], wanted[2]), strict=True):
        np.testing.assert_allclose(got, np.array(want), rtol=1e-12, atol=1e-14)


def slope(loss: Any, x: Array) -> Array:
    """The gradient of a scalar loss, from the compiled graph."""
    graph = gradients(tg.trace(loss, tg.Spec(x.shape, x.dtype, "x")), wrt=["x"])
    return np.asarray(tg.compile(graph)(x)["grad.x"])


# ---- cross-entropy -----------------------------------------------------------------------------

LOGITS = np.random.default_rng(0).standard_normal((4, 3))
LABELS = np.array([2, 0, -100, 1])


@pytest.mark.parametrize("options", [{}, {"weight": np.array([1.0, 2, 3])}, {"label_smoothing": 0.1}], ids=str)
@pytest.mark.parametrize("labels", [LABELS, np.eye(3)[LABELS % 3]], ids=["labels", "probabilities"])
def test_the_mean_over_an_open_batch(options: Any, labels: Array) -> None:
    def loss(x: Any, y: Any) -> Any:
        return F.cross_entropy(x, y, **options)

    open_specs = [tg.Spec(("N", *a.shape[1:]), a.dtype) for a in (LOGITS, labels)]
    session = tg.compile(gradients(tg.trace(loss, *open_specs), wrt=["x"]))
    for size in (2, 4):
        x, y = LOGITS[:size], labels[:size]
        found = session(x, y)
        np.testing.assert_allclose(found["output"], loss(x, y), rtol=1e-14)
        np.testing.assert_allclose(found["grad.x"], slope(lambda x, y=y: loss(x, y), x), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("options", [{}, {"weight": np.array([1.0, 2, 3])}, {"label_smoothing": 0.1}], ids=str)
def test_numbers_of_ignored_samples_do_not_matter(options: Any) -> None:
    damaged = LOGITS.copy()
    damaged[2] = [np.nan, np.inf, -np.inf]

    def loss(x: Any) -> Any:
        return F.cross_entropy(x, LABELS, **options)

    with np.errstate(invalid="ignore"):
        assert loss(damaged) == loss(LOGITS)
        np.testing.assert_array_equal(slope(loss, damaged), slope(loss, LOGITS))


@pytest.mark.parametrize("options", [{}, {"weight": np.array([1.0, 2, 3])}, {"label_smoothing": 0.1}], ids=str)
def test_the_mean_over_nothing_is_no_number_and_has_no_slope(options: Any) -> None:
    nothing = np.full(4, -100)
    with np.errstate(all="ignore"):
        assert np.isnan(F.cross_entropy(LOGITS, nothing, **options))
        np.testing.assert_array_equal(slope(lambda x: F.cross_entropy(x, nothing, **options), LOGITS), 0)
    assert F.cross_entropy(LOGITS, nothing, reduction="sum", **options) == 0


def test_labels_of_unsigned_dtypes() -> None:
    labels = np.array([2, 0, 255, 1], np.uint8)
    wanted = F.cross_entropy(LOGITS, LABELS, [1.0, 2, 3], label_smoothing=0.1)
    found = F.cross_entropy(LOGITS, labels, [1.0, 2, 3], label_smoothing=0.1, ignore_index=255)
    np.testing.assert_allclose(found, wanted, rtol=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.cross_entropy(LOGITS, LABELS, label_smoothing=1.5), "label_smoothing=1.5 must be from 0 to 1"),
        (lambda: F.cross_entropy(LOGITS, LABELS, label_smoothing=np.nan), "label_smoothing=nan"),
        (lambda: F.cross_entropy(LOGITS, LOGITS, ignore_index=2), "ignore_index=2 is a label"),
        (lambda: F.cross_entropy(LOGITS, LABELS, LOGITS[:, 0]), r"a number for each of 3 classes, got f64\[4\]"),
        (lambda: F.cross_entropy(LOGITS, LABELS.astype(float)), r"got f64\[4\] for logits f64\[4,3\]; cast labels"),
        (lambda: F.cross_entropy(LOGITS[0], np.array(2)), r"logits are \[N, C, ...\]"),
        (lambda: F.cross_entropy(LOGITS[:, :0], LOGITS[:, :0]), "with a number of classes"),
        (lambda: tg.trace(F.cross_entropy, tg.Spec((2, "C")), tg.Spec((2,), "int64")), "with a number of classes"),
        (lambda: F.huber_loss(LOGITS, LOGITS, delta=0), "delta=0 must be positive"),
        (lambda: F.smooth_l1_loss(LOGITS, LOGITS, beta=-1), "beta=-1 must not be negative"),
        (lambda: F.l1_loss(LOGITS, LABELS), "l1_loss wants two tensors of one shape"),
        (lambda: F.binary_cross_entropy_with_logits(LOGITS, LABELS), "one shape"),
        (lambda: F.accuracy(LOGITS, LABELS[:2]), r"got f64\[4,3\] and i64\[2\]"),
        (lambda: F.accuracy(LOGITS, LABELS.astype(float)), "whole numbers"),
        (lambda: F.l2_penalty(nn.ReLU()), "one or more arrays"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises((tg.ShapeError, tg.UsageError), match=message):
        call()


@pytest.mark.parametrize("name", [name for name in F.losses.__all__ if name not in ("accuracy", "l2_penalty")])
def test_unknown_reductions_are_refused(name: str) -> None:
    with pytest.raises(tg.UsageError, match="choose 'mean', 'sum' or 'none'"):
        getattr(F, name)(LOGITS, LOGITS, reduction="average")


# ---- binary cross-entropy ----------------------------------------------------------------------


def test_binary_cross_entropy_is_exact_for_logits_of_any_size() -> None:
    x, t = np.array([-50.0, 50, 0, 0, -1e300, 1e300]), np.array([0.0, 1, 0, 1, 1, 1])
    losses = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    np.testing.assert_allclose(losses, [np.exp(-50), np.exp(-50), np.log(2), np.log(2), 1e300, 0], rtol=1e-15)
    slopes = slope(lambda x: F.binary_cross_entropy_with_logits(x, t, reduction="sum"), x)
    np.testing.assert_allclose(slopes, [np.exp(-50), -np.exp(-50), 0.5, -0.5, -1, 0], rtol=1e-15)


def test_binary_cross_entropy_is_cross_entropy_of_two_classes() -> None:
    x, t = LOGITS[:, 0], np.array([1.0, 0, 0, 1])
    two = F.cross_entropy(np.stack([0 * x, x], 1), t.astype(int))
    np.testing.assert_allclose(F.binary_cross_entropy_with_logits(x, t), two, rtol=1e-14)


# ---- losses of numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [F.huber_loss, F.smooth_l1_loss, F.l1_loss])
def test_an_infinite_error_pulls_by_one(loss: Any) -> None:
    x = np.array([np.inf, -np.inf, 0.0, -0.0])
    with np.errstate(all="ignore"):
        assert np.isinf(loss(x, 0 * LOGITS[:, 0], reduction="sum"))
        np.testing.assert_array_equal(slope(lambda x: loss(x, np.zeros(4), reduction="sum"), x), [1, -1, 0, 0])


# ---- the penalty and accuracy ------------------------------------------------------------------


class Tied(nn.Module):
    """A weight under two names, a frozen one, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2, bias=False)
        self.b = nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight
        self.scale = nn.Parameter((2,), nn.init.ONES, trainable=False)
        self.mean = nn.Buffer((2,), nn.init.ONES)

    def forward(self, x: Any) -> Any:
        return self.b(self.a(x)) * self.scale + self.mean


def test_the_penalty_of_a_network_counts_each_trainable_parameter_once() -> None:
    net = Tied()
    w = np.array([[0.35, 2.0], [-3.0, 0.5]], np.float32)
    net.a.weight.set(w)
    np.testing.assert_allclose(F.l2_penalty(net), (w**2).sum(), rtol=1e-6)

    def loss(net: Any, x: Any) -> Any:
        return F.mse_loss(net(x), x) + 0.1 * F.l2_penalty(net)

    graph = gradients(tg.trace(loss, net, tg.Spec((1, 2), name="x")))
    assert [name for name, _ in graph.outputs[1:]] == ["grad.a.weight"]
    found = np.asarray(tg.compile(graph)(np.ones((1, 2), np.float32))["grad.a.weight"])
    alone = gradients(tg.trace(lambda net, x: F.mse_loss(net(x), x), net, tg.Spec((1, 2), name="x")))
    without = np.asarray(tg.compile(alone)(np.ones((1, 2), np.float32))["grad.a.weight"])
    np.testing.assert_allclose(found - without, 0.2 * w, rtol=1e-5)


def test_the_penalty_of_a_tensor_and_of_several() -> None:
    assert F.l2_penalty(np.array([3.0, 4])) == 25
    assert F.l2_penalty([np.array([3.0, 4]), np.array([[1.0]])]) == 26
    assert F.l2_penalty(np.ones(4, np.float32)).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_accuracy_counts_the_first_of_the_largest(dtype: Any) -> None:
    logits = np.array([[1, 3, 3], [5, 5, 0], [0, 1, 2], [2, 1, 0]], dtype)
    assert F.accuracy(logits, np.array([1, 1, 2, 0])) == 0.75
    assert F.accuracy(logits, np.array([1, 1, -100, 2]), ignore_index=-100) == dtype(1 / 3)
    assert F.accuracy(logits, np.array([1, 1, 2, 1], np.uint8), ignore_index=1) == 1
    assert F.accuracy(logits, np.array([0, 1, 2, 1]), ignore_index=0) == dtype(1 / 3)
    assert F.accuracy(logits, np.array([1, 1, 2, 0])).dtype == dtype


def test_accuracy_of_pixels_and_of_an_open_batch() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((3, 4, 5, 5)).astype(np.float32), rng.integers(0, 4, (3, 5, 5))
    session = tg.compile(tg.trace(F.accuracy, tg.Spec(("N", 4, 5, 5)), tg.Spec(("N", 5, 5), "int64")))
    for size in (1, 3):
        wanted = (logits[:size].argmax(1) == labels[:size]).mean()
        np.testing.assert_allclose(session(logits[:size], labels[:size]), wanted, rtol=1e-6)


def test_accuracy_of_more_samples_than_half_precision_can_count() -> None:
    logits = np.zeros((1, 2, 300, 300), np.float16)
    labels = np.zeros((1, 300, 300), int)
    labels[0, :75] = 1
    assert F.accuracy(logits, labels) == 0.75


def test_accuracy_of_nothing_is_no_number() -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(F.accuracy(LOGITS, np.full(4, -100)))

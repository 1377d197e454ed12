"""Recurrent layers: what is refused, ONNX's forms, open sizes, gradients over all steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.ops.cases.rnn import naive
from tests.ops.checks import close, execute
from tests.ops.test_norm import with_outputs
from tests.ops.test_onnx_forms import model
from tinygraph import ops
from tinygraph.errors import ModelFormatError, ShapeError, UnsupportedOp
from tinygraph.ops.base import apply
from tinygraph.ops.rnn import Gru, Lstm, Rnn

RNG = np.random.default_rng(0)


def real(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


X, W, R = real(4, 3, 2), real(1, 12, 2), real(1, 12, 3)
BOTH = np.concatenate([W, -W]), np.concatenate([R, R])
LENGTHS = np.array([2, 4, 0], np.int32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.lstm(X[0], W, R), r"wants x \[T, N, I\], w \[D, gates H, I\] and r \[D, gates H, H\]"),
        (lambda: ops.lstm(X, W[:, :9], R), r"w is f32\[1,9,2\]; want \[1,12,2\]"),
        (lambda: ops.lstm(X, W, R, direction="bidirectional"), r"w is f32\[1,12,2\]; want \[2,12,2\]"),
        (lambda: ops.lstm(X, W, R, direction="back"), "the direction is 'back'; there are forward, reverse"),
        (lambda: ops.lstm(X, W, R, real(1, 12)), r"B is f32\[1,12\]; want \[1,24\]"),
        (lambda: ops.lstm(X, W, R, initial_h=real(1, 2, 3)), r"initial_h is f32\[1,2,3\]; want \[1,3,3\]"),
        (lambda: ops.lstm(X, W, R.astype(np.float64)), "dtypes differ: float32, float64"),
        (lambda: ops.lstm(X[:0], W, R), "wants one step or more"),
        (lambda: apply(Lstm(given=("initial_c", "B")), X, W, R, real(1, 3, 3), real(1, 24)), "in that order"),
        (lambda: apply(Lstm(given=("B",)), X, W, R), "has 0 inputs behind r"),
        (lambda: apply(Gru(given=("P",)), X, W[:, :9], R[:, :9], real(1, 9)), "out of"),
        (lambda: apply(Lstm(activations=("Tanh",)), X, W, R), "want 3 for each direction"),
        (lambda: apply(Rnn(activations=("Cosine",)), X, W[:, :3], R[:, :3]), "there is no activation 'Cosine'"),
        (lambda: apply(Rnn(clip=-1.0), X, W[:, :3], R[:, :3]), "no negative clip"),
        (
            lambda: apply(Rnn(given=("sequence_lens",)), X, W[:, :3], R[:, :3], real(3)),
            "sequence_lens must be integers",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


def test_the_batch_may_stand_first_in_onnx() -> None:
    state = real(3, 2, 3)
    content = model(
        "LSTM", [X.transpose(1, 0, 2), *BOTH, None, None, state], 14, layout=1, direction="bidirectional", hidden_size=3
    )
    y, h, c = execute(tg.load(with_outputs(content, "h", "c")), [X.transpose(1, 0, 2)])
    wanted = ops.lstm(X, *BOTH, initial_h=state.transpose(1, 0, 2), direction="bidirectional")
    close([y.transpose(1, 2, 0, 3), h.transpose(1, 0, 2), c.transpose(1, 0, 2)], wanted, 1e-6, "layout 1")


def test_activations_of_any_case_take_their_numbers_in_order() -> None:
    content = model(
        "GRU",
        [X, W[:, :9], R[:, :9]],
        7,
        activations=["hardsigmoid", "LEAKYRELU"],
        activation_alpha=[0.5, 0.25],
        activation_beta=[0.125],
    )
    (node,) = tg.load(content).nodes
    assert node.op == Gru(activations=("HardSigmoid", "LeakyRelu"), alphas=(0.5, 0.25), betas=(0.125,))
    # With no input and no state the gates are what their functions make of the biases.
    z, r, h = 0.5, -9.0, -2.0
    bias = np.array([[z, r, h, 0, 0, 0]], np.float32)
    op = Gru(given=("B",), activations=node.op.activations, alphas=node.op.alphas, betas=node.op.betas)
    y, _ = apply(
        op, np.zeros((1, 1, 1), np.float32), np.zeros((1, 3, 1), np.float32), np.zeros((1, 3, 1), np.float32), bias
    )
    np.testing.assert_allclose(y.ravel(), [(1 - (0.5 * z + 0.125)) * 0.25 * h], rtol=1e-6)


@pytest.mark.parametrize("op_type", ["RNN", "GRU", "LSTM"])
def test_lengths_in_onnx(op_type: str) -> None:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op_type]
    op = {"RNN": Rnn, "GRU": Gru, "LSTM": Lstm}[op_type]("bidirectional", ("sequence_lens",))
    w, r = (a[:, : 3 * gates] for a in BOTH)
    content = model(op_type, [X, w, r, None, LENGTHS], 14, direction="bidirectional")
    (y,) = execute(tg.load(content), [X])
    close([y], naive(op, X, w, r, LENGTHS)[:1], 1e-6, op_type)
    assert not y[2:, :, 0].any()
    assert not y[:, :, 2].any()


def test_what_onnx_has_and_tinygraph_has_not() -> None:
    with pytest.raises(UnsupportedOp, match="input_forget"):
        tg.load(model("LSTM", [X, W, R], 14, input_forget=1))
    with pytest.raises(ModelFormatError, match="hidden_size is 4"):
        tg.load(model("LSTM", [X, W, R], 14, hidden_size=4))


def test_open_steps_and_batch() -> None:
    graph = tg.trace(lambda x: ops.lstm(x, W, R), tg.Spec(("T", "N", 2)))
    assert [str(v.type) for _, v in graph.outputs] == ["f32[T,1,N,3]", "f32[1,N,3]", "f32[1,N,3]"]
    for x in (X, X[:1], X[:, :1]):
        close(list(tg.compile(graph)(x).values()), ops.lstm(x, W, R), 1e-6, "bound by the input")
    assert tg.analyze(graph.bind(T=4, N=3)).totals.macs == 4 * 3 * 12 * (2 + 3)


def test_half_precision_computes_in_single() -> None:
    halves = [a.astype(np.float16) for a in (X, W, R)]
    found = ops.lstm(*halves)
    assert {a.dtype for a in found} == {np.dtype(np.float16)}
    close(found, ops.lstm(*(a.astype(np.float32) for a in halves)), 1e-3, "float16")


def test_a_layer_learns_through_all_its_steps() -> None:
    w, r = W[:, :9].astype(np.float64), R[:, :9].astype(np.float64)
    x = X.astype(np.float64)

    def value(w: Any, r: Any) -> float:
        return float(ops.gru(x, w, r)[1].sum())

    _, gradients = tg.value_and_grad(lambda w, r: ops.sum(ops.gru(x, w, r)[1]), wrt=("w", "r"))(w, r)
    for i, given in enumerate((w, r)):
        direction = RNG.standard_normal(given.shape)
        ahead, behind = [w, r], [w, r]
        ahead[i], behind[i] = given + 1e-6 * direction, given - 1e-6 * direction
        slope = (value(*ahead) - value(*behind)) / 2e-6
        assert float((gradients["wr"[i]] * direction).sum()) == pytest.approx(slope, rel=1e-6)


def test_the_gradient_of_open_steps_is_refused() -> None:
    graph = tg.trace(lambda x: ops.rnn(x, W[:, :3], R[:, :3])[1], tg.Spec(("T", 3, 2)))
    with pytest.raises(ShapeError, match="bind T first"):
        tg.vjp(graph, wrt=["x"])


def test_zeros_instead_of_optional_inputs_change_nothing() -> None:
    zeros = np.zeros((1, 3, 3), np.float32)
    given = [np.zeros((1, 24), np.float32), zeros, zeros, np.zeros((1, 9), np.float32)]
    close(ops.lstm(X, W, R, *given), ops.lstm(X, W, R), 1e-6, "zeros")

"""train_step: one graph that owns its state, and a network that always shows the newest numbers."""

from __future__ import annotations

import copy
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.errors import DivergenceError, ShapeError, UsageError
from tinygraph.nn import functional as F

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 1, 8, 8)).astype(np.float32)
Y = RNG.integers(0, 3, 6)
INPUTS = [tg.Spec(("N", 1, 8, 8)), tg.Spec(("N",), np.int64)]


class Net(nn.Module):
    """Convolution, BatchNorm, dropout, linear."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(4, 3)
        self.reseed(0)

    def forward(self, x: Any) -> Any:
        return self.fc(self.drop(F.relu(self.bn(self.conv(x)))).mean(axis=(2, 3)))


def make(net: nn.Module | None = None, optimizer: Any = None, **options: Any) -> tuple[nn.Module, tg.TrainStep]:
    net = net or Net()
    return net, tg.train_step(net, optimizer or optim.SGD(0.1), F.cross_entropy, INPUTS, **options)


def same(a: dict[str, Array], b: dict[str, Array]) -> bool:
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


# ---- what a step does ----------------------------------------------------------------------------


def test_a_step_of_sgd_is_a_step_along_the_gradient() -> None:
    net = Net()
    before = net.state_dict()
    loss, grads = tg.value_and_grad(lambda m, x, y: F.cross_entropy(m(x), y))(net, X, Y)
    net, step = make(net)
    assert step(X, Y) == pytest.approx(float(loss), rel=1e-6)
    after = net.state_dict()
    for name, g in grads.items():
        np.testing.assert_allclose(after[name], before[name] - 0.1 * g, rtol=1e-5, atol=1e-7)
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in grads.values()))
    assert step.gradient_norm == pytest.approx(norm, rel=1e-5)


def test_statistics_of_batch_norm_move() -> None:
    net, step = make()
    y = np.float64(tg.compile(net.conv, tg.Spec((6, 1, 8, 8)))(X))
    step(X, Y)
    state = net.state_dict()
    np.testing.assert_allclose(state["bn.running_mean"], 0.1 * y.mean((0, 2, 3)), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(state["bn.running_var"], 0.9 + 0.1 * y.var((0, 2, 3), ddof=1), rtol=1e-5)
    assert state["bn.num_batches_tracked"] == 1


def test_one_module_called_twice_chains_its_statistics() -> None:
    bn = nn.BatchNorm2d(1, momentum=0.5)
    step = tg.train_step(bn, optim.SGD(0.1), lambda m, x: (m(x) + m(x + 10.0)).sum(), [tg.Spec((2, 1, 1, 1))])
    step(np.array([0.0, 2.0], np.float32).reshape(2, 1, 1, 1))
    state = bn.state_dict()
    assert state["running_mean"] == 0.5 * (0.5 * 1) + 0.5 * 11
    assert state["num_batches_tracked"] == 2


def test_training_learns() -> None:
    net, step = make(optimizer=optim.Adam(0.05))
    losses = [step(X, Y) for _ in range(100)]
    assert losses[-1] < 0.1 * losses[0]
    assert step.steps == 100
    assert (np.asarray(net(X)).argmax(1) == Y).mean() >= 5 / 6


def test_batches_of_several_sizes() -> None:
    net, step = make()
    assert [len(X[:n]) for n in (6, 2, 5) if step(X[:n], Y[:n]) > 0] == [6, 2, 5]
    assert step.graph.symbols == ("N",)
    assert net.state_dict()["bn.num_batches_tracked"] == 3


def test_the_graph_is_one_and_dumps() -> None:
    _, step = make()
    assert step.graph.mode == "training"
    assert {"loss", "conv.weight", "bn.running_mean"} <= {name for name, _ in step.graph.outputs}
    assert tg.analyze(step.graph).totals.macs > 0
    tg.verify(step.graph)


# ---- losses --------------------------------------------------------------------------------------


def test_both_forms_of_a_loss() -> None:
    results = []
    for loss in (F.cross_entropy, lambda m, x, y: F.cross_entropy(m(x), y)):
        net = Net()
        results.append((tg.train_step(net, optim.SGD(0.1), loss, INPUTS)(X, Y), net.state_dict()))
    assert results[0][0] == results[1][0]
    assert same(results[0][1], results[1][1])


def test_metrics() -> None:
    def loss(m: Any, x: Any, y: Any) -> Any:
        logits = m(x)
        return F.cross_entropy(logits, y), {"largest": logits.max(), "logits": logits}

    value, metrics = tg.train_step(Net(), optim.SGD(0.1), loss, INPUTS)(X, Y)
    assert isinstance(value, float)
    assert isinstance(metrics["largest"], float)
    assert metrics["logits"].shape == (6, 3)
    assert metrics["logits"].max() == np.float32(metrics["largest"])


@pytest.mark.parametrize("name", ["loss", "conv.weight", "optimizer.momentum_buffer.conv.weight"])
def test_a_metric_whose_name_is_taken(name: str) -> None:
    with pytest.raises(UsageError, match="taken"):
        tg.train_step(Net(), optim.SGD(), lambda m, x, y: (F.cross_entropy(m(x), y), {name: m(x)}), INPUTS)


def test_metrics_are_named_by_text() -> None:
    step = tg.train_step(Net(), optim.SGD(), lambda m, x, y: (F.cross_entropy(m(x), y), {0: y}), INPUTS)
    np.testing.assert_array_equal(step(X, Y)[1]["0"], Y)


def test_a_loss_that_is_no_scalar() -> None:
    with pytest.raises(UsageError, match="scalar"):
        tg.train_step(Net(), optim.SGD(), lambda m, x, y: m(x), INPUTS)


def test_an_input_may_have_the_name_of_a_run_time_input() -> None:
    net = nn.Linear(2, 1)
    step = tg.train_step(net, optim.SGD(0.5), lambda m, lr, step: (m(lr) * step).sum(), [tg.Spec((1, 2)), tg.Spec(())])
    step(np.ones((1, 2), np.float32), np.float32(3.0))
    assert step.steps == 1


# ---- run-time inputs -----------------------------------------------------------------------------


def test_learning_rate_of_one_step() -> None:
    net, step = make()
    before = net.state_dict()
    step(X, Y, lr=0.0)
    after = net.state_dict()
    assert after["fc.weight"].tobytes() == before["fc.weight"].tobytes()


def test_a_schedule_is_asked_for_each_update() -> None:
    asked: list[int] = []
    _, step = make(optimizer=optim.SGD(lambda n: asked.append(n) or 0.1))
    step(X, Y)
    step(X, Y)
    step(X, Y, lr=0.1)
    assert asked == [0, 1]


def test_weight_decay_of_one_step() -> None:
    net, step = make(optimizer=optim.SGD(0.1, weight_decay=0.1))
    other, other_step = make(optimizer=optim.SGD(0.1, weight_decay=0.2))
    step(X, Y, weight_decay=0.2)
    other_step(X, Y)
    assert same(net.state_dict(), other.state_dict())
    with pytest.raises(UsageError, match="weight_decay"):
        make()[1](X, Y, weight_decay=0.1)


def test_no_decay() -> None:
    net, step = make(optimizer=optim.SGD(0.1, weight_decay=1.0), no_decay=["*.bias", "bn.*"])
    plain, plain_step = make(optimizer=optim.SGD(0.1))
    step(X, Y)
    plain_step(X, Y)
    a, b = net.state_dict(), plain.state_dict()
    assert a["fc.bias"].tobytes() == b["fc.bias"].tobytes()
    assert a["bn.weight"].tobytes() == b["bn.weight"].tobytes()
    assert a["fc.weight"].tobytes() != b["fc.weight"].tobytes()


def test_frozen_parameters_stay_and_cost_nothing() -> None:
    net, step = make(frozen=["conv.*"])
    _, whole = make()
    before = net.state_dict()
    step(X, Y)
    after = net.state_dict()
    assert after["conv.weight"].tobytes() == before["conv.weight"].tobytes()
    assert after["fc.weight"].tobytes() != before["fc.weight"].tobytes()
    ops = [node.op.name for node in step.graph.nodes]
    assert "conv_weight_grad" not in ops
    assert "conv_weight_grad" in [node.op.name for node in whole.graph.nodes]


def test_patterns_that_fit_nothing() -> None:
    with pytest.raises(UsageError, match="no parameter fits 'cnv'"):
        make(frozen=["cnv"])
    with pytest.raises(UsageError, match="no parameter fits 'b'"):
        make(no_decay=["b"])
    with pytest.raises(UsageError, match="nothing to train"):
        make(frozen=["*"])


def test_a_frozen_parameter_takes_new_numbers_too() -> None:
    net, step = make(frozen=["conv.*"])
    step(X, Y)
    state = {**net.state_dict(), "conv.weight": np.zeros((4, 1, 3, 3), np.float32)}
    net.load_state_dict(state)
    other = Net()
    other.load_state_dict(state)
    assert step(X, Y) == tg.train_step(other, optim.SGD(0.1), F.cross_entropy, INPUTS)(X, Y)


def test_clipping() -> None:
    net = Net()
    before = net.state_dict()
    _, step = make(net, optim.SGD(1.0), clip_norm=0.01)
    step(X, Y)
    moved = {name: net.state_dict()[name] - before[name] for name, _ in net.named_parameters()}
    assert np.sqrt(sum((m**2).sum() for m in moved.values())) == pytest.approx(0.01, rel=1e-3)
    assert step.gradient_norm > 0.01
    net = Net()
    make(net, optim.SGD(1.0), clip_value=0.001)[1](X, Y)
    assert max(abs(net.state_dict()[name] - before[name]).max() for name in moved) == pytest.approx(0.001, rel=1e-3)


def test_accumulation_equals_the_large_batch() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    twin = copy.deepcopy(net)
    make(net, optim.SGD(0.1, momentum=0.9))[1](X, Y)
    _, step = make(twin, optim.SGD(0.1, momentum=0.9), accumulate=3)
    for i in (0, 2):
        step(X[i : i + 2], Y[i : i + 2])
    assert step.steps == 0
    step(X[4:], Y[4:])
    assert step.steps == 1
    for name, array in net.state_dict().items():
        np.testing.assert_allclose(twin.state_dict()[name], array, rtol=1e-5, atol=1e-7)
    for _ in range(3):
        step(X, Y)
    make(net)[1](X, Y)
    assert step.steps == 2


@pytest.mark.parametrize("accumulate", [0, 1.5, True])
def test_accumulate_must_be_a_count(accumulate: Any) -> None:
    with pytest.raises(UsageError, match="accumulate"):
        make(accumulate=accumulate)


# ---- dropout -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [-1, 1 << 63, 0.5])
def test_seed_must_be_a_whole_number(seed: Any) -> None:
    with pytest.raises(UsageError, match="seed="):
        make(seed=seed)


def test_dropout_is_drawn_anew_at_each_step_and_again_alike() -> None:
    def losses(seed: int) -> list[float]:
        _, step = make(Net(dropout=0.5), optim.SGD(0.0), seed=seed)
        return [step(X, Y) for _ in range(3)]

    first = losses(0)
    assert len(set(first)) == 3
    assert first == losses(0)
    assert first != losses(1)


# ---- state ---------------------------------------------------------------------------------------


def test_the_network_shows_the_newest_numbers() -> None:
    net, step = make()
    y = net(X)
    step(X, Y)
    shown = net.state_dict()
    assert not np.array_equal(net(X), y)
    step(X, Y)
    assert net.state_dict()["fc.weight"].tobytes() != shown["fc.weight"].tobytes()


def test_what_was_read_or_traced_stays_as_it_was() -> None:
    net, step = make()
    step(X, Y)
    state = net.state_dict()
    copies = {name: array.copy() for name, array in state.items()}
    graph = tg.trace(net, tg.Spec((6, 1, 8, 8)))
    y = tg.compile(graph)(X)
    session = tg.compile(graph)
    step(X, Y)
    assert same(state, copies)
    assert session(X).tobytes() == y.tobytes() == tg.compile(graph)(X).tobytes()
    with pytest.raises(ValueError, match="read-only"):
        state["fc.weight"][...] = 0


def test_numbers_set_from_outside_are_taken_over() -> None:
    net, step = make()
    start = net.state_dict()
    first = step(X, Y)
    net.load_state_dict(start)
    assert step(X, Y) == first


def test_two_steps_of_one_network_take_turns() -> None:
    net = Net()
    _, a = make(net, optim.SGD(0.1))
    _, b = make(net, optim.SGD(0.2))
    twin, step = make(Net(), optim.SGD(0.1))
    for lr in (0.1, 0.2, 0.1):
        step(X, Y, lr=lr)
    a(X, Y)
    b(X, Y)
    a(X, Y)
    assert same(net.state_dict(), twin.state_dict())


@pytest.mark.parametrize(
    "optimizer", [optim.SGD(0.1, momentum=0.9), optim.Adam(0.01), optim.AdaDelta(), optim.RMSprop(0.01, momentum=0.5)]
)
def test_resuming_is_bit_for_bit(optimizer: Any) -> None:
    net, step = make(Net(dropout=0.3), optimizer, accumulate=2)
    for _ in range(3):
        step(X, Y)
    saved = step.state_dict()
    rest = [step(X, Y) for _ in range(5)]
    other, resumed = make(Net(dropout=0.3), optimizer, accumulate=2, seed=5)
    resumed.load_state_dict(saved)
    assert [resumed(X, Y) for _ in range(5)] == rest
    assert same(step.state_dict(), resumed.state_dict())
    assert same(net.state_dict(), other.state_dict())


def test_state_of_another_step_is_refused() -> None:
    _, step = make()
    state = make(optimizer=optim.Adam())[1].state_dict()
    before = step.state_dict()
    with pytest.raises(UsageError, match="another training step"):
        step.load_state_dict(state)
    assert same(step.state_dict(), before)


@pytest.mark.parametrize("name", ["conv.weight", "optimizer.momentum_buffer.fc.bias", "optimizer.seed"])
def test_a_state_that_is_no_number_is_refused_as_a_whole(name: str) -> None:
    _, step = make(optimizer=optim.SGD(0.1, momentum=0.9))
    before = step.state_dict()
    state = {key: array + 1 for key, array in before.items()}
    state[name] = np.full(before[name].shape, "a", object)
    with pytest.raises(UsageError, match="numbers"):
        step.load_state_dict(state)
    assert same(step.state_dict(), before)


def test_tied_parameters_get_the_sum_of_their_gradients() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3, bias=False)
            self.b = nn.Linear(3, 3, bias=False)
            self.b.weight = self.a._variables["weight"]

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x)).sum()

    net = Tied()
    w = net.state_dict()["a.weight"].astype(np.float64)
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    tg.train_step(net, optim.SGD(1.0), lambda m, x: m(x), [tg.Spec((2, 3))])(x)
    s, ones = x.sum(0, dtype=np.float64), np.ones(3)
    slope = np.outer(w.T @ ones, s) + np.outer(ones, w @ s)
    np.testing.assert_allclose(net.state_dict()["a.weight"], w - slope, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(net.state_dict()["a.weight"], net.state_dict()["b.weight"])


# ---- failures ------------------------------------------------------------------------------------


def test_divergence_names_the_first_node_and_changes_nothing() -> None:
    class Bad(Net):
        def forward(self, x: Any) -> Any:
            return super().forward(x) / F.log(x.max())

    _, step = make(Bad())
    step(X, Y)
    before = step.state_dict()
    with pytest.raises(DivergenceError, match=r"step 2.*log.*test_training\.py"):
        step(-abs(X), Y)
    assert same(step.state_dict(), before)
    assert step(X, Y) > 0


def test_divergence_of_an_input_and_of_a_parameter() -> None:
    net, step = make()
    with pytest.raises(DivergenceError, match="input 'x' already holds 384 NaN"):
        step(X * np.nan, Y)
    state = net.state_dict()
    net.load_state_dict({**state, "fc.bias": np.full(3, np.inf, np.float32)})
    with pytest.raises(DivergenceError, match=r"parameter 'fc\.bias' already holds 3 infinite"):
        step(X, Y)


def test_a_gradient_that_is_not_finite_while_the_loss_is() -> None:
    step = tg.train_step(nn.Linear(1, 1), optim.SGD(), lambda m, x: F.sqrt(m(x) * 0.0).sum(), [tg.Spec((1, 1))])
    with pytest.raises(DivergenceError, match="sqrt"):
        step(np.ones((1, 1), np.float32))


def test_a_label_that_does_not_exist_changes_nothing() -> None:
    _, step = make()
    before = step.state_dict()
    with pytest.raises(UsageError, match="label 7"):
        step(X, Y + 7 - Y)
    assert same(step.state_dict(), before)


def test_arrays_that_do_not_fit() -> None:
    _, step = make()
    with pytest.raises(ShapeError):
        step(X[:, :, :4], Y)
    with pytest.raises(UsageError):
        step(X.astype(np.float64), Y)
    with pytest.raises(UsageError):
        step(X)


# ---- memory --------------------------------------------------------------------------------------


def test_planned_memory_is_what_a_step_takes() -> None:
    net = tg.models.create("resnet20_cifar")
    inputs = [tg.Spec((16, 3, 32, 32)), tg.Spec((16,), np.int64)]
    x, y = RNG.standard_normal((16, 3, 32, 32)).astype(np.float32), RNG.integers(0, 10, 16)
    step = tg.train_step(net, optim.SGD(0.1, momentum=0.9), F.cross_entropy, inputs)
    tracemalloc.start()
    try:
        step(x, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    planned = step.memory.activations + step.memory.workspace
    assert peak == pytest.approx(planned, rel=0.05)
    everything = sum(v.type.nbytes for node in step.graph.nodes for v in node.outputs if "view" not in node.op.traits)
    assert step.memory.activations < 0.5 * everything

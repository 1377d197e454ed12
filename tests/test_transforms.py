"""grad, value_and_grad, vjp, jvp, hvp, checkpoint: of functions, modules and graphs, nested and inside of traces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.errors import NotDifferentiable, ShapeError, TraceError, UsageError
from tinygraph.nn import functional as F

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def cube(x: Any) -> Any:
    return (x * x * x).sum()


def numeric(f: Any, x: Array, step: float = 1e-6) -> Array:
    """Central differences of a scalar function."""
    slopes = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[i] = step
        slopes[i] = (f(x + e) - f(x - e)) / (2 * step)
    return slopes


class Small(nn.Module):
    """A convolution, BatchNorm, dropout and a linear layer in float64."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.bn = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(3 * 4 * 4, 2)

    def forward(self, x: Any) -> Any:
        x = self.drop(F.relu(self.bn(self.conv(x))))
        return self.fc(F.flatten(x))


def loss_of(m: Any, x: Any, y: Any) -> Any:
    return F.cross_entropy(m(x), y)


X = RNG.standard_normal((5, 1, 6, 6)).astype(np.float32)
Y = np.array([0, 1, 1, 0, 1])


# ---- functions of arrays -------------------------------------------------------------------------


def test_grad_of_a_function() -> None:
    x = np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(tg.grad(cube)(x), 3 * x * x, rtol=1e-15)


def test_value_and_grad() -> None:
    x = np.array([1.0, -2.0, 3.0])
    value, slope = tg.value_and_grad(cube)(x)
    assert value == 20
    np.testing.assert_allclose(slope, 3 * x * x)


def test_gradients_of_gradients_to_any_order() -> None:
    x = np.array([0.5, -1.5])
    f = lambda x: F.exp(x * 2.0).sum()
    for order in range(1, 5):
        inner = f
        f = lambda x, inner=inner: tg.grad(inner)(x).sum()
        np.testing.assert_allclose(f(x), (2.0**order * np.exp(2 * x)).sum(), rtol=1e-13)


def test_wrt_names_positions_and_several() -> None:
    f = lambda x, y: (x * y).sum()
    x, y = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    np.testing.assert_array_equal(tg.grad(f)(x, y), y)
    np.testing.assert_array_equal(tg.grad(f, wrt="y")(x, y), x)
    np.testing.assert_array_equal(tg.grad(f, wrt=1)(x, y), x)
    both = tg.grad(f, wrt=["x", "y"])(x, y)
    assert list(both) == ["x", "y"]
    np.testing.assert_array_equal(both["y"], x)


def test_has_aux() -> None:
    f = lambda x: (cube(x), {"double": 2.0 * x, "more": (x.sum(),)})
    x = np.array([1.0, 2.0])
    (value, aux), slope = tg.value_and_grad(f, has_aux=True)(x)
    assert value == 9
    np.testing.assert_array_equal(aux["double"], [2, 4])
    assert aux["more"][0] == 3
    np.testing.assert_array_equal(slope, [3, 12])
    slope, aux = tg.grad(f, has_aux=True)(x)
    np.testing.assert_array_equal(slope, [3, 12])


def test_an_aux_that_is_missing() -> None:
    with pytest.raises(UsageError, match="has_aux"):
        tg.value_and_grad(cube, has_aux=True)(np.ones(2))


def test_vjp_keeps_the_form_of_the_value() -> None:
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    value, pull = tg.vjp(lambda x, y: {"product": x * y, "pair": (y, x.sum())}, x, y)
    np.testing.assert_array_equal(value["product"], x * y)
    a, b, c = RNG.standard_normal(2), RNG.standard_normal(2), 2.0
    dx, dy = pull({"product": a, "pair": (b, c)})
    np.testing.assert_allclose(dx, a * y + c)
    np.testing.assert_allclose(dy, a * x + b)
    with pytest.raises(UsageError, match="form"):
        pull((a, b, c))
    with pytest.raises(ShapeError, match="cotangent"):
        pull({"product": np.ones(3), "pair": (b, c)})


def test_a_cotangent_in_a_dict_of_another_order() -> None:
    x = RNG.standard_normal(3)
    value, pull = tg.vjp(lambda x: {"a": x * 2, "b": (x * 3, {"d": x * 5, "c": x * 7})}, x)
    one, none = np.ones(3), np.zeros(3)
    assert list(value) == ["a", "b"]
    np.testing.assert_array_equal(pull({"b": (none, {"c": none, "d": one}), "a": none}), [5, 5, 5])
    np.testing.assert_array_equal(pull({"b": [one, {"c": none, "d": none}], "a": none}), [3, 3, 3])


def test_jvp_is_the_transpose_of_vjp() -> None:
    f = lambda x: F.tanh(F.matmul(x, W)) * x.sum()
    W = RNG.standard_normal((4, 3))  # noqa: N806
    x, v = RNG.standard_normal((2, 4)), RNG.standard_normal((2, 4))
    y, jv = tg.jvp(f, (x,), v)
    u = RNG.standard_normal(y.shape)
    _, pull = tg.vjp(f, x)
    assert np.vdot(u, jv) == pytest.approx(np.vdot(pull(u), v), rel=1e-12)
    np.testing.assert_allclose(jv, (f_(W, x + 1e-6 * v) - f_(W, x - 1e-6 * v)) / 2e-6, rtol=1e-6)


def f_(w: Array, x: Array) -> Array:
    return np.asarray(np.tanh(x @ w) * x.sum())


def test_jvp_of_several_arguments_and_results() -> None:
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    value, tangent = tg.jvp(lambda x, y: (x * y, y.sum()), (x, y), (np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    np.testing.assert_array_equal(value[0], x * y)
    np.testing.assert_array_equal(tangent[0], [3, 2])
    assert tangent[1] == 1


def test_hvp_against_the_hessian() -> None:
    a = RNG.standard_normal((4, 4))
    f = lambda x: F.exp(F.matmul(x, a)).sum()
    x, v = RNG.standard_normal(4), RNG.standard_normal(4)
    hessian = a @ np.diag(np.exp(x @ a)) @ a.T
    np.testing.assert_allclose(tg.hvp(f, (x,), v), hessian @ v, rtol=1e-12)


def test_integers_among_the_results_do_not_change() -> None:
    x, v = RNG.standard_normal((2, 4, 3))

    def f(x: Any) -> Any:
        return {"y": x * x, "largest": ops.argmax(x, 1)}

    value, tangent = tg.jvp(f, (x,), v)
    np.testing.assert_array_equal(value["largest"], x.argmax(1))
    traced = tg.compile(lambda x, v: tg.jvp(f, (x,), v)[1], *[tg.Spec(("N", 3), np.float64)] * 2)(x, v)
    for found in (tangent, traced):
        np.testing.assert_allclose(found["y"], 2 * x * v)
        np.testing.assert_array_equal(found["largest"], np.zeros(4))
        assert found["largest"].dtype == value["largest"].dtype


def test_a_name_twice_in_wrt_is_there_once() -> None:
    x = RNG.standard_normal(3)
    np.testing.assert_allclose(tg.jvp(lambda x: x * x, (x,), {"x": x}, wrt=[0, "x"])[1], 2 * x * x)
    np.testing.assert_allclose(tg.grad(cube, wrt=["x", 0])(x)["x"], 3 * x * x)


def test_a_function_without_results() -> None:
    for transform in (tg.grad(lambda x: ()), lambda x: tg.vjp(lambda x: {}, x)):
        with pytest.raises(UsageError, match="gave no tensor"):
            transform(X)


def test_tangents_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="tangent of 'x'"):
        tg.jvp(cube, (np.ones(3),), np.ones(4))
    with pytest.raises(UsageError, match="2 tangents"):
        tg.hvp(lambda x, y: (x * y).sum(), (np.ones(2), np.ones(2)), (np.ones(2),))


def test_what_is_read_from_outside_may_change() -> None:
    target = np.array([1.0])
    slope = tg.grad(lambda x: ((x - target) ** 2).sum())
    assert slope(np.zeros(1)) == -2
    target = np.array([3.0])
    assert slope(np.zeros(1)) == -6


def test_integers_have_no_gradient() -> None:
    with pytest.raises(NotDifferentiable):
        tg.grad(lambda x: (x * x).sum())(np.array([1, 2]))


def test_a_value_that_is_no_scalar() -> None:
    with pytest.raises(UsageError, match="scalar"):
        tg.grad(lambda x: x * x)(np.ones(2))


def test_names_that_are_not_there() -> None:
    with pytest.raises(UsageError, match="no value named 'z'"):
        tg.grad(cube, wrt="z")(np.ones(2))
    with pytest.raises(UsageError, match="wrt=3"):
        tg.grad(cube, wrt=3)(np.ones(2))
    with pytest.raises(UsageError, match="None"):
        tg.grad(lambda x: None)(np.ones(2))


# ---- modules -------------------------------------------------------------------------------------


def test_gradients_of_a_module_by_parameter_name() -> None:
    net = Small()
    loss, grads = tg.value_and_grad(loss_of)(net, X, Y)
    assert set(grads) == {name for name, _ in net.named_parameters()}
    assert loss > 0
    state = net.state_dict()
    for name in ("conv.bias", "bn.weight", "fc.bias"):

        def at(array: Array, name: str = name) -> float:
            net.load_state_dict({**state, name: array})
            return float(tg.value_and_grad(loss_of)(net, X, Y)[0])

        np.testing.assert_allclose(grads[name], numeric(at, state[name], 1e-2), atol=2e-3)


def test_gradient_by_the_input_of_a_module() -> None:
    net = Small()
    by_x = tg.grad(loss_of, wrt="x")(net, X, Y)
    assert by_x.shape == X.shape
    assert tg.grad(loss_of, wrt=0)(net, X, Y).tobytes() == by_x.tobytes()


def test_mode_and_buffers() -> None:
    net = Small()
    before = net.state_dict()
    training = tg.value_and_grad(loss_of)(net, X, Y)[0]
    inference = tg.value_and_grad(loss_of, mode="inference")(net, X, Y)[0]
    assert training != inference
    assert inference == pytest.approx(float(F.cross_entropy(net(X), Y)), rel=1e-6)
    after = net.state_dict()
    assert all(after[name].tobytes() == array.tobytes() for name, array in before.items())


def test_dropout_is_a_matter_of_the_seed() -> None:
    net = Small(dropout=0.5)
    losses = [float(tg.value_and_grad(loss_of, seed=seed)(net, X, Y)[0]) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_parameters_of_a_module_that_is_the_function() -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    _, pull = tg.vjp(net, np.ones((4, 3), np.float32))
    grads = pull(np.ones((4, 2), np.float32))
    np.testing.assert_array_equal(grads["0.bias"], [4, 4])


def test_hvp_of_a_network() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x = RNG.standard_normal((6, 3)).astype(np.float32)
    f = lambda m, x: (m(x) ** 2).mean()
    direction = {name: RNG.standard_normal(p.shape).astype(np.float32) for name, p in net.named_parameters()}
    product = tg.hvp(f, (net, x), direction)
    state = net.state_dict()
    step = 1e-2
    slopes = []
    for sign in (1, -1):
        net.load_state_dict({name: array + sign * step * direction[name] for name, array in state.items()})
        slopes.append(tg.grad(f)(net, x))
    for name in state:
        np.testing.assert_allclose(product[name], (slopes[0][name] - slopes[1][name]) / (2 * step), atol=2e-2)


# ---- inside of traces ----------------------------------------------------------------------------


def test_a_gradient_inside_of_a_loss() -> None:
    """A gradient penalty: the loss holds the gradient by the input, and is differentiated by the weights."""
    net = nn.Sequential(nn.Linear(3, 1))
    x = RNG.standard_normal((5, 3)).astype(np.float32)

    def penalty(m: Any, x: Any) -> Any:
        slope = tg.grad(lambda x: m(x).sum(), wrt="x")(x)
        return (slope * slope).sum()

    value, grads = tg.value_and_grad(penalty)(net, x)
    weight = net.state_dict()["0.weight"]
    assert value == pytest.approx(5 * float((weight**2).sum()), rel=1e-6)
    np.testing.assert_allclose(grads["0.weight"], 10 * weight, rtol=1e-6)


def test_tensors_of_the_trace_around_are_constants() -> None:
    w = np.array([2.0, 3.0])
    f = lambda x: tg.grad(lambda z: (z * z * x).sum())(x).sum()  # 2 z x at z = x
    np.testing.assert_array_equal(tg.grad(f)(w), 4 * w)
    for g in (
        lambda x: tg.grad(lambda z: (x * z * z).sum())(x).sum(),  # the one of further out comes first
        lambda x: tg.grad(lambda y: tg.grad(lambda z: (x * y * z).sum())(x).sum())(x).sum() * x.sum() * 2,
        lambda x: tg.grad(lambda y: tg.grad(lambda z: (z * z * y).sum())(x).sum())(x).sum(),
    ):
        np.testing.assert_allclose(tg.grad(g)(w), numeric(g, w), rtol=1e-6)


def test_a_pullback_outlives_no_trace() -> None:
    pulls = []

    def f(x: Any) -> Any:
        value, pull = tg.vjp(lambda z: z * z, x)
        pulls.append(pull)
        return value.sum()

    tg.grad(f)(np.ones(3))
    with pytest.raises(TraceError, match="ended"):
        pulls[0](np.ones(3))


def test_a_traced_gradient_is_an_ordinary_graph() -> None:
    graph = tg.trace(tg.grad(cube), tg.Spec((3,), np.float64))
    np.testing.assert_array_equal(tg.compile(graph)(np.array([1.0, 2.0, 3.0])), [3, 12, 27])
    assert tg.parse(str(graph)) is not None


def test_jvp_and_hvp_inside_of_a_trace() -> None:
    graph = tg.trace(lambda x, v: (tg.jvp(cube, (x,), v)[1], tg.hvp(cube, (x,), v)), *[tg.Spec((2,), np.float64)] * 2)
    made = tg.compile(graph)(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    assert made["output.0"] == 15
    np.testing.assert_array_equal(made["output.1"], [6, 12])


# ---- graphs --------------------------------------------------------------------------------------


def test_transforms_of_graphs_are_graphs() -> None:
    graph = tg.trace(cube, tg.Spec((3,), np.float64))
    x, v = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, -1.0])
    np.testing.assert_array_equal(tg.compile(tg.grad(graph))(x), 3 * x * x)
    both = tg.compile(tg.value_and_grad(graph))(x)
    assert both["output"] == 36
    np.testing.assert_array_equal(both["grad.x"], 3 * x * x)
    assert tg.compile(tg.jvp(graph))(x, v)["tangent.output"] == (3 * x * x * v).sum()
    np.testing.assert_array_equal(tg.compile(tg.hvp(graph))(x, v)["hvp.x"], 6 * x * v)
    np.testing.assert_array_equal(tg.compile(tg.vjp(graph))(x, 2.0)["grad.x"], 6 * x * x)
    for made in (tg.grad(graph), tg.jvp(graph), tg.hvp(graph)):
        assert tg.analyze(tg.optimize(tg.verify(made))).totals.flops > 0


def test_a_jvp_graph_depends_on_no_cotangent() -> None:
    net = Small(dropout=0.5)
    graph = tg.trace(net, tg.Spec(("N", 1, 6, 6)), mode="training")
    made = tg.verify(tg.jvp(graph, wrt="x"))
    assert [v.name for v in made.inputs] == ["x", "random_key", "tangent.x"]


# ---- checkpoints ---------------------------------------------------------------------------------


class Deep(nn.Module):
    """Blocks of convolution, BatchNorm, ReLU and dropout, each of them computed again if asked for."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        blocks = [
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.25), nn.Sigmoid())
            for _ in range(4)
        ]
        self.blocks = nn.Sequential(*[tg.checkpoint(b) if again else b for b in blocks])
        self.reseed(0)

    def forward(self, x: Any) -> Any:
        return self.blocks(x).mean()


def _trained(again: bool) -> tuple[dict[str, Array], Any]:
    net = Deep(again)
    step = tg.train_step(net, tg.optim.SGD(0.1, momentum=0.9), lambda m, x: m(x), [tg.Spec((4, 8, 24, 24))])
    x = np.random.default_rng(1).standard_normal((4, 8, 24, 24)).astype(np.float32)
    losses = {"losses": np.array([step(x) for _ in range(3)])}
    return losses | net.state_dict(), step


def test_a_checkpoint_changes_no_number_and_takes_less_memory() -> None:
    plain, plain_step = _trained(again=False)
    again, again_step = _trained(again=True)
    assert plain.keys() == again.keys()
    for name in plain:
        assert plain[name].tobytes() == again[name].tobytes(), name
    assert again_step.memory.activations < 0.7 * plain_step.memory.activations
    assert tg.analyze(again_step.graph).totals.macs > tg.analyze(plain_step.graph).totals.macs


def test_checkpoints_nest_and_wrap_functions() -> None:
    inner = tg.checkpoint(lambda x: F.exp(F.sigmoid(x)))
    f = tg.checkpoint(lambda x: (inner(x) * F.exp(x)).sum())
    plain = lambda x: (F.exp(F.sigmoid(x)) * F.exp(x)).sum()
    x = RNG.standard_normal(5)
    assert f(x) == plain(x)
    assert tg.grad(f)(x).tobytes() == tg.grad(plain)(x).tobytes()
    np.testing.assert_allclose(tg.hvp(f, (x,), x), tg.hvp(plain, (x,), x), rtol=1e-12)


def test_derivatives_by_a_value_inside_of_a_checkpoint() -> None:
    def f(x: Any) -> Any:
        h = F.exp(x)
        return (h * h * h * x).sum()

    x, v = RNG.standard_normal((2, 5))
    h = np.exp(x)
    again = tg.checkpoint(f)
    np.testing.assert_allclose(tg.grad(again, "exp")(x), 3 * h * h * x)
    np.testing.assert_allclose(tg.jvp(again, (x,), v, wrt="exp")[1], (3 * h * h * x * v).sum())
    np.testing.assert_allclose(tg.hvp(again, (x,), v, wrt="exp"), 6 * h * x * v)


def test_the_dump_tells_of_checkpoints() -> None:
    graph = tg.trace(tg.checkpoint(nn.Sequential(nn.Linear(2, 2), nn.ReLU())), tg.Spec((1, 2)))
    assert "checkpoint function#1" in str(graph)
    assert str(tg.parse(str(graph), {v.name: graph.array(v) for v in graph.data})) == str(graph)

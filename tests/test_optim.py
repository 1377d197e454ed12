"""Optimizers, schedules and clipping against torch's stored numbers, and at their corners."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import optim
from tinygraph.ir import Array
from tinygraph.optim import Optimizer
from tinygraph.runtime.evaluate import evaluate

GOLDENS: dict[str, Any] = json.loads((Path(__file__).parent / "data/training_optimizers.json").read_text())
CURVATURE = np.array(GOLDENS["curvature"])
ALL = [optim.SGD, optim.Adam, optim.AdamW, optim.AdaGrad, optim.AdaDelta, optim.RMSprop]


class Walk:
    """One parameter on its way, moved by arrays alone."""

    def __init__(self, optimizer: Optimizer, p: Array) -> None:
        self.optimizer = optimizer
        self.p = p
        self.slots = {
            name: np.asarray(init(np.random.default_rng(0), p.shape), p.dtype) for name, init in optimizer.slots.items()
        }
        self.steps = 0

    def step(self, g: Array, decay: bool = True) -> Array:
        o = self.optimizer
        weight_decay = np.float64(o.weight_decay) if o.weight_decay else None
        scalars = o.scalars(np.float64(o.rate(self.steps)), weight_decay, np.float64(self.steps + 1))
        self.p, self.slots = o.update(self.p, g, self.slots, scalars, decay)
        self.steps += 1
        return self.p


def gradients(params: Mapping[str, Array]) -> dict[str, Array]:
    """Of Rosenbrock's valley in w and a bowl in m; see tools/goldens_optimizers.py."""
    w = params["w"]
    g = np.zeros_like(w)
    rise = w[1:] - w[:-1] ** 2
    g[1:] += 20 * rise
    g[:-1] -= 40 * rise * w[:-1] + 2 * (1 - w[:-1])
    return {"w": g, "m": CURVATURE.astype(w.dtype) * params["m"]}


@pytest.mark.parametrize(
    "case", GOLDENS["optimizers"], ids=lambda case: "-".join([case["optimizer"], *case["arguments"]])
)
def test_the_path_is_torchs(case: dict[str, Any]) -> None:
    optimizer = getattr(optim, case["optimizer"])(**case["arguments"])
    paths = {name: Walk(optimizer, np.array(start)) for name, start in GOLDENS["start"].items()}
    for step in range(1, 26):
        grads = gradients({name: path.p for name, path in paths.items()})
        for name, path in paths.items():
            path.step(grads[name])
            if str(step) in case["params"]:
                np.testing.assert_allclose(path.p, case["params"][str(step)][name], rtol=1e-12, atol=1e-14)
    for name, path in paths.items():
        assert path.slots.keys() == case["state"][name].keys() == optimizer.slots.keys()
        for slot, array in path.slots.items():
            np.testing.assert_allclose(array, case["state"][name][slot], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("optimizer", "want"),
    [
        (optim.SGD(0.1), 0.8),
        (optim.AdaGrad(0.1), 0.9),
        (optim.Adam(1e-3), 0.999),
        (optim.AdamW(1e-3, weight_decay=0.0), 0.999),
        (optim.AdaDelta(), 1 - math.sqrt(1e-6 / (0.1 * 4 + 1e-6)) * 2),
        (optim.RMSprop(1e-3), 1 - 1e-3 / math.sqrt(0.01)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_first_step_on_a_parabola(optimizer: Optimizer, want: float) -> None:
    # f = w², so the gradient at 1 is 2
    assert Walk(optimizer, np.array(1.0)).step(np.array(2.0)) == pytest.approx(want, rel=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "case", GOLDENS["optimizers"], ids=lambda case: "-".join([case["optimizer"], *case["arguments"]])
)
def test_tensors_and_arrays_get_the_same(case: dict[str, Any], dtype: Any) -> None:
    optimizer = getattr(optim, case["optimizer"])(**case["arguments"])
    p, g = np.array(GOLDENS["start"]["m"], dtype), np.array([[0.3, -1, 0], [2, -0.1, 0.7]], dtype)
    slots = {slot: np.full(p.shape, 0.25, dtype) for slot in optimizer.slots}
    scalars = [np.float64(0.1), np.float64(3)] + [np.float64(0.2)] * bool(optimizer.weight_decay)

    def step(p: Any, g: Any, lr: Any, t: Any, *rest: Any) -> Any:
        decay = rest[0] if optimizer.weight_decay else None
        held = dict(zip(optimizer.slots, rest[len(rest) - len(slots) :], strict=True))
        new, kept = optimizer.update(p, g, held, optimizer.scalars(lr, decay, t))
        return {"p": new, **kept}

    arrays = [p, g, *scalars, *slots.values()]
    graph = tg.trace(step, *(tg.Spec(a.shape, a.dtype) for a in arrays))
    assert {value.type.dtype for _, value in graph.outputs} == {np.dtype(dtype)}
    found = evaluate(graph, {value.name: a for value, a in zip(graph.inputs, arrays, strict=True)})
    for name, want in step(*arrays).items():
        assert want.dtype == dtype
        np.testing.assert_array_equal(found[name], want)


@pytest.mark.parametrize(
    ("optimizer", "passes"),
    [
        (optim.SGD(), 2),
        (optim.SGD(momentum=0.9), 4),
        (optim.SGD(momentum=0.9, nesterov=True), 6),
        (optim.Adam(), 12),
        (optim.AdamW(), 13),
        (optim.Adam(weight_decay=0.1, amsgrad=True), 15),
        (optim.AdaGrad(), 7),
        (optim.AdaDelta(), 15),
        (optim.RMSprop(), 9),
    ],
    ids=repr,
)
def test_passes_over_a_parameter_are_few(optimizer: Optimizer, passes: int) -> None:
    """Each elementwise op is a pass over memory: what can be done on scalars is done on scalars."""
    many, one = tg.Spec((5,), np.float32), tg.Spec((), np.float64)

    def step(p: Any, g: Any, lr: Any, decay: Any, t: Any, *slots: Any) -> Any:
        scalars = optimizer.scalars(lr, decay if optimizer.weight_decay else None, t)
        new, kept = optimizer.update(p, g, dict(zip(optimizer.slots, slots, strict=True)), scalars)
        return new, *kept.values()

    graph = tg.trace(step, many, many, one, one, one, *[many] * len(optimizer.slots))
    assert sum(node.outputs[0].type.shape == (5,) for node in graph.nodes) == passes


@pytest.mark.parametrize("kind", ALL)
def test_a_parameter_without_decay(kind: Any) -> None:
    p, g = np.array([2.0, -3.0]), np.array([0.5, 0.25])
    spared = Walk(kind(lr=0.1, weight_decay=0.5), p).step(g, decay=False)
    np.testing.assert_array_equal(spared, Walk(kind(lr=0.1, weight_decay=0.0), p).step(g))
    assert not np.array_equal(spared, Walk(kind(lr=0.1, weight_decay=0.5), p).step(g))


@pytest.mark.parametrize("kind", ALL)
def test_without_gradient_nothing_moves(kind: Any) -> None:
    path = Walk(kind(weight_decay=0.0), np.array([2.0, -3.0]))
    for _ in range(3):
        path.step(np.zeros(2))
    np.testing.assert_array_equal(path.p, [2.0, -3.0])


def test_the_first_update_is_not_dampened() -> None:
    path = Walk(optim.SGD(1.0, momentum=0.5, dampening=0.9), np.array(0.0))
    assert path.step(np.array(1.0)) == -1
    assert path.step(np.array(1.0)) == pytest.approx(-1 - (0.5 + 0.1))


def test_amsgrad_never_forgets_the_largest_square() -> None:
    path = Walk(optim.Adam(betas=(0.9, 0.5), amsgrad=True), np.array(0.0))
    for g in (4.0, 0.0, 0.0):
        path.step(np.array(g))
    assert path.slots["max_exp_avg_sq"] == 8
    assert path.slots["exp_avg_sq"] == 2


def test_centered_rmsprop_takes_no_root_of_less_than_nothing() -> None:
    # With a constant gradient the variance is 0, and rounding makes it negative now and then.
    g = np.linspace(0.1, 1, 1000, dtype=np.float32)
    path = Walk(optim.RMSprop(alpha=0.5, centered=True), np.zeros(1000, np.float32))
    variances = []
    for _ in range(60):
        path.step(g)
        variances.append(path.slots["square_avg"] - path.slots["grad_avg"] ** 2)
    assert np.min(variances) < 0
    assert np.isfinite(path.p).all()


def test_names_and_defaults_are_torchs() -> None:
    assert (optim.Adagrad, optim.Adadelta) == (optim.AdaGrad, optim.AdaDelta)
    assert optim.SGD(0.1, 0.9, 0, 1e-4, True) == optim.SGD(lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    assert optim.AdamW() == optim.AdamW(1e-3, (0.9, 0.999), 1e-8, 1e-2, False)
    assert optim.AdaGrad() == optim.AdaGrad(1e-2, 0, 0, 0, 1e-10)
    assert optim.AdaDelta() == optim.AdaDelta(1.0, 0.9, 1e-6, 0)
    assert optim.RMSprop() == optim.RMSprop(1e-2, 0.99, 1e-8, 0, 0, False)
    with pytest.raises(AttributeError):
        optim.SGD().lr = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (optim.SGD, {"lr": -0.1}, "SGD: lr is -0.1; give a number of at least 0"),
        (optim.SGD, {"lr": math.nan}, "lr is nan"),
        (optim.SGD, {"lr": math.inf}, "lr is inf"),
        (optim.SGD, {"lr": "0.1"}, "lr is '0.1'"),
        (optim.SGD, {"momentum": -1}, "momentum is -1"),
        (optim.SGD, {"dampening": -1}, "dampening is -1"),
        (optim.SGD, {"nesterov": True}, "nesterov with momentum 0 and dampening 0"),
        (optim.SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "no dampening"),
        (optim.Adam, {"betas": (0.9, 1.0)}, "Adam: a beta is 1.0; give a number of at least 0 and less than 1"),
        (optim.AdamW, {"betas": (-0.1, 0.9)}, "AdamW: a beta is -0.1"),
        (optim.Adam, {"betas": 0.9}, "betas is 0.9; give two numbers"),
        (optim.Adam, {"eps": -1e-8}, "eps is -1e-08"),
        (optim.AdamW, {"weight_decay": -1}, "weight_decay is -1"),
        (optim.AdaGrad, {"lr_decay": -1}, "lr_decay is -1"),
        (optim.AdaGrad, {"initial_accumulator_value": -1}, "initial_accumulator_value is -1"),
        (optim.AdaDelta, {"rho": 1.0}, "rho is 1.0"),
        (optim.RMSprop, {"alpha": 1.5}, "alpha is 1.5"),
        (optim.RMSprop, {"momentum": -0.5}, "momentum is -0.5"),
    ],
)
def test_arguments_out_of_range(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(tg.UsageError, match=message):
        kind(**arguments)


def test_a_schedule_stands_in_the_place_of_a_number() -> None:
    optimizer = optim.SGD(optim.step_decay(0.5, 2))
    assert [optimizer.rate(t) for t in range(5)] == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005])
    assert optim.SGD(0.25).rate(1000) == 0.25
    with pytest.raises(tg.UsageError, match="SGD: the learning rate of update 3 is -1"):
        optim.SGD(lambda updates: -1 if updates == 2 else 1).rate(2)


# ---- schedules ------------------------------------------------------------------------------

SCHEDULES: dict[str, Any] = {
    "StepLR": lambda step_size, gamma: optim.step_decay(0.5, step_size, gamma),
    "MultiStepLR": lambda milestones, gamma: optim.multi_step(0.5, milestones, gamma),
    "ExponentialLR": lambda gamma: optim.exponential(0.5, gamma),
    "PolynomialLR": lambda total_iters, power: optim.polynomial(0.5, total_iters, power),
    "CosineAnnealingLR": lambda T_max, eta_min: optim.cosine(0.5, T_max, eta_min),  # noqa: N803  # torch's names
}


@pytest.mark.parametrize("case", GOLDENS["schedules"], ids=lambda case: case["schedule"])
def test_rates_are_torchs(case: dict[str, Any]) -> None:
    schedule = SCHEDULES[case["schedule"]](**case["arguments"])
    np.testing.assert_allclose([schedule(t) for t in range(15)], case["rates"], rtol=1e-12, atol=1e-15)


def test_corners_of_schedules() -> None:
    assert [optim.constant(0.1)(t) for t in (0, 10**9)] == [0.1, 0.1]
    assert [optim.step_decay(1.0, 1, 0.5)(t) for t in range(3)] == [1, 0.5, 0.25]
    assert [optim.multi_step(1.0, [], 0.5)(t) for t in (0, 100)] == [1, 1]
    assert [optim.multi_step(1.0, [1, 3], 0.5)(t) for t in range(5)] == [1, 0.5, 0.5, 0.25, 0.25]
    cosine = optim.cosine(1.0, 10, 0.2)
    assert [cosine(t) for t in (0, 5, 10, 11, 20)] == pytest.approx([1, 0.6, 0.2, 0.2, 0.2])
    line = optim.polynomial(1.0, 4)
    assert [line(t) for t in range(6)] == [1, 0.75, 0.5, 0.25, 0, 0]


def test_warm_up_leads_into_the_other_schedule() -> None:
    schedule = optim.warm_up(optim.step_decay(1.0, 2, 0.5), 3)
    assert [schedule(t) for t in range(8)] == [0.25, 0.5, 0.75, 1, 1, 0.5, 0.5, 0.25]
    assert [optim.warm_up(2.0, 1)(t) for t in range(3)] == [1, 2, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.constant(-1),
        lambda: optim.step_decay(0.1, 0),
        lambda: optim.step_decay(0.1, 1.5),  # type: ignore[arg-type]
        lambda: optim.step_decay(0.1, 2, -1),
        lambda: optim.multi_step(0.1, [3, 2]),
        lambda: optim.multi_step(0.1, [0, 2]),
        lambda: optim.exponential(0.1, math.nan),
        lambda: optim.polynomial(0.1, 10, 0),
        lambda: optim.cosine(0.1, 10, -0.1),
        lambda: optim.cosine(math.inf, 10),
        lambda: optim.warm_up(0.1, 0),
        lambda: optim.warm_up(-0.1, 2),
    ],
)
def test_schedules_refuse(make: Any) -> None:
    with pytest.raises(tg.UsageError, match=r"give|rise"):
        make()


# ---- clipping -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDENS["clipped"], ids=lambda case: f"most{case['most']:g}")
def test_clipped_norms_are_torchs(case: dict[str, Any]) -> None:
    found = optim.clip_norm({name: np.array(g) for name, g in GOLDENS["start"].items()}, case["most"])
    for name, want in case["grads"].items():
        np.testing.assert_allclose(found[name], want, rtol=1e-14)
    norm = math.sqrt(sum((g**2).sum() for g in found.values()))
    assert norm == pytest.approx(min(case["most"], case["norm"]), rel=1e-6)


def test_clipping_keeps_dtypes_and_works_on_tensors() -> None:
    grads = {"a": np.array([3.0, -0.5], np.float32), "b": np.array([[4.0]])}

    def clip(a: Any, b: Any) -> Any:
        norms, values = optim.clip_norm({"a": a, "b": b}, 2.0), optim.clip_value({"a": a, "b": b}, 2.0)
        return {**norms, "va": values["a"], "vb": values["b"]}

    graph = tg.trace(clip, tg.Spec((2,), np.float32), tg.Spec((1, 1), np.float64))
    found, want = evaluate(graph, grads), clip(*grads.values())
    for name, dtype in {"a": np.float32, "b": np.float64, "va": np.float32, "vb": np.float64}.items():
        assert found[name].dtype == want[name].dtype == dtype
        np.testing.assert_array_equal(found[name], want[name])
    np.testing.assert_array_equal(found["va"], [2, -0.5])
    np.testing.assert_allclose(found["b"], 4 * 2 / (math.sqrt(25.25) + 1e-6))


def test_huge_gradients_are_clipped_too() -> None:
    found = optim.clip_norm({"a": np.array([3e30, -4e30], np.float32)}, 5.0)["a"]  # the squares are not float32
    np.testing.assert_allclose(found, [3, -4], rtol=1e-6)


def test_small_gradients_are_not_clipped() -> None:
    grads = {"a": np.array([0.3, -0.4])}
    np.testing.assert_array_equal(optim.clip_norm(grads, 1.0)["a"], grads["a"])
    np.testing.assert_array_equal(optim.clip_value(grads, 0.4)["a"], grads["a"])
    assert optim.clip_norm({}, 1.0) == optim.clip_value({}, 1.0) == {}


@pytest.mark.parametrize("most", [0, -1, math.nan, math.inf, "1"])
@pytest.mark.parametrize("clip", [optim.clip_norm, optim.clip_value])
def test_limits_are_above_nothing(clip: Any, most: Any) -> None:
    with pytest.raises(tg.UsageError, match="most is"):
        clip({"a": np.ones(2)}, most)

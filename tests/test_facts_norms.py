"""What lectures and papers state about normalization over batches, layers, instances and groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.ir import Array


def close(actual: Any, wanted: Any, digits: int = 7) -> None:
    """Equal in so many digits after the point."""
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=0.5001 * 10.0**-digits)


# ---- batch normalization -----------------------------------------------------------------------


def test_batch_normalization_of_four_numbers_in_training() -> None:
    x = np.array([[1.0], [2], [3], [4]])
    y, mean, var = ops.batch_norm_train(x, np.ones(1), np.zeros(1), eps=0.0)
    close(mean, [2.5])
    close(var, [1.25])
    close([y.mean(), y.var()], [0, 1], digits=15)


def test_the_right_scale_and_shift_undo_batch_normalization() -> None:
    x = np.random.default_rng(0).standard_normal((5, 3, 2, 2)) * 7 + 3
    axes = (0, 2, 3)
    y, *_ = ops.batch_norm_train(x, x.std(axes), x.mean(axes), eps=0.0)
    close(y, x, digits=12)


def test_training_moves_the_running_statistics_a_tenth_of_the_way() -> None:
    x = np.array([[1.0], [2], [3], [4]], np.float32)
    net = nn.Sequential({"bn": nn.BatchNorm1d(1)})
    trained = tg.compile(tg.trace(net, tg.Spec(x.shape), mode="training"))(x)
    close(trained["bn.running_mean"], [0.9 * 0 + 0.1 * 2.5], digits=6)
    close(trained["bn.running_var"], [0.9 * 1 + 0.1 * 5 / 3], digits=6)
    close(trained["output"][:, 0], [-1.341635, -0.447212, 0.447212, 1.341635], digits=5)
    net.load_state_dict({**net.state_dict(), **{name: trained[name] for name in trained if name.startswith("bn.")}})
    tested = np.asarray(net(x))
    close(tested, (x - 0.25) / np.sqrt(1.0666667 + 1e-5), digits=5)
    assert np.abs(tested - trained["output"]).min() > 0.5


NUMBERS = {"weight": 2.0, "bias": 1.0}, {"weight": 3.0, "bias": -1.0, "running_mean": 4.0, "running_var": 9.0}


@pytest.mark.parametrize("layer", [nn.Conv2d(1, 1, 1), nn.Linear(1, 1)], ids=["conv", "linear"])
def test_batch_normalization_folds_into_the_layer_before_it_at_no_cost(layer: nn.Module) -> None:
    spatial = (5, 5) if isinstance(layer, nn.Conv2d) else ()
    norm = nn.BatchNorm2d(1, eps=0.0) if spatial else nn.BatchNorm1d(1, eps=0.0)
    for module, numbers in zip((layer, norm), NUMBERS, strict=True):
        shapes = module.state_dict()
        module.load_state_dict(
            {**shapes, **{name: np.full(shapes[name].shape, number) for name, number in numbers.items()}}
        )
    graph = tg.trace(nn.Sequential(layer, norm), tg.Spec((2, 1, *spatial)))
    folded = tg.optimize(graph)
    assert [node.op.name for node in folded.nodes] == [graph.nodes[0].op.name]
    weight, bias = (folded.array(v).item() for v in folded.nodes[0].inputs[1:])
    assert (weight, bias) == (2 * 3 / 3, (1 - 4) * 3 / 3 - 1) == (2, -4)
    assert tg.analyze(folded).totals.macs == tg.analyze(graph).totals.macs == 2 * max(1, 5 * 5 * bool(spatial))
    x = np.random.default_rng(0).standard_normal((2, 1, *spatial)).astype(np.float32)
    close(tg.compile(folded)(x), tg.compile(graph, passes="none")(x), digits=5)


# ---- which numbers share a mean and a variance -------------------------------------------------

X = np.arange(32.0).reshape(2, 4, 2, 2)
GAMMA, BETA = np.array([1.0, 2, 3, 4]), np.array([0.0, -1, 1, 5])


def steps(first: float, step: float, *shape: int) -> Array:
    """First, first + step, and so on, in that shape."""
    return (first + step * np.arange(np.prod(shape))).reshape(shape)


# name, the shape in which a set of numbers stands along axes of size 1 of the mean, the mean, the variance
SETS = [
    ("batch", X.shape, steps(9.5, 4, 1, 4, 1, 1), 65.25),
    ("layer", X.shape, steps(7.5, 16, 2, 1, 1, 1), 21.25),
    ("instance", X.shape, steps(1.5, 4, 2, 4, 1, 1), 1.25),
    ("group", (2, 2, 2, 2, 2), steps(3.5, 8, 2, 2, 1, 1, 1), 5.25),
]


def normalized(kind: str, x: Any, gamma: Any, beta: Any) -> Any:
    """One of the four, with a scale and a shift for each channel."""
    if kind == "batch":
        return ops.batch_norm_train(x, gamma, beta)[0]
    if kind == "layer":
        return ops.layer_norm(x, np.ones(x.shape[1:]), np.zeros(x.shape[1:])) * channels(gamma) + channels(beta)
    return ops.instance_norm(x, gamma, beta) if kind == "instance" else ops.group_norm(x, 2, gamma, beta)


def channels(vector: Array) -> Array:
    """[C] as [1, C, 1, 1]."""
    return vector.reshape(1, -1, 1, 1)


@pytest.mark.parametrize(("kind", "shape", "mean", "var"), SETS, ids=[case[0] for case in SETS])
def test_the_means_and_variances_of_the_first_numbers(
    kind: str, shape: tuple[int, ...], mean: Array, var: float
) -> None:
    wanted = ((X.reshape(shape) - mean) / np.sqrt(var + 1e-5)).reshape(X.shape) * channels(GAMMA) + channels(BETA)
    close(normalized(kind, X, GAMMA, BETA), wanted, digits=10)


def test_batch_normalization_gives_its_means_and_variances() -> None:
    _, mean, var = ops.batch_norm_train(X, GAMMA, BETA)
    close(mean, [9.5, 13.5, 17.5, 21.5])
    close(var, 4 * [65.25])


def test_batch_normalization_behind_a_linear_layer_has_a_mean_for_each_feature() -> None:
    x = np.arange(12.0).reshape(4, 3)
    y, mean, var = ops.batch_norm_train(x, np.ones(3), np.zeros(3), eps=0.0)
    close(mean, [4.5, 5.5, 6.5])
    close(var, 3 * [11.25])
    close(y, (x - mean) / np.sqrt(11.25), digits=12)


def test_one_group_is_a_layer_and_a_group_for_each_channel_an_instance() -> None:
    close(ops.group_norm(X, 1, GAMMA, BETA), normalized("layer", X, GAMMA, BETA), digits=12)
    close(ops.group_norm(X, 4, GAMMA, BETA), normalized("instance", X, GAMMA, BETA), digits=12)


NETS = [nn.LayerNorm((4, 2, 2)), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.BatchNorm2d(4)]


@pytest.mark.parametrize("net", NETS, ids=[type(net).__name__ for net in NETS])
def test_only_batch_normalization_differs_in_training_and_depends_on_the_other_samples(net: nn.Module) -> None:
    x = X.astype(np.float32)
    answers = []
    for samples in (x, x[:1]):
        for mode in ("training", "inference"):
            made = tg.compile(tg.trace(net, tg.Spec(samples.shape), mode=mode))(samples)  # type: ignore[arg-type]
            answers.append(np.asarray(made["output"] if isinstance(made, dict) else made)[0])
    training, inference, alone, _ = answers
    same = not isinstance(net, nn.BatchNorm2d)
    assert np.allclose(training, inference, atol=1e-6) == same
    assert np.allclose(training, alone, atol=1e-6) == same


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (nn.BatchNorm1d(3), (3,)),
        (nn.BatchNorm2d(3), (3,)),
        (nn.InstanceNorm2d(3, affine=True), (3,)),
        (nn.GroupNorm(3, 6), (6,)),
        (nn.LayerNorm(5), (5,)),
    ],
    ids=repr,
)
def test_scale_and_shift_belong_to_channels_or_features_and_not_to_samples(
    net: nn.Module, shape: tuple[int, ...]
) -> None:
    assert {name: variable.shape for name, variable in net.named_parameters()} == {"weight": shape, "bias": shape}

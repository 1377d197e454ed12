"""Layer, group and instance normalization: PyTorch's numbers, what they have in common, open batches, layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.ops.checks import execute
from tinygraph import nn, ops
from tinygraph.autodiff import vjp_graph

RNG = np.random.default_rng(0)

EIGHT = np.array([1.0, 2, 4, 8, 3, 1, 0, -2])
WEIGHT, SHIFT = np.array([1.0, 2, -1, 0.5]), np.array([0.0, 1, 0, -1])
COTANGENT = np.array([1.0, -1, 2, 0, 0, 1, 1, 3])

# PyTorch 2.13: results and gradients by x, weight and bias
TORCH = [
    (
        lambda x, w, b: ops.layer_norm(x, w, b),
        (2, 4),
        4,
        [
            [-1.0257546, -0.3055058, -0.0932504, -0.2073715, 1.3867484, 1.5546993, 0.2773497, -1.6933742],
            [0.6616725, -0.460576, -0.467063, 0.2659664, -0.1066737, 0.8107143, -0.9493891, 0.2453485],
            [-1.0257546, 0.9301026, -0.0908488, -4.1602451],
            [1.0, 0.0, 3.0, 3.0],
        ],
    ),
    (
        lambda x, w, b: ops.group_norm(x, 2, w, b),
        (1, 4, 2),
        4,
        [
            [-1.0257546, -0.6527529, 1.1865008, 4.1705141, -1.3867484, -0.2773497, -1.1386748, -1.6933742],
            [0.0, -0.7460033, 1.119005, -0.3730017, 0.341352, -0.5973688, 0.0426695, 0.2133474],
            [-0.3730017, 0.1865008, 0.2773497, -4.4375947],
            [0.0, 2.0, 1.0, 4.0],
        ],
    ),
    (
        lambda x, w, b: ops.instance_norm(x, w, b),
        (1, 2, 4),
        2,
        [
            [-1.0257546, -0.6527529, 0.0932504, 1.5852571, 3.7734967, 1.5546993, 0.4453007, -1.7734967],
            [0.1686616, -0.5708547, 0.5611242, -0.1589312, 0.213341, 0.0426682, -0.5973675, 0.3413584],
            [-0.1865008, -4.1602451],
            [2.0, 5.0],
        ],
    ),
]


@pytest.mark.parametrize(("function", "shape", "channels", "wanted"), TORCH, ids=["layer", "group", "instance"])
def test_numbers_of_torch(function: Any, shape: tuple[int, ...], channels: int, wanted: list[list[float]]) -> None:
    arrays = [EIGHT.reshape(shape), WEIGHT[:channels], SHIFT[:channels]]
    graph = tg.trace(function, *(tg.Spec(a.shape, np.float64, f"x{i}") for i, a in enumerate(arrays)))
    results = execute(vjp_graph(graph, ["x0", "x1", "x2"]), [*arrays, COTANGENT.reshape(shape)])
    for found, numbers in zip(results, wanted, strict=True):
        np.testing.assert_allclose(found.ravel(), numbers, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(4, 6), (2, 6, 3), (2, 6, 3, 2)])
def test_one_group_is_layer_normalization_and_as_many_as_channels_are_instance_normalization(
    shape: tuple[int, ...],
) -> None:
    x, gamma, beta = RNG.standard_normal(shape), np.ones(6), np.zeros(6)
    spread = np.ones(shape[1:]), np.zeros(shape[1:])
    np.testing.assert_allclose(ops.group_norm(x, 1, gamma, beta), ops.layer_norm(x, *spread), rtol=1e-12)
    if len(shape) > 2:
        each = np.stack([ops.batch_norm_train(x[i : i + 1], gamma, beta)[0][0] for i in range(len(x))])
        np.testing.assert_allclose(ops.group_norm(x, 6, gamma, beta), each, rtol=1e-12)
        np.testing.assert_array_equal(ops.instance_norm(x, gamma, beta), ops.group_norm(x, 6, gamma, beta))


def test_each_set_of_numbers_gets_mean_0_and_variance_1() -> None:
    x = 50 + 7 * RNG.standard_normal((3, 6, 5, 4)).astype(np.float32)
    for net, axes, sets in (
        (nn.LayerNorm((6, 5, 4)), (1,), (3, -1)),
        (nn.LayerNorm((5, 4)), (2,), (3, 6, -1)),
        (nn.GroupNorm(2, 6), (2,), (3, 2, -1)),
        (nn.InstanceNorm2d(6), (2,), (3, 6, -1)),
    ):
        for mode in ("inference", "training"):
            y = np.asarray(tg.compile(tg.trace(net, tg.Spec(x.shape), mode=mode))(x)).reshape(sets)
            np.testing.assert_allclose(y.mean(axes), 0, atol=1e-5)
            np.testing.assert_allclose(y.var(axes), 1, atol=1e-4)


@pytest.mark.parametrize("net", [nn.LayerNorm((4, 3)), nn.GroupNorm(2, 4), nn.InstanceNorm1d(4, affine=True)], ids=repr)
def test_an_open_batch_has_the_gradients_of_a_known_one(net: nn.Module) -> None:
    x, g = RNG.standard_normal((2, 5, 4, 3)).astype(np.float32)
    opened, known = (tg.trace(net, tg.Spec((n, 4, 3)), mode="training") for n in ("N", 5))
    names = ["x", "weight", "bias"]
    found, wanted = (tg.compile(vjp_graph(graph, names))(x, g) for graph in (opened, known))
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6, err_msg=name)


def test_instance_normalization_may_track_statistics() -> None:
    net = nn.InstanceNorm1d(2, track_running_stats=True)
    x = np.array([[[1, 3], [0, 4]], [[5, 9], [2, 2]]], np.float32)
    trained = tg.compile(tg.trace(net, tg.Spec(("N", 2, 2)), mode="training"))(x)
    np.testing.assert_allclose(trained["running_mean"], [0.1 * (2 + 7) / 2, 0.1 * (2 + 2) / 2], rtol=1e-6)
    np.testing.assert_allclose(trained["running_var"], [0.9 + 0.1 * (2 + 8) / 2, 0.9 + 0.1 * (8 + 0) / 2], rtol=1e-6)
    assert trained["num_batches_tracked"] == 1
    np.testing.assert_allclose(trained["output"][0, 0], [-1, 1], rtol=1e-4)
    net.load_state_dict({name: array for name, array in trained.items() if name != "output"})
    tested = np.asarray(net(x))
    np.testing.assert_allclose(tested[0, 0], (x[0, 0] - 0.45) / np.sqrt(1.4 + 1e-5), rtol=1e-5)
    assert not nn.InstanceNorm1d(2).state_dict()


def test_groups_must_divide_the_channels_of_the_layer() -> None:
    with pytest.raises(tg.UsageError, match="num_groups=4 must divide num_channels=6"):
        nn.GroupNorm(4, 6)

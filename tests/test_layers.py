"""nn layers: what they compute, how they start, what they are called."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.nn import functional as F
from tinygraph.nn.init import ONES, Constant
from tinygraph.runtime.evaluate import evaluate

RNG = np.random.default_rng(0)


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def weights(layer: nn.Module) -> dict[str, Any]:
    return {name: array for name, array in layer.state_dict().items() if name in ("weight", "bias")}


# a layer, an input, and the function that it stands for
CASES: list[tuple[nn.Module, np.ndarray, Any]] = [
    (nn.Conv1d(4, 6, 3, 2, 1), real(2, 4, 9), lambda x, w: F.conv1d(x, **w, stride=2, padding=1)),
    (
        nn.Conv2d(4, 6, (3, 2), 2, (1, 0), 1, 2, bias=False),
        real(2, 4, 7, 6),
        lambda x, w: F.conv2d(x, **w, stride=2, padding=(1, 0), groups=2),
    ),
    (nn.Conv3d(2, 3, 2, dilation=2), real(1, 2, 4, 5, 6), lambda x, w: F.conv3d(x, **w, dilation=2)),
    (nn.ConvTranspose1d(4, 3, 3, 2), real(2, 4, 5), lambda x, w: F.conv_transpose1d(x, **w, stride=2)),
    (
        nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, True, 2),
        real(2, 4, 5, 3),
        lambda x, w: F.conv_transpose2d(x, **w, stride=2, padding=1, output_padding=1, groups=2, dilation=2),
    ),
    (nn.ConvTranspose3d(2, 3, 2, bias=False), real(1, 2, 2, 3, 2), lambda x, w: F.conv_transpose3d(x, **w)),
    (nn.Linear(5, 3), real(2, 4, 5), lambda x, w: F.linear(x, **w)),
    (nn.Linear(5, 3, bias=False), real(2, 5), lambda x, w: F.linear(x, **w)),
    (nn.MaxPool1d(3, 2, 1), real(1, 2, 7), lambda x, w: F.max_pool1d(x, 3, 2, 1)),
    (nn.MaxPool2d(3, 2, 1, 2, True), real(1, 2, 9, 8), lambda x, w: F.max_pool2d(x, 3, 2, 1, 2, True)),
    (nn.MaxPool3d(2), real(1, 2, 4, 4, 4), lambda x, w: F.max_pool3d(x, 2)),
    (nn.MinPool2d(2, 1), real(1, 2, 4, 4), lambda x, w: F.min_pool2d(x, 2, 1)),
    (nn.AvgPool1d(2), real(1, 2, 4), lambda x, w: F.avg_pool1d(x, 2)),
    (nn.AvgPool2d(3, 2, 1, True, False), real(1, 2, 6, 6), lambda x, w: F.avg_pool2d(x, 3, 2, 1, True, False)),
    (nn.AvgPool3d(2, 1), real(1, 2, 3, 3, 3), lambda x, w: F.avg_pool3d(x, 2, 1)),
    (nn.AdaptiveAvgPool2d((2, 3)), real(1, 2, 5, 7), lambda x, w: F.adaptive_avg_pool2d(x, (2, 3))),
    (nn.LocalResponseNorm(3, 0.1, 0.5, 2.0), real(1, 5, 2), lambda x, w: F.local_response_norm(x, 3, 0.1, 0.5, 2.0)),
    (nn.ReLU(), real(3, 4), lambda x, w: F.relu(x)),
    (nn.LeakyReLU(0.2), real(3, 4), lambda x, w: F.leaky_relu(x, 0.2)),
    (nn.PReLU(4, 0.3), real(3, 4), lambda x, w: F.prelu(x, np.full(4, 0.3, np.float32))),
    (nn.ELU(1.5), real(3, 4), lambda x, w: F.elu(x, 1.5)),
    (nn.Sigmoid(), real(3, 4), lambda x, w: F.sigmoid(x)),
    (nn.Tanh(), real(3, 4), lambda x, w: F.tanh(x)),
    (nn.Softmax(1), real(3, 4, 2), lambda x, w: F.softmax(x, 1)),
    (nn.LogSoftmax(1), real(3, 4, 2), lambda x, w: F.log_softmax(x, 1)),
    (nn.Maxout(2), real(3, 4), lambda x, w: F.maxout(x, 2)),
    (nn.Flatten(), real(2, 3, 4), lambda x, w: x.reshape(2, 12)),
    (nn.Flatten(0, 1), real(2, 3, 4), lambda x, w: x.reshape(6, 4)),
    (nn.Identity(), real(2, 3), lambda x, w: x),
    (nn.Dropout(), real(2, 3), lambda x, w: x),
    (nn.BatchNorm1d(3), real(2, 3), lambda x, w: x / np.sqrt(np.float32(1 + 1e-5))),
    (nn.BatchNorm1d(3), real(2, 3, 4), lambda x, w: x / np.sqrt(np.float32(1 + 1e-5))),
    (nn.BatchNorm2d(3, 1e-3), real(2, 3, 4, 5), lambda x, w: x / np.sqrt(np.float32(1 + 1e-3))),
    (nn.LayerNorm(4, 1e-3), real(2, 3, 4), lambda x, w: F.layer_norm(x, (4,), eps=1e-3)),
    (nn.LayerNorm((3, 4), bias=False), real(2, 3, 4), lambda x, w: F.layer_norm(x, (3, 4), **w)),
    (nn.GroupNorm(2, 4, 1e-3), real(2, 4, 3), lambda x, w: F.group_norm(x, 2, eps=1e-3, **w)),
    (nn.GroupNorm(1, 3, affine=False), real(2, 3), lambda x, w: F.group_norm(x, 1)),
    (nn.InstanceNorm1d(3, affine=True), real(2, 3, 4), lambda x, w: F.instance_norm(x, **w)),
    (nn.InstanceNorm2d(3, 1e-3), real(2, 3, 4, 5), lambda x, w: F.instance_norm(x, eps=1e-3)),
    (nn.InstanceNorm3d(3), real(2, 3, 2, 2, 2), lambda x, w: F.instance_norm(x)),
    (nn.InstanceNorm1d(3, track_running_stats=True), real(2, 3, 4), lambda x, w: x / np.sqrt(np.float32(1 + 1e-5))),
    (nn.BatchNorm3d(3, affine=False), real(2, 3, 2, 2, 2), lambda x, w: x / np.sqrt(np.float32(1 + 1e-5))),
]


@pytest.mark.parametrize(("layer", "x", "function"), CASES, ids=[repr(case[0]) for case in CASES])
def test_a_layer_is_its_function_with_its_own_weights(layer: nn.Module, x: np.ndarray, function: Any) -> None:
    graph = tg.trace(layer, tg.Spec(x.shape))
    answer = evaluate(graph, {"x": x})["output"]
    np.testing.assert_allclose(answer, function(x, weights(layer)), rtol=1e-6, atol=1e-7)


def test_the_node_of_a_layer_has_the_name_of_the_layer() -> None:
    net = nn.Sequential({"conv": nn.Conv2d(1, 2, 3), "act": nn.ReLU(), "drop": nn.Dropout(), "out": nn.Flatten()})
    assert [node.name for node in tg.trace(net, tg.Spec((1, 1, 4, 4))).nodes] == ["conv", "act", "out"]


def test_every_layer_has_a_case() -> None:
    def below(cls: type) -> set[type]:
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__()))

    public = {cls for cls in below(nn.Layer) if getattr(nn, cls.__name__, None) is cls} - {nn.Layer}
    assert public == {type(layer) for layer, _, _ in CASES}


# ---- how layers start --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Linear(100, 400), 100),
        (nn.Conv2d(40, 100, 3), 40 * 9),
        (nn.Conv2d(40, 100, 3, groups=4), 10 * 9),
        (nn.ConvTranspose2d(100, 40, 3), 40 * 9),  # PyTorch takes the weight's second axis for the inputs
    ],
)
def test_weights_and_biases_start_uniform_within_one_over_the_root_of_fan_in(layer: nn.Module, fan_in: int) -> None:
    bound = 1 / math.sqrt(fan_in)
    weight, bias = layer.state_dict()["weight"], layer.state_dict()["bias"]
    assert abs(weight).max() == pytest.approx(bound, rel=0.01)
    assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert 0.8 * bound < abs(bias).max() <= bound


def test_other_initializers() -> None:
    layer = nn.Conv2d(2, 3, 1, weight_init=Constant(5.0), bias_init=ONES)
    assert set(layer.state_dict()["weight"].ravel()) == {5.0}
    assert set(layer.state_dict()["bias"]) == {1.0}


def test_batch_norm_starts_as_the_identity_with_an_int64_counter() -> None:
    state = nn.BatchNorm2d(2).state_dict()
    assert {name: array.tolist() for name, array in state.items()} == {
        "weight": [1, 1],
        "bias": [0, 0],
        "running_mean": [0, 0],
        "running_var": [1, 1],
        "num_batches_tracked": 0,
    }
    assert state["num_batches_tracked"].dtype == np.int64
    assert list(nn.BatchNorm2d(2, affine=False).state_dict()) == list(state)[2:]


# ---- batch normalization in training -----------------------------------------------------------


def test_running_statistics_move_by_a_tenth_with_the_unbiased_variance() -> None:
    net = nn.Sequential(nn.BatchNorm1d(1))
    x = np.array([[1], [2], [3], [4]], np.float32)
    out = evaluate(tg.trace(net, tg.Spec((4, 1)), mode="training"), {"x": x})
    np.testing.assert_allclose(out["output"], (x - 2.5) / np.sqrt(1.25 + 1e-5), rtol=1e-5)
    np.testing.assert_allclose(out["0.running_mean"], [0.9 * 0 + 0.1 * 2.5], rtol=1e-6)
    np.testing.assert_allclose(out["0.running_var"], [0.9 * 1 + 0.1 * 1.25 * 4 / 3], rtol=1e-6)
    assert out["0.num_batches_tracked"] == 1


def test_called_twice_in_one_step_the_statistics_move_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm1d(1, momentum=0.5)

        def forward(self, x: Any) -> Any:
            return self.bn(x) + self.bn(x + 8)

    x = np.array([[0], [4]], np.float32)
    out = evaluate(tg.trace(Twice(), tg.Spec((2, 1)), mode="training"), {"x": x})
    np.testing.assert_allclose(out["bn.running_mean"], [0.5 * (0.5 * 2) + 0.5 * 10])
    np.testing.assert_allclose(out["bn.running_var"], [0.5 * (0.5 + 0.5 * 8) + 0.5 * 8])
    assert out["bn.num_batches_tracked"] == 2


def test_inference_uses_the_running_statistics() -> None:
    bn = nn.BatchNorm2d(1, eps=0.0)
    state = {"running_mean": [3.0], "running_var": [4.0], "weight": [10.0], "bias": [1.0]}
    bn.load_state_dict({name: np.array(numbers, np.float32) for name, numbers in state.items()})
    x = np.full((1, 1, 1, 1), 7.0, np.float32)
    graph = tg.trace(bn, tg.Spec(x.shape))
    assert evaluate(graph, {"x": x})["output"].item() == (7 - 3) / 2 * 10 + 1
    assert [name for name, _ in graph.outputs] == ["output"]


def test_a_batch_of_one_trains_where_maps_have_several_values() -> None:
    graph = tg.trace(nn.BatchNorm2d(1), tg.Spec((1, 1, 2, 1)), mode="training")
    out = evaluate(graph, {"x": np.array([[[[1], [3]]]], np.float32)})
    np.testing.assert_allclose(out["output"].ravel(), [-1, 1], rtol=1e-4)
    with pytest.raises(tg.ShapeError, match="more than one value per channel"):
        tg.trace(nn.BatchNorm1d(1), tg.Spec((1, 1)), mode="training")


def test_batch_norm_checks_the_number_of_dimensions() -> None:
    with pytest.raises(tg.ShapeError, match=r"BatchNorm2d wants 4 dimensions, got f32\[2,3\]"):
        tg.trace(nn.BatchNorm2d(3), tg.Spec((2, 3)))
    with pytest.raises(tg.ShapeError, match="BatchNorm1d wants 2 or 3"):
        tg.trace(nn.BatchNorm1d(3), tg.Spec((2, 3, 4, 4)))


# ---- dropout, wrong arguments, containers ------------------------------------------------------


def test_dropout_drops_in_training_only() -> None:
    net = nn.Sequential(nn.Dropout(0.5))
    x = np.ones(1000, np.float32)
    graph = tg.trace(net, tg.Spec(x.shape), mode="training")
    y = evaluate(graph, {"x": x, "random_key": np.array([1, 2], np.uint64)})["output"]
    assert set(np.unique(y)) == {0.0, 2.0}
    assert [node.name for node in graph.nodes] == ["0"]


def test_wrong_arguments_are_refused_when_the_layer_is_made() -> None:
    with pytest.raises(tg.UsageError, match="groups=3 must divide in_channels=4"):
        nn.Conv2d(4, 6, 3, groups=3)
    with pytest.raises(tg.UsageError, match="groups=4 must divide"):
        nn.ConvTranspose2d(4, 6, 3, groups=4)
    with pytest.raises(tg.ShapeError, match="kernel_size"):
        nn.Conv2d(4, 6, (3, 3, 3))
    with pytest.raises(tg.UsageError, match="not a probability"):
        nn.Dropout(1.5)
    with pytest.raises(TypeError, match="inplace"):
        nn.ReLU(inplace=True)  # type: ignore[call-arg]  # that it is refused is the point


def test_a_layer_prints_its_settings() -> None:
    assert repr(nn.Linear(2, 3)) == "Linear(in_features=2, out_features=3)"
    assert repr(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))).startswith(
        "Sequential(0=ReLU(), 1=MaxPool2d(kernel_size=(2, 2)"
    )


def test_containers_name_and_count_their_modules() -> None:
    net = nn.Sequential({"conv": nn.Conv2d(1, 2, 1), "act": nn.ReLU()})
    assert [name for name, _ in net.named_parameters()] == ["conv.weight", "conv.bias"]
    net.append(nn.Flatten())
    assert (len(net), type(net[-1])) == (3, nn.Flatten)
    assert [name for name, _ in net.named_modules()] == ["", "conv", "act", "2"]
    rows = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 3)])
    assert [type(module) for module in rows] == [nn.Linear, nn.Linear]
    assert [name for name, _ in rows.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    with pytest.raises(IndexError, match="not one at 2"):
        rows[2]
    with pytest.raises(tg.UsageError, match="holds modules, got a function"):
        nn.Sequential(F.relu)  # type: ignore[arg-type]  # the mistake that is made

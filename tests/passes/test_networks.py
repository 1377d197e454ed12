"""The inference pipeline on whole networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.passes.checks import apply, ops, random_inputs
from tinygraph import nn
from tinygraph.nn.norm import BatchNorm2d
from tinygraph.passes.fold_batch_norm import fold_batch_norm
from tinygraph.passes.pipeline import optimize
from tinygraph.runtime.evaluate import evaluate


def with_random_statistics(net: nn.Module) -> nn.Module:
    """The network, its BatchNorms far from the identity."""
    net.reseed(0)
    rng = np.random.default_rng(0)
    for _, module in net.named_modules():
        if isinstance(module, BatchNorm2d):
            c = module.weight.shape
            module.weight.set(rng.uniform(0.3, 1.5, c))
            module.bias.set(rng.normal(0, 0.5, c))
            module.running_mean.set(rng.normal(0, 0.5, c))
            module.running_var.set(rng.uniform(0.3, 3, c))
    return net


@pytest.mark.parametrize(("name", "size"), [("resnet50", 64), ("resnet18", 33)])
def test_no_batch_norm_is_left_and_the_answers_are_as_good(name: str, size: int) -> None:
    graph = tg.trace(with_random_statistics(tg.models.create(name)), tg.Spec((1, 3, size, size)))
    after = optimize(graph)
    assert "batch_norm" in ops(graph)
    assert "batch_norm" not in ops(after)
    before_totals, after_totals = tg.analyze(graph).totals, tg.analyze(after).totals
    assert before_totals.macs == after_totals.macs
    assert before_totals.flops > after_totals.flops
    assert before_totals.activation_bytes > after_totals.activation_bytes
    inputs = random_inputs(graph)
    exact = evaluate(graph, inputs, np.float64)["output"]

    def error(graph: tg.Graph) -> float:
        return float(np.sqrt(np.mean((evaluate(graph, inputs)["output"] - exact) ** 2)))

    assert np.std(exact) > 1e-3
    assert error(after) <= 1.25 * error(graph)


def test_optimizing_makes_no_large_numbers() -> None:
    graph = tg.trace(tg.models.create("vgg16_bn"), tg.Spec(("N", 3, 224, 224)))
    after = optimize(graph)
    assert "batch_norm" not in ops(after)
    for held in (graph, after):
        weights = [data for value, data in held.data.items() if value.type.ndim > 1]
        assert len(weights) == 16
        assert not [w for w in weights if isinstance(w, np.ndarray) or "_made" in vars(w)]
    assert tg.analyze(after).totals.params == tg.analyze(graph).totals.params - 2 * 4224


class Shared(nn.Module):
    """One convolution called twice, each time with a BatchNorm of its own; and one block of both called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3, eps=0.1), nn.ReLU())

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv(nn.functional.relu(self.bn1(self.conv(x)))))
        return self.block(self.block(y))


def test_a_shared_module_gets_fresh_weights_for_each_batch_norm() -> None:
    graph = tg.trace(with_random_statistics(Shared()), tg.Spec((2, 3, 5, 5)))
    after = apply(fold_batch_norm, graph)
    assert ops(after) == ["conv", "relu", "conv", "conv", "relu", "conv", "relu"]
    first, second, *blocks = (node for node in after.nodes if node.op.name == "conv")
    assert not np.array_equal(after.array(first.inputs[1]), after.array(second.inputs[1]))
    assert not np.array_equal(after.array(first.inputs[2]), after.array(second.inputs[2]))
    assert np.array_equal(*(after.array(node.inputs[1]) for node in blocks))

"""What is saved runs in onnxruntime with the same answers. Skipped where onnxruntime is not installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models
from tinygraph.ir import Graph
from tinygraph.onnx.load import from_proto
from tinygraph.onnx.save import to_proto
from tinygraph.passes.compare import random_inputs
from tinygraph.text import dump

onnxruntime = pytest.importorskip("onnxruntime")

LARGE = ("vgg", "alexnet", "resnet1202", "resnet152", "resnet101")
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name.startswith(LARGE) else name for name in sorted(models.names())
]


def graph_of(name: str) -> Graph:
    """The network with statistics that change something, and scales that no depth can blow up."""
    net = models.create(name, seed=1)
    rng = np.random.default_rng(1)
    state = net.state_dict()
    for key, array in state.items():
        if key.endswith("running_var"):
            state[key] = rng.uniform(0.5, 2, array.shape).astype(array.dtype)
        elif key.endswith("running_mean"):
            state[key] = (0.1 * rng.standard_normal(array.shape)).astype(array.dtype)
        elif key.endswith("weight") and array.ndim == 1:
            state[key] = rng.uniform(0.1, 0.4, array.shape).astype(array.dtype)
    net.load_state_dict(state)
    return tg.trace(net, *models.inputs(name))


def answers(content: bytes, inputs: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_network_answers_alike_in_onnxruntime(name: str) -> None:
    graph = graph_of(name)
    inputs = random_inputs(graph)
    result = tg.compile(graph)(**inputs)
    wanted = list(result.values()) if isinstance(result, dict) else [result]
    for form in (graph, tg.optimize(graph)):
        proto = to_proto(form)
        for got, want in zip(answers(proto.SerializeToString(), inputs), wanted, strict=True):
            assert np.linalg.norm(got - want) <= 1e-4 * np.linalg.norm(want)
        loaded = from_proto(proto)
        assert dump(from_proto(to_proto(loaded))) == dump(loaded)

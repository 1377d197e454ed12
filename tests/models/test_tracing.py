"""The built-in networks with an open batch, and in training mode."""

from __future__ import annotations

import pytest

import tinygraph as tg

FAMILIES = (
    *("mlp3", "cnn_39x31", "digits_cnn", "lenet5", "lenet5_1998"),
    *("alexnet_2012", "vgg11_bn", "resnet50", "resnet20_cifar"),
)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_batch_may_stay_open(name: str) -> None:
    net, shape = tg.models.create(name), tg.models.inputs(name)[0].shape[1:]
    graphs = [tg.trace(net, tg.Spec((batch, *shape))) for batch in ("N", 3)]
    assert graphs[0].symbols == ("N",)
    assert str(graphs[0].bind(N=3)) == str(graphs[1])


@pytest.mark.parametrize("name", FAMILIES)
def test_training_moves_the_statistics_and_drops(name: str) -> None:
    net, shape = tg.models.create(name), tg.models.inputs(name)[0].shape[1:]
    graph = tg.trace(net, tg.Spec((2, *shape)), mode="training")
    ops = {node.op.name for node in graph.nodes}
    statistics = {v.name for v in graph.data if v.kind == "buffer"} - {"drawings"}
    assert {output for output, _ in graph.outputs[1:]} == statistics
    assert ("batch_norm_train" in ops) == bool(statistics)
    assert "batch_norm" not in ops
    assert ("dropout" in ops) == (len(graph.inputs) == 2) == (name in ("alexnet_2012", "vgg11_bn"))


def test_nodes_bear_the_names_of_their_modules() -> None:
    graph = tg.trace(tg.models.create("resnet18"), *tg.models.inputs("resnet18"))
    names = [node.name for node in graph.nodes]
    assert names[:8] == [
        "conv1",
        "bn1",
        "relu",
        "maxpool",
        "layer1.0.conv1",
        "layer1.0.bn1",
        "layer1.0.relu",
        "layer1.0.conv2",
    ]
    assert names[-3:] == ["avgpool", "flatten", "fc"]
    assert {node.where.source.partition(":")[0] for node in graph.nodes} == {"models/resnet.py"}

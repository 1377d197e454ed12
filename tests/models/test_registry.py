"""Networks by name: create, names, inputs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn


def test_every_network_can_be_made_and_traced() -> None:
    for name in tg.models.names():
        graph = tg.trace(tg.models.create(name), *tg.models.inputs(name))
        assert graph.outputs[0][1].type.shape[0] == 1, name


def test_inputs_are_named() -> None:
    (spec,) = tg.models.inputs("resnet50")
    assert (spec.name, spec.shape, np.dtype(spec.dtype)) == ("x", (1, 3, 224, 224), np.float32)
    assert tg.models.inputs("resnet50", num_classes=7) == (spec,)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998", "alexnet", "vgg11_bn", "resnet18", "resnet20_cifar", "mlp3"])
def test_number_of_classes(name: str) -> None:
    graph = tg.trace(tg.models.create(name, num_classes=7), *tg.models.inputs(name))
    assert graph.outputs[0][1].type.shape == (1, 7)


def test_weights_depend_on_the_seed_and_their_names_alone() -> None:
    first = tg.models.create("lenet5", seed=1).state_dict()
    nn.Linear(3, 3)  # other layers made in between change nothing
    second = tg.models.create("lenet5", seed=1).state_dict()
    other = tg.models.create("lenet5", seed=2).state_dict()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not any(np.array_equal(first[name], other[name]) for name in first)
    many = tg.models.create("lenet5", seed=1, num_classes=100).state_dict()
    assert np.array_equal(first["features.0.weight"], many["features.0.weight"])


def test_an_unknown_name_brings_close_ones() -> None:
    with pytest.raises(tg.UsageError, match=r"no network is named 'resnet51'; did you mean .*resnet50"):
        tg.models.create("resnet51")
    with pytest.raises(tg.UsageError, match="tinygraph models"):
        tg.models.inputs("xyzzy")


def test_arguments_that_are_no_counts_are_refused() -> None:
    for classes in (0, -1, 1.5, "many", True, 10**20):
        with pytest.raises(tg.UsageError, match=r"vgg16: num_classes is .*; it must be a whole number, at least 1"):
            tg.models.create("vgg16", num_classes=classes)
    for seed in ("three", 1.5, 2**63, None):
        with pytest.raises(tg.UsageError, match=r"seed is .*; it must be a whole number"):
            tg.models.create("lenet5", seed=seed)
    assert tg.models.create("lenet5", num_classes=np.int64(3), seed=-1).state_dict()["classifier.4.bias"].shape == (3,)


def test_an_unknown_argument_brings_the_known_ones() -> None:
    with pytest.raises(tg.UsageError, match="alexnet takes no depth; it takes num_classes, dropout, seed"):
        tg.models.create("alexnet", depth=3)
    with pytest.raises(tg.UsageError, match="takes no width"):
        tg.models.inputs("alexnet", width=3)


def test_one_network_imports_one_file() -> None:
    code = (
        "import sys, tinygraph; tinygraph.models.create('resnet152');"
        "print(*sorted(m for m in sys.modules if m.startswith('tinygraph.models.')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["tinygraph.models.resnet"]

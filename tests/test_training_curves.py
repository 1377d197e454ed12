"""Twenty steps of training, loss by loss, against torch: every optimizer on networks of every kind.

Weights and images are the same on both sides; see tools/goldens_training.py. Float64 runs hold
the mathematics to account, float32 runs the kernels that people use.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.models.resnet import BasicBlock
from tinygraph.nn import functional as F
from tinygraph.tools.goldens_training import batch, digest, start

GOLDENS: dict[str, Any] = json.loads((Path(__file__).parent / "data/training_curves.json").read_text())
TOLERANCE = {"float32": 1e-3, "float64": 1e-8}


class VGG11(nn.Module):
    """The convolutions of VGG-11 with BatchNorm, and one linear layer."""

    def __init__(self, features: nn.Sequential, maps: int) -> None:
        super().__init__()
        self.features = features
        self.fc = nn.Linear(maps, 10)

    def forward(self, x: Any) -> Any:
        y = self.features(x)
        return self.fc(y.reshape(y.shape[0], -1))


def vgg11(width: int) -> VGG11:
    layers: list[nn.Module] = []
    inputs = 3
    for stage in ((1,), (2,), (4, 4), (8, 8), (8, 8)):
        for maps in (times * width for times in stage):
            layers += [nn.Conv2d(inputs, maps, 3, padding=1), nn.BatchNorm2d(maps), nn.ReLU()]
            inputs = maps
        layers.append(nn.MaxPool2d(2))
    return VGG11(nn.Sequential(*layers), inputs)


class NarrowResNet18(nn.Module):
    """ResNet-18 with 8 maps in the place of 64."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 8))
        self.layer2 = nn.Sequential(BasicBlock(8, 16, 2), BasicBlock(16, 16))
        self.layer3 = nn.Sequential(BasicBlock(16, 32, 2), BasicBlock(32, 32))
        self.layer4 = nn.Sequential(BasicBlock(32, 64, 2), BasicBlock(64, 64))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        y = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(y)))).mean(axis=(2, 3)))


class Dense(nn.Module):
    """Six maps more than came in."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, 6, 3, padding=1, bias=False)

    def forward(self, x: Any) -> Any:
        return F.concat([x, self.conv(F.relu(self.norm(x)))], 1)


class DenseNet(nn.Module):
    """A dense block of four layers, and a transition that halves the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.block = nn.Sequential(*[Dense(8 + 6 * i) for i in range(4)])
        self.transition = nn.Sequential(
            nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 16, 1, bias=False), nn.AvgPool2d(2)
        )
        self.norm = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Any) -> Any:
        y = self.norm(self.transition(self.block(self.stem(x))))
        return self.fc(F.relu(y).mean(axis=(2, 3)))


NETWORKS: dict[str, Any] = {
    "lenet5": lambda: tg.models.create("lenet5"),
    "vgg11_narrow": lambda: vgg11(8),
    "resnet18_narrow": NarrowResNet18,
    "dense": DenseNet,
    "vgg11_bn": lambda: VGG11(tg.models.create("vgg11_bn").features, 512),
    "resnet18": lambda: tg.models.create("resnet18", num_classes=10),
}


def filled(name: str, dtype: str) -> nn.Module:
    """A network with the weights of the golden run, in a dtype."""
    net: nn.Module = NETWORKS[name]()
    for key, variable in net.named_variables():
        kept = variable.type.dtype if variable.type.dtype.kind == "i" else dtype
        variable.data = start(key, variable.shape).astype(kept)
    return net


def disagreement(name: str, optimizer: str, dtype: str, **other: Any) -> tuple[float, float]:
    """How far losses and BatchNorm's statistics are from torch's, relatively; with other arguments, if given."""
    golden = GOLDENS["runs"][f"{name}/{optimizer}/{dtype}"]
    size = tuple(GOLDENS["sizes"][name])
    net = filled(name, dtype)
    step = tg.train_step(
        net,
        getattr(tg.optim, optimizer)(**(golden["arguments"] | other)),
        F.cross_entropy,
        inputs=[tg.Spec(size, dtype), tg.Spec(size[:1], np.int64)],
        frozen=GOLDENS["still"].get(name, ()),
    )
    losses = []
    for number in range(len(golden["losses"])):
        x, y = batch(size, number)
        losses.append(step(x.astype(dtype), y))
    state = net.state_dict()
    assert golden["buffers"].keys() == {key for key in state if "running" in key}
    apart = [
        np.max(np.abs(np.subtract(digest(key, state[key]), want))) / want[0] for key, want in golden["buffers"].items()
    ]
    return float(np.max(np.abs(np.divide(losses, golden["losses"]) - 1))), max(apart, default=0.0)


# One row for each optimizer and each kind of network; the others take too long for every day.
FAST = {
    "lenet5/SGD",
    "lenet5/Adadelta",
    "vgg11_narrow/Adam",
    "vgg11_narrow/Adagrad",
    "resnet18_narrow/SGD",
    "resnet18_narrow/RMSprop",
    "dense/AdamW",
    "dense/Adadelta",
}
RUNS = [
    pytest.param(*run.split("/"), id=run, marks=() if run.rpartition("/")[0] in FAST else pytest.mark.slow)
    for run in GOLDENS["runs"]
]


@pytest.mark.parametrize(("name", "optimizer", "dtype"), RUNS)
def test_twenty_steps_are_torchs(name: str, optimizer: str, dtype: str) -> None:
    losses, buffers = disagreement(name, optimizer, dtype)
    assert losses <= TOLERANCE[dtype]
    assert buffers <= TOLERANCE[dtype]


def test_other_arguments_are_noticed() -> None:
    for other in ({"lr": 0.020001}, {"weight_decay": 5.001e-4}, {"nesterov": False}):
        losses, _ = disagreement("lenet5", "SGD", "float64", **other)
        assert losses > TOLERANCE["float64"]

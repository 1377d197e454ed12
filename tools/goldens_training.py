"""Makes tests/data/training_curves.json anew: how torch trains networks with its optimizers.

    python -m tinygraph.tools.goldens_training
    python -m tinygraph.tools.goldens_training lenet5 dense        these networks only

Needs torch and torchvision beside tinygraph:

    pip install torch==2.13.0 && pip install torchvision==0.28.0 --no-deps

Weights and images come from a hash of their names (tinygraph.tools.goldens.fill), so a run is
stored as its losses, and two numbers for each of BatchNorm's statistics at the end. Nothing in
tinygraph imports this file; the tests borrow `start`, `batch` and `digest`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.tools.goldens import Array, fill, torchvision_model

STEPS = 20
CLASSES = 10

# network -> size of a batch of images; the last two have their full width
NETWORKS = {
    "lenet5": (8, 1, 32, 32),
    "vgg11_narrow": (8, 3, 32, 32),
    "resnet18_narrow": (8, 3, 64, 64),
    "dense": (8, 3, 16, 16),
    "vgg11_bn": (8, 3, 32, 32),
    "resnet18": (8, 3, 64, 64),
}

# Learning rate for the shallow networks, for the deep ones (to be divided by SLOWER), and the other
# arguments. At higher rates, a ReLU near its kink that float32 sees from the other side moves the loss
# of a deep network by per cents a few steps later.
OPTIMIZERS: dict[str, tuple[float, float, dict[str, Any]]] = {
    "SGD": (0.02, 2e-4, {"momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}),
    "Adam": (3e-4, 2e-4, {}),
    "AdamW": (3e-4, 2e-4, {"weight_decay": 0.05}),
    "Adagrad": (5e-3, 1e-4, {}),
    "Adadelta": (1.0, 0.05, {}),
    "RMSprop": (3e-4, 1e-5, {"momentum": 0.5}),
}
SLOWER = {"vgg11_bn": 40, "resnet18": 10}

# Biases of convolutions in front of BatchNorm stay as they are. BatchNorm takes them away again, so
# their gradient is 0 but for rounding, which some optimizers blow up to full steps: the running
# means would be a matter of luck.
STILL = {name: [f"features.{i}.bias" for i in (0, 4, 8, 11, 15, 18, 22, 25)] for name in ("vgg11_narrow", "vgg11_bn")}


def batch(size: tuple[int, ...], step: int) -> tuple[Array, Array]:
    """Images of float32, and their labels, of one step; the same five batches over and over."""
    number = step % 5
    return fill(f"{number}.input", size), (3 * np.arange(size[0], dtype=np.int64) + number) % CLASSES


def start(name: str, shape: Sequence[int]) -> Array:
    """The numbers of a parameter or buffer before the first step. Residual branches begin small, which calms them."""
    return np.asarray(fill(name, shape) * np.float32(0.2 if name.endswith("bn2.weight") else 1.0))


def digest(name: str, array: Array) -> list[float]:
    """Two numbers that stand for an array: its norm, and its product with a vector that its name makes."""
    flat = np.asarray(array, np.float64).ravel()
    return [float(np.sqrt((flat * flat).sum())), float(flat @ fill(f"{name}.input", flat.shape))]


def network(name: str) -> Any:
    """The torch network of that name."""
    from torch import nn  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    builders = {
        "lenet5": lambda: _lenet5(nn),
        "vgg11_narrow": lambda: _vgg11(nn, 8),
        "resnet18_narrow": lambda: _resnet18(nn, 8),
        "dense": lambda: _dense(nn),
        "vgg11_bn": lambda: _vgg11(nn, 64),
        "resnet18": lambda: _resnet18(nn, 64),
    }
    return builders[name]()


def _lenet5(nn: Any) -> Any:
    features = [nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)]
    classifier = [nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, CLASSES)]
    return nn.Sequential(
        OrderedDict(features=nn.Sequential(*features), flatten=nn.Flatten(), classifier=nn.Sequential(*classifier))
    )


def _vgg11(nn: Any, width: int) -> Any:
    """The convolutions of VGG-11 with BatchNorm, and one linear layer."""
    layers: list[Any] = []
    inputs = 3
    for times in (1, None, 2, None, 4, 4, None, 8, 8, None, 8, 8, None):
        if times is None:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(inputs, times * width, 3, padding=1), nn.BatchNorm2d(times * width), nn.ReLU()]
        inputs = times * width
    return nn.Sequential(
        OrderedDict(features=nn.Sequential(*layers), flatten=nn.Flatten(), fc=nn.Linear(inputs, CLASSES))
    )


def _resnet18(nn: Any, width: int) -> Any:
    """ResNet-18 with `width` maps in the place of 64."""
    torchvision_model("resnet18")  # makes sure that torchvision can be imported
    from torchvision.models.resnet import BasicBlock, conv1x1  # type: ignore[import-not-found,unused-ignore]

    parts: dict[str, Any] = {
        "conv1": nn.Conv2d(3, width, 7, 2, 3, bias=False),
        "bn1": nn.BatchNorm2d(width),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, 2, 1),
    }
    inputs = width
    for i, planes in enumerate((width, 2 * width, 4 * width, 8 * width), 1):
        stride = 1 if i == 1 else 2
        skip = nn.Sequential(conv1x1(inputs, planes, stride), nn.BatchNorm2d(planes)) if i > 1 else None
        parts[f"layer{i}"] = nn.Sequential(BasicBlock(inputs, planes, stride, skip), BasicBlock(planes, planes))
        inputs = planes
    parts |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(inputs, CLASSES)}
    return nn.Sequential(OrderedDict(parts))


def _dense(nn: Any) -> Any:
    """A dense block of four layers, each of which adds 6 maps to all before, and a transition that halves them."""
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    class Dense(nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self, inputs: int) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(inputs)
            self.conv = nn.Conv2d(inputs, 6, 3, padding=1, bias=False)

        def forward(self, x: Any) -> Any:
            return torch.cat([x, self.conv(torch.relu(self.norm(x)))], 1)

    transition = [nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 16, 1, bias=False), nn.AvgPool2d(2)]
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 8, 3, padding=1, bias=False),
            block=nn.Sequential(*[Dense(8 + 6 * i) for i in range(4)]),
            transition=nn.Sequential(*transition),
            norm=nn.BatchNorm2d(16),
            relu=nn.ReLU(),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(16, CLASSES),
        )
    )


def run(name: str, optimizer: str, dtype: str) -> dict[str, Any]:
    """Losses of the first steps of training, and digests of BatchNorm's statistics afterwards."""
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    number = getattr(torch, dtype)
    net = network(name).to(number).train()
    filled = {key: torch.from_numpy(start(key, tuple(t.shape))) for key, t in net.state_dict().items()}
    net.load_state_dict(filled)
    for parameter in map(net.get_parameter, STILL.get(name, [])):
        parameter.requires_grad_(False)
    shallow, deep, rest = OPTIMIZERS[optimizer]
    rate = shallow if name in ("lenet5", "dense") else deep / SLOWER.get(name, 1)
    arguments = {"lr": rate, **rest}
    updater = getattr(torch.optim, optimizer)(net.parameters(), **arguments)
    losses = []
    for step in range(STEPS):
        x, y = map(torch.from_numpy, batch(NETWORKS[name], step))
        updater.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x.to(number)), y)
        loss.backward()
        updater.step()
        losses.append(loss.item())
    buffers = {key: digest(key, t.numpy()) for key, t in net.named_buffers() if t.ndim}
    return {"arguments": arguments, "losses": losses, "buffers": buffers}


def main() -> None:
    """Writes the entries anew, and says on stderr how each went."""
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="networks to renew; by default all")
    parser.add_argument("--file", type=Path, default=Path("tests/data/training_curves.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that sums have one order
    document: dict[str, Any] = json.loads(options.file.read_text()) if options.file.exists() else {"runs": {}}
    document |= {"sizes": NETWORKS, "still": STILL}
    for name in options.names or NETWORKS:
        for optimizer in OPTIMIZERS:
            for dtype in ("float32", "float64"):
                found = run(name, optimizer, dtype)
                document["runs"][f"{name}/{optimizer}/{dtype}"] = found
                sys.stderr.write(f"{name}/{optimizer}/{dtype}: {found['losses'][0]:.6f} -> {found['losses'][-1]:.6f}\n")
    options.file.write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()

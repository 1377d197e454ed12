"""Networks learn: small ones and a deep one, on sets that come along."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data
from tinygraph.nn import functional as F

bundled = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed")


def trained(name: str, images: data.Dataset, epochs: int, lr: float, **options: object) -> tg.nn.Module:
    """A built-in network after some epochs of AdamW in batches of 32, its rate falling from `lr` to 0."""
    net = tg.models.create(name, num_classes=len(images.classes))
    loader = data.Loader(images, 32, **options)  # type: ignore[arg-type]
    steps = epochs * len(loader)
    optimizer = tg.optim.AdamW(tg.optim.warm_up(tg.optim.cosine(lr, steps), steps // 10))
    specs = [tg.Spec(("N", *images.images.shape[1:])), tg.Spec(("N",), np.int64)]
    step = tg.train_step(net, optimizer, F.cross_entropy, specs)
    for epoch in range(epochs):
        for x, y in loader.epoch(epoch):
            step(x, y)
    return net


def share_right(net: tg.nn.Module, images: data.Dataset) -> float:
    x, y = images.batch(np.arange(len(images)))
    return float(np.mean(net(x).argmax(1) == y))


@bundled
def test_digits_in_a_few_epochs() -> None:
    train, held_out = data.split(data.digits())
    assert share_right(trained("digits_cnn", train, epochs=4, lr=5e-3), held_out) > 0.95


def test_a_residual_network_learns_a_few_images_by_heart() -> None:
    images = data.shapes(16, size=8)
    assert share_right(trained("resnet20_cifar", images, epochs=20, lr=3e-3), images) == 1


@bundled
@pytest.mark.slow
def test_a_residual_network_tells_patches_of_two_photographs_apart() -> None:
    train, held_out = data.split(data.sample_patches(size=16))
    assert share_right(trained("resnet20_cifar", train, epochs=2, lr=3e-3), held_out) > 0.9


@pytest.mark.slow
def test_a_residual_network_learns_shapes() -> None:
    train, held_out = data.shapes(1000), data.shapes(400, seed=1)
    assert share_right(trained("resnet20_cifar", train, epochs=3, lr=1e-2), held_out) > 0.9

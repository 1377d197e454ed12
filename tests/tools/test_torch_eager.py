"""A graph run by eager PyTorch, where PyTorch is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from examples.bench_networks import VDSR, UNet
from tinygraph import nn, ops
from tinygraph.nn import functional as F

torch = pytest.importorskip("torch")


def odd(x: Any) -> Any:
    """What the networks of the bench have not: activations that must not overwrite what others read."""
    y = nn.Conv2d(1, 3, 3)(x)
    z = ops.clip(y, 0.0, 0.4) + F.relu(y)
    w = np.linspace(-1, 1, 3 * 2 * 3 * 3, dtype=np.float32).reshape(3, 2, 3, 3)
    return ops.conv_transpose(z, w, stride=2, padding=1, output_padding=1), y


@pytest.mark.parametrize("net", [VDSR(4, 4), UNet(maps=2), odd], ids=["vdsr", "unet", "odd"])
def test_answers_are_those_of_a_session(net: Any) -> None:
    from tinygraph.tools.torch_eager import Eager

    graph = tg.trace(net, tg.Spec((2, 1, 32, 48)))
    x = np.random.default_rng(0).standard_normal((2, 1, 32, 48)).astype(np.float32)
    made = tg.compile(graph)(x)
    eager = Eager(graph)
    for _ in range(2):  # nothing is overwritten that a second run reads
        answers = eager(torch.from_numpy(x))
        for answer, wanted in zip(answers, made.values() if isinstance(made, dict) else [made], strict=True):
            found = answer.detach().numpy()
            assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()

"""What lectures state about what networks can learn, and what they cannot."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.ir import Array
from tinygraph.nn import functional as F

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR = np.array([0, 1, 1, 0])


def share_right(net: nn.Module, seed: int) -> float:
    """The share of the corners that a network tells right, trained on them from the weights of a seed."""
    net.reseed(seed)
    step = tg.train_step(net, tg.optim.Adam(0.05), F.cross_entropy, [tg.Spec((4, 2)), tg.Spec((4,), np.int64)])
    for _ in range(200):
        step(CORNERS, XOR)
    return float(np.mean(net(CORNERS).argmax(1) == XOR))


def test_no_line_parts_xor_but_two_units_fold_the_plane_so_that_one_does() -> None:
    """Two units get stuck from some starts; a line fails from all of them."""
    lines = [share_right(nn.Linear(2, 2), seed) for seed in range(4)]
    assert max(lines) <= 0.75
    folded = [share_right(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), seed) for seed in range(8)]
    assert max(folded) == 1


def test_weights_written_down_by_hand_part_xor() -> None:
    """relu(a + b) - 2 relu(a + b - 1) is 0, 1, 1, 0."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    weights = {"0.weight": [[1, 1], [1, 1]], "0.bias": [0, -1], "2.weight": [[1, -2]], "2.bias": [0]}
    net.load_state_dict({name: np.array(numbers, np.float32) for name, numbers in weights.items()})
    np.testing.assert_array_equal(net(CORNERS)[:, 0], XOR)


def error_of_sine(width: int) -> float:
    """Root mean square error on [-pi, pi] of one hidden layer of so many units."""
    x: Array = np.linspace(-np.pi, np.pi, 128, dtype=np.float32)[:, None]
    net = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 1))
    net.reseed(0)
    optimizer = tg.optim.Adam(tg.optim.cosine(0.02, 500))
    step = tg.train_step(net, optimizer, F.mse_loss, [tg.Spec(x.shape), tg.Spec(x.shape)])
    for _ in range(500):
        step(x, np.sin(x))
    return float(np.sqrt(np.mean((net(x) - np.sin(x)) ** 2)))


def test_the_wider_a_layer_the_closer_it_comes_to_a_sine() -> None:
    narrow, middle, wide = (error_of_sine(width) for width in (2, 8, 64))
    assert narrow > 2 * middle > 4 * wide
    assert wide == pytest.approx(0, abs=0.02)

"""The teaching network for 39 x 31 images: what its page states."""

from __future__ import annotations

import tinygraph as tg
from tests.models.layers import maps, nodes, traced


def test_sizes() -> None:
    assert maps(traced("cnn_39x31"), "conv", "max_pool", "reshape", "linear") == [
        (20, 36, 28),
        (20, 18, 14),
        (40, 16, 12),
        (40, 8, 6),
        (60, 6, 4),
        (60, 3, 2),
        (80, 2, 1),
        (160,),
        (100,),
    ]


def test_weights_of_each_layer() -> None:
    layers = nodes(traced("cnn_39x31"), "conv", "linear")
    assert [node.inputs[1].type.size for node in layers] == [320, 7_200, 21_600, 19_200, 16_000]
    assert all(len(node.inputs) == 2 for node in layers)  # no biases
    assert tg.analyze(traced("cnn_39x31")).totals.params == 64_320

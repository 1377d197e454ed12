"""The network for handwritten digits: its sizes, and how small it is."""

from __future__ import annotations

import tinygraph as tg
from tests.models.layers import maps, nodes, traced


def test_sizes() -> None:
    sizes = maps(traced("digits_cnn"), "conv", "reshape", "linear")
    assert sizes == [(16, 6, 6), (32, 4, 4), (512,), (10,)]


def test_weights_of_each_layer() -> None:
    graph = traced("digits_cnn")
    assert [node.inputs[1].type.size for node in nodes(graph, "conv", "linear")] == [144, 4_608, 5_120]
    assert tg.analyze(graph).totals.params == 144 + 2 * 16 + 4_608 + 2 * 32 + 5_120 + 10 <= 10_000

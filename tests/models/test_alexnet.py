"""AlexNet: what the papers and the lectures state about its variants."""

from __future__ import annotations

import pytest

import tinygraph as tg
from tests.models.layers import maps, nodes, traced


@pytest.mark.parametrize(
    ("name", "shape"),
    [("alexnet", (64, 3, 11, 11)), ("alexnet_2012", (96, 3, 11, 11)), ("alexnet_ungrouped", (96, 3, 11, 11))],
)
def test_first_filters(name: str, shape: tuple[int, ...]) -> None:
    assert traced(name).value("features.0.weight").type.shape == shape


def test_all_variants_have_about_60_million_params() -> None:
    counts = [tg.analyze(traced(name)).totals.params for name in ("alexnet_2012", "alexnet_ungrouped", "alexnet")]
    assert counts == [60_965_224, 62_378_344, 61_100_840]


def test_five_convolutions_and_three_linear_layers() -> None:
    for name in ("alexnet", "alexnet_2012", "alexnet_ungrouped"):
        graph = traced(name)
        assert (len(nodes(graph, "conv")), len(nodes(graph, "linear"))) == (5, 3)


def test_sizes_of_2012() -> None:
    assert maps(traced("alexnet_2012"), "conv", "max_pool") == [
        (96, 55, 55),
        (96, 27, 27),
        (256, 27, 27),
        (256, 13, 13),
        (384, 13, 13),
        (384, 13, 13),
        (256, 13, 13),
        (256, 6, 6),
    ]


def test_convolutions_2_4_and_5_are_split_between_two_gpus() -> None:
    assert [node.op.groups for node in nodes(traced("alexnet_2012"), "conv")] == [1, 2, 1, 2, 2]


def test_the_paper_normalizes_responses_twice_with_its_own_constants() -> None:
    ops = [node.op for node in nodes(traced("alexnet_2012"), "lrn")]
    assert [(op.size, op.beta, op.k) for op in ops] == [(5, 0.75, 2.0)] * 2
    assert [op.alpha / op.size for op in ops] == pytest.approx([1e-4, 1e-4])


def test_other_image_sizes_reach_the_same_classifier() -> None:
    net = tg.models.create("alexnet")
    for size in (63, 64, 256):
        assert maps(tg.trace(net, tg.Spec((1, 3, size, size))), "adaptive_avg_pool") == [(256, 6, 6)]

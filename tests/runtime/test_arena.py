"""Packing arrays into one arena: nothing overlaps, and little is lost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tests.growth import assert_linear
from tinygraph.autodiff import vjp_graph
from tinygraph.ir import Graph
from tinygraph.runtime import arena
from tinygraph.runtime.arena import Buffer, lower_bound, pack
from tinygraph.runtime.session import Session

Packing = tuple[list[int], int]


def beside(buffers: list[Buffer]) -> list[list[int]]:
    found = arena._beside(buffers)
    assert found is not None
    return found


Way = Callable[[list[Buffer]], Packing]
WAYS: dict[str, Way] = {
    "pack": pack,
    "in order of time": arena._in_order_of_time,
    "one by one": lambda buffers: arena._one_by_one(buffers, beside(buffers), range(len(buffers))),
    "search": lambda buffers: arena._search(buffers, beside(buffers), lower_bound(buffers)),
}

buffers = st.lists(
    st.tuples(st.sampled_from([0, 64, 128, 192, 640]), st.integers(0, 12), st.integers(0, 6)).map(
        lambda t: Buffer(t[0], t[1], t[1] + t[2])
    ),
    max_size=30,
)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@settings(deadline=None)
@given(buffers)
def test_buffers_that_live_together_do_not_overlap(
    way: Callable[[list[Buffer]], Packing], wanted: list[Buffer]
) -> None:
    offsets, total = way(wanted)
    assert lower_bound(wanted) <= total <= sum(b.nbytes for b in wanted)
    for step in range(20):
        living = [(o, o + b.nbytes) for o, b in zip(offsets, wanted, strict=True) if b.first <= step <= b.last]
        taken = sorted(span for span in living if span[0] < span[1])
        assert all(end <= begin for (_, end), (begin, _) in pairwise(taken))
        assert all(begin >= 0 and end <= total for begin, end in living)


@settings(deadline=None)
@given(buffers)
def test_the_lower_bound_is_what_lives_at_one_time(wanted: list[Buffer]) -> None:
    alive = [sum(b.nbytes for b in wanted if b.first <= step <= b.last) for step in range(20)]
    assert lower_bound(wanted) == max(alive)


def test_what_never_lives_together_shares_its_place() -> None:
    offsets, total = pack([Buffer(64 * (1 + i % 3), i, i) for i in range(9)])
    assert total == 3 * 64
    assert set(offsets) == {0}


def test_a_buffer_still_lives_in_its_last_step() -> None:
    assert pack([Buffer(64, 0, 1), Buffer(64, 1, 2)])[1] == 128
    assert pack([Buffer(64, 0, 1), Buffer(64, 2, 2)])[1] == 64


def test_nothing_to_pack() -> None:
    assert pack([]) == ([], 0)
    assert pack([Buffer(0, 0, 3), Buffer(0, 1, 2)]) == ([0, 0], 0)


def nested(count: int) -> list[Buffer]:
    """As in training: what is computed first is needed last."""
    return [Buffer(64 * (1 + i % 7), i, 2 * count - i) for i in range(count)] + [
        Buffer(64 * (1 + i % 5), count + i, count + i + 1) for i in range(count - 1)
    ]


def test_a_great_many_are_packed_in_linear_time() -> None:
    assert_linear(pack, nested(5_000), nested(20_000))


# (size, first, last)
BOTTLENECK = [(7, 0, 2), (2, 0, 1), (1, 0, 0), (5, 2, 4), (4, 3, 5), (4, 3, 4)]


def test_another_order_is_tried_where_the_largest_first_is_far_off() -> None:
    wanted = [Buffer(n * 64, first, last) for n, first, last in BOTTLENECK]
    by_size = sorted(range(len(wanted)), key=lambda i: -wanted[i].nbytes)
    assert arena._one_by_one(wanted, beside(wanted), by_size)[1] > 1.2 * lower_bound(wanted)
    assert arena._in_order_of_time(wanted)[1] > 1.2 * lower_bound(wanted)
    assert pack(wanted)[1] <= 1.01 * lower_bound(wanted)


# ---- real networks -----------------------------------------------------------------------------


def inference_graph(name: str) -> Graph:
    graph = tg.trace(tg.models.create(name), *tg.models.inputs(name))
    return tg.optimize(graph.bind(**dict.fromkeys(graph.symbols, 2)))


def training_graph(name: str) -> Graph:
    graph = tg.trace(tg.models.create(name), *tg.models.inputs(name), mode="training")
    graph = graph.bind(**dict.fromkeys(graph.symbols, 2))
    data = {v.name for v in graph.data}
    answers = [output for output, _ in graph.outputs if output not in data]
    return tg.optimize(vjp_graph(graph, outputs=answers), "training")


NETWORKS = ("lenet5", "lenet5_rgb", "cnn_39x31", "resnet18", "resnet20_cifar", "resnet110_cifar")


def watched(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many times the lower bound each packing takes, as they are made."""
    ratios = []

    def watching(wanted: list[Buffer]) -> Packing:
        offsets, total = pack(wanted)
        ratios.append(total / lower_bound(wanted))
        return offsets, total

    monkeypatch.setattr("tinygraph.runtime.layout.pack", watching)
    return ratios


@pytest.mark.parametrize(("make", "share"), [(inference_graph, 0.55), (training_graph, 0.85)])
def test_networks_take_little_more_than_the_lower_bound(
    make: Callable[[str], Graph], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratios = watched(monkeypatch)
    for name in NETWORKS:
        graph = make(name)
        everything = sum(v.type.nbytes for node in graph.nodes for v in node.outputs)
        assert Session(graph).memory.activations < share * everything
    assert len(ratios) == len(NETWORKS)
    assert max(ratios) < 1.1
    assert np.mean(ratios) < 1.03


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_so_do_deep_ones_of_several_batches(precision: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = watched(monkeypatch)
    for name in ("resnet50", "resnet50_v1"):
        graph = tg.optimize(tg.trace(tg.models.create(name), tg.Spec(("N", 3, 224, 224))))
        for n in (1, 2, 3):
            Session(graph.bind(N=n), threads=2, precision=precision)
    assert len(ratios) == 6
    assert max(ratios) < 1.1

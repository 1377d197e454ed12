"""Weights are there once, however many sessions and plans read them."""

from __future__ import annotations

import gc
import tracemalloc
from io import BytesIO
from typing import Any
from weakref import ref

import numpy as np
import pytest

import tinygraph as tg
from tests.sessions import F32
from tinygraph import nn, ops
from tinygraph.ir import Array
from tinygraph.runtime import session
from tinygraph.runtime.evaluate import evaluate
from tinygraph.runtime.session import Session


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2)
        self.norm1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(64)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.norm1(self.conv1(x)))
        y = ops.relu(self.norm2(self.conv2(y)) + y)
        return self.fc(ops.mean(y, (2, 3)))


def weights(run: Session) -> dict[str, Array]:
    """The larger arrays that a session reads."""
    return {v.name: a for v, a in run._loaded.data.items() if isinstance(a, np.ndarray) and a.nbytes > 2000}


@pytest.mark.parametrize("passes", ["none", "inference"])
@pytest.mark.parametrize("stored", [False, True])
def test_sessions_of_one_graph_share_weights(passes: str, stored: bool) -> None:
    graph = tg.trace(Net(), tg.Spec(("N", 3, 20, 20)))
    if stored:  # then they are arrays, not recipes
        file = BytesIO()
        tg.save(graph, file)
        graph = tg.load(file.getvalue())
    first, second = tg.compile(graph, passes=passes), tg.compile(graph.bind(N=2), passes=passes, threads=1)
    assert len(weights(first)) >= 3
    for a, b in zip(weights(first).values(), weights(second).values(), strict=True):
        assert np.shares_memory(a, b)
    x = np.random.default_rng(0).standard_normal((2, 3, 20, 20)).astype(F32)
    np.testing.assert_allclose(first(x), second(x), rtol=1e-4, atol=1e-5)


def test_weights_that_nobody_reads_any_more_are_gone_before_a_session_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays: list[ref[Array]] = []

    def loaded() -> tg.Graph:
        file = BytesIO()
        tg.save(tg.trace(Net(), tg.Spec((1, 3, 20, 20))), file)
        graph = tg.load(file.getvalue())
        arrays.extend(ref(graph.array(v)) for v in graph.data if v.name.startswith("conv"))
        return graph

    def made(graph: tg.Graph, *_: Any, **__: Any) -> str:
        assert any(v.name == "conv1.weight.folded" for v in graph.data)
        return "left" if any(array() is not None for array in arrays) else "gone"

    monkeypatch.setattr(session, "Session", made)
    found = tg.compile(loaded())  # not in an assertion, which keeps what is in it
    assert found == "gone"
    graph = loaded()
    assert tg.compile(graph) == "left"
    assert len(arrays) == 8


class Turned(nn.Module):
    """One weight that convolutions and transposed ones read, and that is reshaped."""

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (1, taps))

    def forward(self, x: Any) -> Any:
        w = self.conv.weight
        channels, _, _, taps = w.shape
        flat = ops.reshape(x, (x.shape[0], channels, -1))
        return {
            "transposed": ops.conv_transpose(x, w, stride=(1, taps)),
            "conv": ops.conv(x, w),
            "flat": ops.conv(flat, ops.reshape(w, (channels, channels, taps))),
            "flat transposed": ops.conv_transpose(flat, ops.reshape(w, (channels, channels, taps)), stride=taps),
        }


@pytest.mark.parametrize("channels", [16, 192])
@pytest.mark.parametrize("taps", [1, 2])
@pytest.mark.parametrize("size", [6, 20])
def test_one_weight_that_is_read_in_two_ways(channels: int, taps: int, size: int) -> None:
    graph = tg.trace(Turned(channels, taps), tg.Spec((1, channels, size, size)))
    x = np.random.default_rng(0).standard_normal((1, channels, size, size)).astype(F32)
    wanted = evaluate(graph, {"x": x}, np.float64)
    for name, y in tg.compile(graph, threads=2)(x).items():
        np.testing.assert_allclose(y, wanted[name], rtol=0, atol=1e-5, err_msg=name)


def allocated() -> int:
    """Bytes that NumPy's arrays take."""
    gc.collect()
    arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([arrays]).traces)


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_what_kernels_make_of_weights_is_shared_too(precision: Any) -> None:
    graph = tg.optimize(tg.trace(tg.models.create("resnet18"), tg.Spec(("N", 3, 64, 64))))

    def make() -> Session:
        run = tg.compile(graph, passes="none", threads=2, precision=precision)
        run(np.zeros((1, 3, 64, 64), F32))
        run._arenas.spare.clear()
        return run

    before = make()
    tracemalloc.start()
    try:
        begin = allocated()
        first = make()
        second = allocated() - begin
        del first
        assert allocated() - begin < 100_000
        del before
        begin = allocated()
        alone = make()
        assert allocated() - begin > 20_000_000  # all kernels are gone with those that had them
        assert second < 4_000_000
        del alone
    finally:
        tracemalloc.stop()

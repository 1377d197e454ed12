"""Joints of channels whose inputs are computed in their result: which are, and that the answers stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.poison import call_poisoned, random_inputs
from tests.sessions import as_dict
from tinygraph import nn, ops
from tinygraph.ir import Graph
from tinygraph.ops.base import Precision
from tinygraph.runtime import plan
from tinygraph.runtime.session import Session

SHAPE = (3, 8, 12, 10)


class Net(nn.Module):
    """Layers to make joints of: each is made when it is asked for, and has random numbers."""

    def __init__(self, wiring: Callable[[Net, Any], Any]) -> None:
        super().__init__()
        self.wiring = wiring
        self.rng = np.random.default_rng(0)
        for kernel in (1, 3):
            for channels in (8, 16, 24, 32, 40):
                for filters in (1, 5, 8, 16):
                    conv = nn.Conv2d(channels, filters, kernel, padding=kernel // 2)
                    setattr(self, f"conv{kernel}_{channels}_{filters}", conv)
        for channels in (8, 16, 24, 32):
            norm = nn.BatchNorm2d(channels)
            random = {
                name: self.rng.random(array.shape, np.float32) + 0.5 if array.ndim else array
                for name, array in norm.state_dict().items()
            }
            norm.load_state_dict(random)
            setattr(self, f"norm_{channels}", norm)
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)

    def conv(self, x: Any, filters: int = 8, kernel: int = 3) -> Any:
        return getattr(self, f"conv{kernel}_{x.shape[1]}_{filters}")(x)

    def norm(self, x: Any) -> Any:
        return ops.relu(getattr(self, f"norm_{x.shape[1]}")(x))

    def forward(self, x: Any) -> Any:
        return self.wiring(self, x)


def branches(net: Net, x: Any) -> Any:
    pooled = net.conv(ops.max_pool(x, 3, 1, 1), 16, 1)
    joined = ops.concat([net.conv(x, 8, 1), ops.relu(net.conv(x, 8)), ops.relu(pooled)], 1)
    return net.conv(ops.max_pool(joined, 2), 5)


def dense(net: Net, x: Any) -> Any:
    """Each layer reads all maps before it."""
    maps = [ops.max_pool(net.conv(x), 3, 1, 1)]
    for _ in range(3):
        maps.append(net.conv(net.norm(ops.concat(maps, 1)) if len(maps) > 1 else net.norm(maps[0])))
    return net.conv(net.norm(ops.concat(maps, 1)), 5)


def nested(net: Net, x: Any) -> Any:
    """A joint of a joint."""
    inner = ops.concat([net.conv(x), net.conv(x, kernel=1)], 1)
    return net.conv(ops.concat([net.conv(net.norm(inner)), inner, net.conv(ops.relu(x))], 1), 5)


def around(net: Net, x: Any) -> Any:
    """What is joined early is read late, and what is joined late is read early."""
    early = net.conv(x)
    deep = net.up(net.conv(ops.avg_pool(ops.relu(net.conv(early)), 2)))
    return net.conv(ops.concat([early, deep], 1), 5, 1)


def residual(net: Net, x: Any) -> Any:
    a, b = net.conv(x), net.conv(x, kernel=1)
    added = ops.relu(net.conv(b) + a)
    return net.conv(ops.concat([a, b, added], 1), 5)


def two_joints(net: Net, x: Any) -> Any:
    a, b, c = net.conv(x), net.conv(x, kernel=1), net.conv(ops.max_pool(x, 3, 1, 1))
    first = net.conv(ops.concat([a, b], 1))
    return net.conv(ops.concat([b, c, first], 1), 5)


def twice_the_same(net: Net, x: Any) -> Any:
    a = net.conv(x)
    return net.conv(ops.concat([a, a], 1), 5)


def returned(net: Net, x: Any) -> Any:
    return ops.concat([net.conv(x), net.conv(x, kernel=1)], 1)


def a_part_returned(net: Net, x: Any) -> Any:
    a, b = net.conv(x), net.conv(x, kernel=1)
    return {"y": net.conv(ops.concat([a, b], 1), 5), "a": a}


def overwritten(net: Net, x: Any) -> Any:
    """What follows is computed in place of the joint, and returned."""
    joined = ops.concat([net.conv(x), net.conv(x, kernel=1)], 1)
    net.conv(joined, 5)
    return ops.tanh(joined)


def overwritten_part(net: Net, x: Any) -> Any:
    a = net.conv(x)
    return net.conv(ops.concat([ops.tanh(a), a], 1), 5)


def read_by_a_product_with_a_vector(net: Net, x: Any) -> Any:
    """BLAS would sum in another order."""
    a, b = net.conv(x), net.conv(x, kernel=1)
    return net.conv(ops.concat([a, b], 1), 5) * net.conv(a, 1, 1)


def read_as_it_was(net: Net, x: Any) -> Any:
    a, b = net.conv(x), net.conv(x, kernel=1)
    return net.conv(ops.concat([a, b], 1), 5) * ops.sum(ops.softmax(b, 1), 1, keepdims=True)


def with_the_input(net: Net, x: Any) -> Any:
    return net.conv(ops.concat([net.conv(x), x], 1), 5)


# (wiring, joints in all, joints that are still copied)
CASES: list[tuple[Callable[[Net, Any], Any], int, int]] = [
    (branches, 1, 0),
    (dense, 3, 0),
    (nested, 2, 0),
    (around, 1, 0),
    (residual, 1, 0),
    (two_joints, 2, 1),
    (twice_the_same, 1, 1),
    (returned, 1, 1),
    (a_part_returned, 1, 1),
    (overwritten, 1, 0),
    (overwritten_part, 1, 1),
    (read_by_a_product_with_a_vector, 1, 1),
    (read_as_it_was, 1, 1),
    (with_the_input, 1, 1),
]


def traced(wiring: Callable[[Net, Any], Any], *shape: Any) -> Graph:
    return tg.trace(Net(wiring), tg.Spec(shape or SHAPE))


def joints(session: Session) -> int:
    return sum(step.node.op.name == "concat" for each in session._plans.values() for step in each.steps)


def without_slices(monkeypatch: pytest.MonkeyPatch, graph: Graph, **arguments: Any) -> Session:
    with monkeypatch.context() as patch:
        patch.setattr(plan, "slices", lambda *_: {})
        return tg.compile(graph, **arguments)


@pytest.mark.parametrize(("wiring", "before", "after"), CASES, ids=lambda case: getattr(case, "__name__", None))
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_joints(
    wiring: Any, before: int, after: int, batch: int, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = traced(wiring, batch, *SHAPE[1:])
    for threads in (1, 2):
        plain = without_slices(monkeypatch, graph, threads=threads, precision=precision)
        with monkeypatch.context() as patch:
            patch.setattr(plan, "_takes_more", lambda *_: False)
            sliced = tg.compile(graph, threads=threads, precision=precision)
        assert tg.compile(graph, threads=threads, precision=precision).memory.total <= plain.memory.total
        assert (joints(plain), joints(sliced)) == (before, after)
        inputs = random_inputs(graph)
        wanted, found = as_dict(plain(**inputs)), call_poisoned(sliced, inputs)
        assert list(found) == list(wanted)
        for name, y in found.items():
            np.testing.assert_array_equal(y, wanted[name])
            assert y.base is None or y.base.nbytes == y.nbytes


def test_of_an_open_batch_each_size_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = traced(branches, "N", *SHAPE[1:])
    plain, sliced = without_slices(monkeypatch, graph), tg.compile(graph)
    monkeypatch.setattr(plan, "_takes_more", lambda *_: False)
    for batch in (1, 3, 2, 1):
        x = np.random.default_rng(batch).standard_normal((batch, *SHAPE[1:]), np.float32)
        with monkeypatch.context() as patch:
            patch.setattr(plan, "slices", lambda *_: {})
            wanted = plain(x)
        np.testing.assert_array_equal(sliced(x), wanted)
    assert (joints(plain), joints(sliced)) == (3, 0)


def test_what_takes_more_memory_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the joint is kept while what lies between is computed, where that takes as much as what is joined."""
    graph = traced(around)
    plain, sliced = without_slices(monkeypatch, graph), tg.compile(graph)
    with monkeypatch.context() as patch:
        patch.setattr(plan, "_takes_more", lambda *_: False)
        forced = tg.compile(graph)
    kept = forced if forced.memory.total <= plain.memory.total else plain
    assert sliced.memory == kept.memory


def test_branches_take_no_more_memory_than_their_joint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the input there is only the result, which the branches would else lie beside."""
    graph = traced(lambda net, x: net.conv(ops.concat([net.conv(net.conv(x), 16, 1), net.conv(x, 16, 1)], 1), 5))
    plain, sliced = without_slices(monkeypatch, graph, threads=1), tg.compile(graph, threads=1)
    assert (joints(plain), joints(sliced)) == (1, 0)
    assert sliced.memory.activations < plain.memory.activations
    assert sliced.memory.total <= plain.memory.total

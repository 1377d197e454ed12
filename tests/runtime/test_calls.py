"""What calls take: as much memory as was planned, no more from call to call, and no fresh pages."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.sessions import F32
from tests.test_memory import traced_peak
from tinygraph import nn, ops
from tinygraph.ir import Array, TensorType
from tinygraph.nn import functional as F
from tinygraph.ops.base import Op, apply, family, no_flops, no_macs, not_differentiable, not_in_onnx
from tinygraph.training import TrainStep


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 4)

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.bn1(self.conv1(x)))
        y = ops.relu(self.bn2(self.conv2(y)) + y)
        y = ops.max_pool(y, 2)
        return self.fc(ops.mean(y, (2, 3)))


BATCH = 16
X = np.random.default_rng(0).standard_normal((BATCH, 3, 32, 32)).astype(F32)
Y = np.arange(BATCH) % 4


def train_step(optimizer: tg.optim.Optimizer) -> TrainStep:
    return tg.train_step(Net(), optimizer, F.cross_entropy, [tg.Spec(X.shape), tg.Spec((BATCH,), np.int64)])


@pytest.mark.parametrize("optimizer", [tg.optim.SGD(0.01, momentum=0.9), tg.optim.Adam()])
def test_a_training_step_takes_what_was_planned(optimizer: tg.optim.Optimizer) -> None:
    train_step(optimizer)(X, Y)  # what the first call of a process takes is not this one's
    step = train_step(optimizer)
    memory = step.memory
    everything = sum(v.type.nbytes for node in step.graph.nodes for v in node.outputs)
    assert memory.activations < 0.7 * everything
    planned = memory.activations + memory.workspace
    assert planned * 0.95 < traced_peak(step, X, Y) < planned * 1.05


@family
class Plain(Op):
    """x + 1, by a kernel that allocates its result."""

    name = "plain"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("it is a test")
    to_onnx = not_in_onnx("it is a test")

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        return x + 1


def test_what_plain_kernels_allocate_goes_when_nobody_needs_it() -> None:
    def fn(x: Any) -> Any:
        for _ in range(6):
            x = ops.transpose(apply(Plain(), x))
        return x

    run = tg.compile(fn, tg.Spec((300, 300)), passes="none")
    array = 300 * 300 * 4
    assert run.memory.activations == 2 * array
    assert 2 * array <= traced_peak(run, np.zeros((300, 300), F32)) < 2.1 * array


def test_memory_stays_flat_over_many_calls() -> None:
    step = train_step(tg.optim.Adam())
    run = tg.compile(Net(), tg.Spec(X.shape))
    for _ in range(3):
        step(X, Y), run(X)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            step(X, Y), run(X)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()


def test_threads_get_an_arena_each_and_use_them_again() -> None:
    run = tg.compile(Net(), tg.Spec(X.shape))
    want = run(X)
    barrier = threading.Barrier(3)

    def work(_: int) -> None:
        barrier.wait(10)
        for _ in range(5):
            np.testing.assert_array_equal(run(X), want)

    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(work, range(3)))
    assert 1 <= len(run._arenas.spare) <= 3


def test_batches_of_all_sizes_share_an_arena() -> None:
    run = tg.compile(Net(), tg.Spec(("N", *X.shape[1:])))
    want = {n: run(X[:n]) for n in (3, 16, 1, 2, 16)}
    (arena,) = run._arenas.spare
    largest = tg.compile(Net(), tg.Spec(X.shape)).memory
    assert arena.memory.nbytes < largest.total
    for n in (16, 3, 2, 1, 16):
        arena.memory.fill(255)
        np.testing.assert_array_equal(run(X[:n]), want[n])
    assert run._arenas.spare == [arena]
    assert len(arena.frames) == 4
    for n in range(4, 11):
        run(X[:n])
    gc.collect()
    assert len(arena.frames) == 8  # as many as there are plans


def test_a_failed_call_loses_no_arena() -> None:
    run = tg.compile(lambda x: ops.log(ops.relu(x) + 1), tg.Spec((2, 2)), passes="none")
    run(np.ones((2, 2), F32))
    (plan,) = run._plans.values()
    (arena,) = run._arenas.spare
    with pytest.raises(Exception, match=r"add|broadcast|shape"):
        plan.run([np.ones((3, 3), F32)])
    assert run._arenas.spare == [arena]
    np.testing.assert_allclose(run(np.ones((2, 2), F32)), np.log(2), rtol=1e-6)

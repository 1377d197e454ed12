"""Sessions in processes that are forked, whatever the other threads of the parent are doing at that moment."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.forks import in_child
from tests.runtime.test_calls import Net
from tests.runtime.test_state import stateful
from tests.sessions import F32
from tests.test_threads import blas_threads
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import Op, Prepared, apply, family, no_flops, no_macs, not_differentiable, not_in_onnx
from tinygraph.runtime.session import Session
from tinygraph.runtime.threads import limit

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

X = np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype(F32)


@pytest.fixture(scope="module")
def run() -> Session:
    return tg.compile(Net(), tg.Spec(("N", *X.shape[1:])), threads=2)


@contextmanager
def meanwhile(work: Callable[[threading.Event], object]) -> Iterator[None]:
    """Something runs in another thread, until the event that it is given."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


def test_a_child_calls_a_session_of_its_parent(run: Session) -> None:
    want = run(X)

    def child() -> None:
        np.testing.assert_array_equal(run(X), want)
        np.testing.assert_allclose(run(X[:3]), want[:3], rtol=1e-5, atol=1e-6)
        in_child(lambda: np.testing.assert_array_equal(run(X), want))

    in_child(child)
    np.testing.assert_array_equal(run(X), want)


def test_a_child_that_is_forked_while_others_call(run: Session) -> None:
    want = run(X)
    calls = []

    def call(stop: threading.Event) -> None:
        while not stop.is_set():
            calls.append(np.array_equal(run(X), want))

    before = blas_threads()

    def child() -> None:
        assert blas_threads() == before
        for _ in range(3):
            np.testing.assert_array_equal(run(X), want)
        assert blas_threads() == before

    with meanwhile(call), meanwhile(call):
        for _ in range(15):
            in_child(child)
    assert len(calls) > 2
    assert all(calls)


_run: Session | None = None


def _call(n: int) -> Array:
    assert _run is not None
    result: Array = _run(X[:n])
    return result


def test_a_pool_of_processes(run: Session) -> None:
    global _run
    _run = run
    want = [run(X[:n]) for n in (1, 2, 3, 1)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(_call, (1, 2, 3, 1)).get(60)
    for y, expected in zip(found, want, strict=True):
        np.testing.assert_array_equal(y, expected)


def test_blas_has_its_threads_again_in_a_child() -> None:
    before = blas_threads()
    inside, forked = threading.Event(), threading.Event()

    def other(_: threading.Event) -> None:
        with limit(1):
            inside.set()
            forked.wait(60)

    def child() -> None:
        assert blas_threads() == before
        with limit(1):
            assert set(blas_threads()) <= {1}
        assert blas_threads() == before

    with meanwhile(other):
        assert inside.wait(60)
        in_child(child)
        with limit(1):
            in_child(lambda: np.testing.assert_array_equal(blas_threads(), 1))
        forked.set()
    assert blas_threads() == before


_reached, _proceed = threading.Event(), threading.Event()


@family
class Waiting(Op):
    """x + 1, which the thread that is called "waits" takes its time for."""

    name = "waiting"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("it is a test")
    to_onnx = not_in_onnx("it is a test")
    planning: bool = False

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        self.wait(not self.planning)
        return x + np.ones((), x.dtype)

    def lower(self, types: Any, constants: Any, workers: int) -> Prepared | None:
        self.wait(self.planning)
        return None

    def wait(self, here: bool) -> None:
        """Waits for the test, in its thread."""
        if here and threading.current_thread().name == "waits":
            _reached.set()
            assert _proceed.wait(60)


@contextmanager
def waiting(call: Callable[[], object]) -> Iterator[None]:
    """Another thread makes a call and waits within it."""
    for event in (_reached, _proceed):
        event.clear()
    thread = threading.Thread(target=call, name="waits")
    thread.start()
    try:
        assert _reached.wait(60)
        yield
    finally:
        _proceed.set()
        thread.join(60)
    assert not thread.is_alive()


def test_a_child_that_is_forked_while_another_thread_plans() -> None:
    run = tg.compile(lambda x: apply(Waiting(planning=True), x), tg.Spec(("N",)), passes="none")
    x = np.arange(5, dtype=F32)
    with waiting(lambda: run(x)):
        in_child(lambda: np.testing.assert_array_equal(run(x), x + 1))
    np.testing.assert_array_equal(run(x), x + 1)


def test_a_child_that_is_forked_while_another_thread_changes_state() -> None:
    run, state = stateful(lambda x, w: {"w": apply(Waiting(), w + x)}, {"x": (1,)}, w=np.zeros(1, F32))
    x = np.ones(1, F32)
    with waiting(lambda: run(x)):
        in_child(lambda: run(x))
    run(x)
    np.testing.assert_array_equal(state["w"], [4])

"""Several threads in one session, and the threads of BLAS."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

import tinygraph as tg
from tests.sessions import F32, Scratchy, arange, session, small_net
from tinygraph.ir import Array, Graph, TensorType
from tinygraph.ops.base import Op, apply, family, no_flops, no_macs, not_differentiable, not_in_onnx
from tinygraph.runtime.threads import available, limit


@pytest.fixture(scope="module")
def net() -> Graph:
    return small_net()


@family
class Asking(Op):
    """Tells how many threads BLAS has, or fails with that number."""

    name = "asking"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("it is a test")
    to_onnx = not_in_onnx("it is a test")
    fail: bool = False

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        if self.fail:
            raise ValueError(str(blas_threads()))
        return np.full_like(x, max(blas_threads()))


def test_several_threads_call_one_session(net: Graph) -> None:
    run = tg.compile(net)
    scratchy = session(lambda x: apply(Scratchy(800), apply(Scratchy(800), x)), ("N",))
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((n % 3 + 1, 2, 8, 8)).astype(F32) for n in range(40)]
    want = [run(x) for x in xs]
    barrier = threading.Barrier(8)

    def work(k: int) -> None:
        barrier.wait(10)
        for i in range(k, 40, 8):
            np.testing.assert_allclose(run(xs[i]), want[i], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(scratchy(np.full(i + 1, i, F32)), np.full(i + 1, i + 2))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def blas_threads() -> list[int]:
    controller = ThreadpoolController().select(user_api="blas")
    return [library.num_threads for library in controller.lib_controllers]


@pytest.fixture
def found() -> Iterator[list[int]]:
    before = blas_threads()
    if not before:
        pytest.skip("no BLAS whose threads could be set")
    yield before
    assert blas_threads() == before


def test_blas_has_one_thread_during_a_call_and_its_own_number_after_it(found: list[int]) -> None:
    graph = tg.trace(lambda x: apply(Asking(), x), tg.Spec((1,)))
    assert tg.compile(graph, passes="none", threads=1)(arange(1)) == 1
    assert tg.compile(graph, passes="none", threads=2)(arange(1)) == 1
    assert tg.compile(graph, passes="none").threads == available()


def test_threads_are_put_back_after_an_error(found: list[int]) -> None:
    graph = tg.trace(lambda x: apply(Asking(fail=True), x), tg.Spec((1,)))
    with pytest.raises(ValueError, match=r"\[1"):
        tg.compile(graph, passes="none", threads=1)(arange(1))


def test_overlapping_limits(found: list[int]) -> None:
    outer, inner = limit(1), limit(2)
    with outer:
        with inner:
            assert set(blas_threads()) == {2}
        assert set(blas_threads()) == {1}
    outer.__enter__()
    inner.__enter__()
    outer.__exit__()
    assert set(blas_threads()) == {2}
    inner.__exit__()


def test_any_thread_may_limit(found: list[int]) -> None:
    inner: list[list[int]] = []

    def other() -> None:
        with limit(1):
            inner.append(blas_threads())

    with limit(1):  # this thread was the first one
        pass
    for _ in range(2):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(10)
    assert [set(threads) for threads in inner] == [{1}, {1}]


def test_the_last_to_leave_puts_back_what_another_thread_found(found: list[int]) -> None:
    first = limit(1)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with limit(1):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    first.__enter__()
    thread.start()
    assert inside.wait(10)
    first.__exit__()
    assert set(blas_threads()) == {1}
    leave.set()
    thread.join(10)


def test_others_may_limit_after_a_call(found: list[int]) -> None:
    inner: list[list[int]] = []

    def other() -> None:
        with threadpool_limits(1, user_api="blas"):
            inner.append(blas_threads())

    with limit(1):
        pass
    thread = threading.Thread(target=other)
    thread.start()
    thread.join(10)
    assert [set(threads) for threads in inner] == [{1}]

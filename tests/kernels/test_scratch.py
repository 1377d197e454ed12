"""Scratch memory, and what is bound to it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from weakref import ref

import numpy as np
import pytest

from tinygraph.kernels.scratch import Array, Bound, allocate


class Kernel:
    """Binds views of memory."""

    def __init__(self) -> None:
        self.made: list[Array] = []
        self.bound = Bound(self._bind)

    def _bind(self, memory: Array) -> Array:
        self.made.append(memory[:1])
        return memory[1:]


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_it_is_made_once_for_each_memory() -> None:
    kernel = Kernel()
    a, b = np.zeros(4), np.ones(4)
    found = [kernel.bound(memory) for memory in (a, a, b, b, a)]
    assert len(kernel.made) == 2
    assert found[0] is found[1] is found[4]
    assert found[2] is found[3]
    np.testing.assert_array_equal(found[2], 1)


def test_a_function_will_do() -> None:
    bound = Bound(lambda memory: memory.size)
    assert bound(np.zeros(3)) == 3


def test_it_goes_with_the_memory() -> None:
    kernel = Kernel()
    whole = allocate(64)
    memory = whole[:32]
    gone = ref(whole.base)
    kernel.bound(memory)
    kernel.made.clear()
    del whole
    assert gone() is not None
    del memory
    assert gone() is None


def test_memory_at_the_place_of_another_is_not_taken_for_it() -> None:
    kernel = Kernel()
    for i in range(20):
        assert kernel.bound(np.full(3, i))[0] == i


def test_a_kernel_goes_without_the_collector() -> None:
    kernel = Kernel()
    memory = np.zeros(4)
    kernel.bound(memory)
    gone = ref(kernel)
    del kernel
    assert gone() is None
    del memory  # whose end nobody is told of any more


def test_allocated_memory_begins_on_a_cache_line() -> None:
    for nbytes in (1, 64, 1000):
        memory = allocate(nbytes)
        assert memory.nbytes == nbytes
        assert memory.ctypes.data % 64 == 0

"""Packed weights: made once, shared by all who read the same one, gone with the last of them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinygraph.kernels import packed as module
from tinygraph.kernels.packed import packed
from tinygraph.kernels.scratch import Array, allocate


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    gc.collect()


def weight(*shape: int) -> Array:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape).copy()
    array.flags.writeable = False
    return array


def entries() -> int:
    return len(module._copies)


def doubled(w: Array) -> Callable[[], Array]:
    return lambda: w * 2


def test_it_is_made_once() -> None:
    w = weight(3, 4)
    first, second = packed(w, "twice", doubled(w)), packed(w, "twice", doubled(w))
    assert np.shares_memory(first, second)
    np.testing.assert_array_equal(second, w * 2)


def test_another_way_or_another_array_is_another_copy() -> None:
    w, v = weight(3, 4), weight(3, 4)
    copies = [packed(w, how, doubled(w)) for how in ("a", "b", ("a", 1))] + [packed(v, "a", doubled(v))]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(copies) for b in copies[:i])


def test_views_made_anew_are_the_same_array() -> None:
    w = weight(4, 6)
    first, again = (packed(w.reshape(2, 2, 6)[:1].reshape(2, 6), "twice", doubled(w[:2])) for _ in range(2))
    assert np.shares_memory(first, again)
    others = [packed(v, "twice", doubled(v)) for v in (w[:2].T, w[2:], w[:2, :3], w[:2].view(np.int32), w)]
    assert not any(np.shares_memory(first, other) for other in others)
    np.testing.assert_array_equal(others[0], w[:2].T * 2)


def test_nobody_may_write_to_it() -> None:
    w = weight(3)
    base = np.zeros(3)
    for result in (packed(w, "a", doubled(w)), packed(w, "b", lambda: base[::-1]), packed(w, "b", doubled(w)), base):
        assert not result.flags.writeable


def test_what_may_change_is_not_remembered() -> None:
    w = np.ones(3)
    view = w[:]
    view.flags.writeable = False
    for array in (w, view):
        first = packed(array, "twice", doubled(array))
        assert not first.flags.writeable
        w += 1
        second = packed(array, "twice", doubled(array))
        assert not np.shares_memory(first, second)
        np.testing.assert_array_equal(second, w * 2)


def test_a_copy_goes_with_the_last_who_has_it() -> None:
    before = entries()
    w = weight(3, 4)
    first = packed(w, "twice", doubled(w))
    second = packed(w, "twice", doubled(w))
    assert entries() == before + 1
    del first
    assert np.shares_memory(second, packed(w, "twice", doubled(w)))
    del second
    assert entries() == before


def test_a_copy_is_not_found_again_when_its_array_is_gone() -> None:
    before = entries()
    w = weight(3, 4)
    kept = packed(w, "twice", doubled(w))
    del w
    assert entries() == before
    assert kept[0, 1] == 2


MAKERS: dict[str, Callable[[Array], Array]] = {
    "new": lambda w: w * 2,
    "transposed": lambda w: (w * 2).T,
    "Fortran order": lambda w: np.asfortranarray(w * 2),
    "axes moved": lambda w: np.moveaxis(np.empty_like(w[np.newaxis].transpose(1, 0, 2)) * 0 + w[:, np.newaxis], 2, 0),
    "reversed part": lambda w: (w * 2)[::-1, 1::2],
    "aligned bytes": lambda w: _aligned(w),
    "itself": lambda w: w,
    "a view of itself": lambda w: w[1:, ::2],
    "nothing": lambda w: w[:0] * 2,
}


def _aligned(w: Array) -> Array:
    made: Array = allocate(w.nbytes).view(w.dtype).reshape(w.shape)
    made[...] = w * 2
    return made


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_a_view_of_a_copy_is_enough_to_share_it(make: Callable[[Array], Array]) -> None:
    w = weight(4, 6)
    asked = []

    def made() -> Array:
        asked.append(1)
        return make(w)

    view = packed(w, "how", made)[..., 1:]
    gc.collect()
    again = packed(w, "how", made)
    assert len(asked) == 1
    np.testing.assert_array_equal(again, make(w))
    np.testing.assert_array_equal(again[..., 1:], view)
    assert again.strides == make(w).strides
    assert np.shares_memory(again, view) or not view.size


def test_threads_may_ask_at_once() -> None:
    arrays = [weight(50) + np.float32(i) for i in range(20)]
    for array in arrays:
        array.flags.writeable = False

    def work(_: int) -> None:
        for _ in range(20):
            for array in arrays:
                np.testing.assert_array_equal(packed(array, "twice", doubled(array)), array * 2)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    gc.collect()
    assert not any(copy.source() is array for copy in module._copies.values() for array in arrays)

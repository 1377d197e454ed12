"""Batches: their order, epochs taken up again, and the thread that makes them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tests.data_loading.test_dataset import numbered
from tinygraph import data
from tinygraph.errors import UsageError
from tinygraph.ir import Array

Batches = list[tuple[Array, Array]]


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("tinygraph-loader")]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not loader_threads()


def noise(images: Array, rng: np.random.Generator) -> Array:
    return images + rng.standard_normal(images.shape, np.float32)


def firsts(batches: Batches) -> list[float]:
    return [float(image[0, 0, 0]) for x, _ in batches for image in x]


def assert_same(a: Batches, b: Batches) -> None:
    assert len(a) == len(b)
    for (x, y), (u, v) in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)


def test_an_epoch_has_each_image_once() -> None:
    loader = data.Loader(numbered(7, 6), 4)
    batches = list(loader.epoch(0))
    assert [len(y) for _, y in batches] == [4, 4, 4, 1]
    assert len(loader) == 4
    assert sorted(firsts(batches)) == list(range(13))
    assert firsts(batches) != list(range(13))
    assert all((y == (x[:, 0, 0, 0] >= 7)).all() for x, y in batches)


def test_a_last_batch_that_is_not_full_can_be_dropped() -> None:
    assert [len(y) for _, y in data.Loader(numbered(13), 4, drop_last=True).epoch(0)] == [4, 4, 4]
    assert len(data.Loader(numbered(12), 4, drop_last=True)) == len(data.Loader(numbered(12), 4)) == 3


def test_without_shuffling_the_order_is_the_sets_own() -> None:
    loader = data.Loader(numbered(13), 4, shuffle=False)
    assert firsts(list(loader.epoch(3))) == list(range(13))


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    def batches(seed: int, epoch: int) -> Batches:
        return list(data.Loader(numbered(20), 6, seed=seed, augment=noise).epoch(epoch))

    loader = data.Loader(numbered(20), 6, seed=1, augment=noise)
    for epoch in (5, 0, 5):  # whatever was drawn before
        assert_same(list(loader.epoch(epoch)), batches(1, epoch))
    assert firsts(batches(1, 0)) != firsts(batches(1, 1))
    assert firsts(batches(1, 0)) != firsts(batches(2, 0))


@pytest.mark.parametrize("skip", [0, 1, 3, 4, 9])
def test_an_epoch_can_be_taken_up_in_the_middle(skip: int) -> None:
    loader = data.Loader(numbered(20), 6, seed=1, augment=noise)
    assert_same(list(loader.epoch(2, skip)), list(loader.epoch(2))[skip:])


def test_the_images_of_a_batch_are_augmented_differently() -> None:
    (x, _), *_ = data.Loader(data.arrays(np.zeros((8, 1, 2, 2)), np.zeros(8, int)), 8, augment=noise).epoch(0)
    assert len(np.unique(x)) == x.size


def test_batches_are_made_on_another_thread_a_few_ahead() -> None:
    made: list[str] = []

    def note(images: Array, rng: np.random.Generator) -> Array:
        made.append(threading.current_thread().name)
        return images

    epoch = data.Loader(numbered(100), 1, augment=note).epoch(0)
    assert not loader_threads()
    next(epoch)
    assert len(loader_threads()) == 1
    for _ in range(10):
        next(epoch)
    assert 11 <= len(made) <= 14
    assert all(name.startswith("tinygraph-loader") for name in made)
    del epoch  # as a loop does that is left early


def test_an_error_of_the_reader_ends_the_thread() -> None:
    def read() -> None:
        for _ in data.Loader(numbered(100), 1).epoch(0):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read()
    assert not loader_threads()


def test_an_error_of_the_thread_reaches_the_reader_in_its_turn() -> None:
    def third_is_damaged(images: Array, rng: np.random.Generator) -> Array:
        if images[0, 0, 0, 0] == 2:
            raise UsageError("damaged")
        return images

    epoch = data.Loader(numbered(9), 1, shuffle=False, augment=third_is_damaged).epoch(0)
    assert [next(epoch)[0].item(0) for _ in range(2)] == [0, 1]
    with pytest.raises(UsageError, match="damaged"):
        next(epoch)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: data.Loader(numbered(3), 0), "batch_size=0"),
        (lambda: data.Loader(numbered(3), 4, drop_last=True), "the set has 3 images, a batch 4"),
        (lambda: data.Loader(numbered(3), 1).epoch(-1), "epoch -1"),
        (lambda: data.Loader(numbered(3), 1).epoch(0, -1), "-1 batches skipped"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(call: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()  # type: ignore[operator]

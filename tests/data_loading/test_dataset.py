"""Sets of arrays, and their stratified division."""

from __future__ import annotations

import numpy as np
import pytest

from tinygraph import data
from tinygraph.errors import UsageError


def numbered(*counts: int) -> data.Dataset:
    """A set with so many images of each class; image i is full of i."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return data.arrays(np.arange(len(labels)).reshape(-1, 1, 1, 1) * np.ones((1, 2, 3)), labels)


def test_a_batch_has_the_images_in_the_order_that_was_asked_for() -> None:
    dataset = numbered(3, 2)
    x, y = dataset.batch(np.array([4, 0, 4]))
    assert x.shape == (3, 1, 2, 3)
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    assert x[:, 0, 0, 0].tolist() == [4, 0, 4]
    assert y.tolist() == [1, 0, 1]
    assert (len(dataset), dataset.classes) == (5, ("0", "1"))


@pytest.mark.parametrize(
    ("x", "y", "classes", "said"),
    [
        (np.zeros((3, 2)), [0, 1], None, r"images \[3, 2\] and labels \[2\]"),
        (np.zeros((0, 2)), [], None, r"images \[0, 2\] and labels \[0\]"),
        (np.zeros((2, 2)), [[0], [1]], None, "give one label for each"),
        (np.zeros((2, 2)), [0.0, 1.0], None, "labels float64: give numbers and whole numbers"),
        (np.array([["a"], ["b"]]), [0, 1], None, "images are <U1"),
        (np.zeros((2, 2)), [0, 2], ["a", "b"], "labels go from 0 to 2; 2 classes go from 0 to 1"),
        (np.zeros((2, 2)), [-1, 0], None, "labels go from -1"),
    ],
)
def test_what_is_no_set_is_refused(x: object, y: object, classes: list[str] | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        data.arrays(x, y, classes)


def test_a_split_parts_each_class_in_the_same_ratio() -> None:
    train, held_out = data.split(numbered(50, 10, 5), held_out=0.2)
    assert np.bincount(train.labels).tolist() == [40, 8, 4]
    assert np.bincount(held_out.labels).tolist() == [10, 2, 1]
    both = np.concatenate([part.images[:, 0, 0, 0] for part in (train, held_out)])
    assert sorted(both) == list(range(65))
    assert train.classes == held_out.classes == ("0", "1", "2")


def test_a_split_depends_on_the_seed_and_on_the_class_alone() -> None:
    def held_out(dataset: data.Dataset, seed: int) -> list[int]:
        return sorted(data.split(dataset, seed=seed)[1].images[:, 0, 0, 0].astype(int).tolist())

    assert held_out(numbered(50, 50), 1) == held_out(numbered(50, 50), 1)
    assert held_out(numbered(50, 50), 1) != held_out(numbered(50, 50), 2)
    assert held_out(numbered(50, 50), 1)[:10] == held_out(numbered(50, 7), 1)[:10]
    assert len(held_out(numbered(50, 50), -1)) == 20


def test_small_classes_are_on_both_sides() -> None:
    train, held_out = data.split(numbered(1, 2, 3), held_out=0.01)
    assert np.bincount(train.labels).tolist() == [1, 1, 2]
    assert np.bincount(held_out.labels, minlength=3).tolist() == [0, 1, 1]
    train, held_out = data.split(numbered(2), held_out=0.99)
    assert (len(train), len(held_out)) == (1, 1)


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(UsageError, match="give a share between 0 and 1"):
        data.split(numbered(5), share)


def test_a_set_that_cannot_be_parted_says_so() -> None:
    with pytest.raises(UsageError, match="no class has two images"):
        data.split(numbered(1, 1))

"""Folders of images: what is taken, what is passed over, and what is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.data_loading.pictures import ramp, save
from tinygraph import data
from tinygraph.data.image import Preprocessing
from tinygraph.errors import UsageError


def test_sub_folders_are_the_classes(tmp_path: Path) -> None:
    files = [
        save(tmp_path / "dog" / "1.png", ramp(20, 30)),
        save(tmp_path / "dog" / "2.JPG", ramp(40, 20)),
        save(tmp_path / "cat" / "1.png", ramp(8, 8)[..., 0]),
    ]
    dataset = data.image_folder(tmp_path, (8, 10))
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 1, 1]
    assert dataset.images.shape == (3, 3, 8, 10)
    x, y = dataset.batch(np.array([1, 0, 2]))
    assert (x.shape, x.dtype, y.tolist()) == ((3, 3, 8, 10), np.float32, [1, 0, 1])
    read = Preprocessing.of(3, (8, 10))  # as by `tinygraph run`
    np.testing.assert_array_equal(x, np.concatenate([read(files[i]) for i in (0, 2, 1)]))
    assert data.image_folder(tmp_path, (8, 8), channels=1).batch(np.arange(3))[0].shape == (3, 1, 8, 8)


def test_what_is_hidden_or_not_named_like_an_image_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path / "a" / "image.png", ramp(8, 8))
    save(tmp_path / "a" / ".hidden.png", ramp(8, 8))
    save(tmp_path / ".cache" / "image.png", ramp(8, 8))
    save(tmp_path / "a" / "folder.png" / "image.png", ramp(8, 8))
    (tmp_path / "a" / "notes.txt").write_text("text")
    (tmp_path / "a" / "page.eps").write_text("a format that Pillow hands to another program")
    (tmp_path / "labels.csv").write_text("text")
    dataset = data.image_folder(tmp_path, (8, 8))
    assert (len(dataset), dataset.classes) == (1, ("a",))


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none is no folder"):
        data.image_folder(tmp_path / "none", (8, 8))
    with pytest.raises(UsageError, match="has no sub-folders"):
        data.image_folder(tmp_path, (8, 8))
    save(tmp_path / "a" / "image.png", ramp(8, 8))
    (tmp_path / "b").mkdir()
    with pytest.raises(UsageError, match="b has no images"):
        data.image_folder(tmp_path, (8, 8))
    with pytest.raises(UsageError, match="channels is 2"):
        data.image_folder(tmp_path, (8, 8), channels=2)


def test_a_damaged_image_is_named_when_its_batch_is_made(tmp_path: Path) -> None:
    save(tmp_path / "a" / "good.png", ramp(8, 8))
    (tmp_path / "a" / "text.png").write_text("text")
    dataset = data.image_folder(tmp_path, (8, 8))
    assert len(dataset.batch(np.array([0]))[0]) == 1
    with pytest.raises(UsageError, match=r"text\.png is no image"):
        list(data.Loader(dataset, 2).epoch(0))


def test_a_division_leaves_the_files_unread(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(5):
            save(tmp_path / name / f"{number}.png", np.full((8, 8), 50 * number, np.uint8))
    train, held_out = data.split(data.image_folder(tmp_path, (8, 8), channels=1))
    assert (len(train), len(held_out)) == (8, 2)
    assert not isinstance(train.images, np.ndarray)
    everything = np.concatenate([part.batch(np.arange(len(part)))[0] for part in (train, held_out)])
    levels = np.rint(everything[:, 0, 0, 0] * 255).astype(int)
    assert sorted(levels) == sorted([0, 50, 100, 150, 200] * 2)


def test_no_more_than_a_few_batches_are_in_memory(tmp_path: Path) -> None:
    for number in range(40):
        save(tmp_path / "a" / f"{number}.png", np.zeros((256, 256), np.uint8))
    loader = data.Loader(data.image_folder(tmp_path, (256, 256)), 2)
    whole = 40 * 3 * 256 * 256 * 4
    tracemalloc.start()
    try:
        for _ in loader.epoch(0):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < whole / 3

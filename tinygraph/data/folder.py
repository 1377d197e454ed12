"""Labelled images in a folder: one sub-folder for each class."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.data.dataset import Dataset
from tinygraph.errors import UsageError
from tinygraph.ir import Array

if TYPE_CHECKING:
    from tinygraph.data.image import Preprocessing


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images that stay in their files until they are asked for: only one batch is in memory.

    Attributes:
        paths: the files.
        read: makes an image of a file, float32 [1, C, H, W].
    """

    paths: tuple[Path, ...]
    read: Preprocessing

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.paths), len(self.read.mean), *self.read.crop)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Array) -> Array:
        """The images at these places, [len(indices), C, H, W]."""
        images = np.empty((len(indices), *self.shape[1:]), np.float32)
        for image, index in zip(images, indices, strict=True):
            image[...] = self.read(self.paths[index])[0]
        return images

    def subset(self, indices: Array) -> ImageFiles:
        """The files at these places."""
        return replace(self, paths=tuple(self.paths[index] for index in indices))


def image_folder(path: str | os.PathLike[str], size: tuple[int, int], channels: int = 3) -> Dataset:
    """The images of a folder, each in the sub-folder that is named like its class.

    Classes and files are in the order of their names. What is hidden, and files that are not
    named like an image, are passed over. An image is turned upright (EXIF), resized, cropped
    and normalized as by `tinygraph run`, when its batch is asked for.

    Args:
        path: a folder of folders.
        size: height and width of the images that come out.
        channels: 3 for RGB or 1 for grey; images of the other kind are converted.

    Raises:
        UsageError: there is no such folder, it has no sub-folder, or one has no image. Later,
            when a batch is asked for: a file cannot be read as an image.
    """
    from tinygraph.data.image import Preprocessing, suffixes  # Pillow, when it is needed

    read = Preprocessing.of(channels, size)
    root = Path(path)
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; give one with a sub-folder of images for each class")
    folders = [folder for folder in _visible(root) if folder.is_dir()]
    if not folders:
        raise UsageError(f"{root} has no sub-folders; put the images of each class into one")
    endings = suffixes()
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        images = [file for file in _visible(folder) if file.suffix.lower() in endings and file.is_file()]
        if not images:
            raise UsageError(f"{folder} has no images; remove the folder, or put those of its class into it")
        paths += images
        labels += [label] * len(images)
    classes = tuple(folder.name for folder in folders)
    return Dataset(ImageFiles(tuple(paths), read), np.array(labels, np.int64), classes)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))

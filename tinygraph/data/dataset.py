"""A set of labelled images, and its division into one to learn from and one to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.data.streams import stream
from tinygraph.errors import UsageError
from tinygraph.ir import Array

if TYPE_CHECKING:
    from tinygraph.data.folder import ImageFiles


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and their classes.

    Attributes:
        images: float32 [N, C, H, W], or files of which a batch is read when it is asked for.
        labels: int64 [N], places in `classes`.
        classes: the names of the classes.
    """

    images: Array | ImageFiles
    labels: Array
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Array) -> tuple[Array, Array]:
        """The images at these places and their labels, in that order."""
        return self.images[indices], self.labels[indices]

    def subset(self, indices: Array) -> Dataset:
        """The images at these places as a set of its own; files stay unread."""
        images = self.images[indices] if isinstance(self.images, np.ndarray) else self.images.subset(indices)
        return replace(self, images=images, labels=self.labels[indices])


def arrays(x: Any, y: Any, classes: Sequence[str] | None = None) -> Dataset:
    """A set of arrays.

    Args:
        x: [N, ...], images [N, C, H, W] as a rule; cast to float32.
        y: [N], whole numbers from 0.
        classes: names of the classes; by default "0", "1", ... as far as labels go.

    Raises:
        UsageError: sizes, dtypes or labels do not fit.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y) or not len(y):
        raise UsageError(f"images {list(x.shape)} and labels {list(y.shape)}: give one label for each of N images, [N]")
    if x.dtype.kind not in "fiu" or y.dtype.kind not in "iu":
        raise UsageError(f"images are {x.dtype}, labels {y.dtype}: give numbers and whole numbers")
    names = tuple(map(str, range(int(y.max()) + 1))) if classes is None else tuple(classes)
    if y.min() < 0 or y.max() >= len(names):
        raise UsageError(f"labels go from {y.min()} to {y.max()}; {len(names)} classes go from 0 to {len(names) - 1}")
    return Dataset(np.ascontiguousarray(x, np.float32), y.astype(np.int64), names)


def split(dataset: Dataset, held_out: float = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
    """(to learn from, held out): of each class the same share is held out, drawn by the seed.

    Args:
        dataset: at least one image of each class goes to either side, if it has two.
        held_out: the share that is held out, between 0 and 1.
        seed: each class is drawn by the seed and its label alone.

    Raises:
        UsageError: the share leaves nothing on one of the sides.
    """
    if not 0 < held_out < 1:
        raise UsageError(f"held_out={held_out!r}: give a share between 0 and 1, such as 0.2")
    out = np.zeros(len(dataset), bool)
    for label in range(len(dataset.classes)):
        places = np.flatnonzero(dataset.labels == label)
        count = min(max(round(held_out * len(places)), 1), len(places) - 1) if len(places) > 1 else 0
        out[stream(seed, "split", label).permutation(places)[:count]] = True
    if not out.any():
        raise UsageError("no class has two images: there is nothing to hold out")
    return dataset.subset(np.flatnonzero(~out)), dataset.subset(np.flatnonzero(out))

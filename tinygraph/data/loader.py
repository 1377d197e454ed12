"""Batches of a set, epoch by epoch, made ahead on a thread of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from tinygraph.data.augment import Augment
from tinygraph.data.dataset import Dataset
from tinygraph.data.streams import stream
from tinygraph.errors import UsageError
from tinygraph.ir import Array

T = TypeVar("T")
_AHEAD = 2  # batches: one in the making and one at hand


class Loader:
    """Gives the batches of a set in an order of its own for each epoch.

    Order and augmentation depend on the seed and the epoch's number alone, so that a run that
    was broken off sees the same batches when it is taken up again.

    Args:
        dataset: at least one image.
        batch_size: images in a batch; the last batch has what is left.
        shuffle: False gives the set's own order, in each epoch.
        seed: of order and augmentation.
        augment: changes the images of a batch; see tinygraph.data.augment.
        drop_last: leaves out a last batch that is not full.

    Raises:
        UsageError: batch_size is less than 1, or no batch is full and drop_last drops it.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        augment: Augment | None = None,
        drop_last: bool = False,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size={batch_size}: give a whole number of at least 1")
        if drop_last and batch_size > len(dataset):
            raise UsageError(f"drop_last leaves nothing: the set has {len(dataset)} images, a batch {batch_size}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.augment = augment
        self.drop_last = drop_last

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def epoch(self, number: int, skip: int = 0) -> Generator[tuple[Array, Array], None, None]:
        """The batches (images, labels) of an epoch.

        Args:
            number: of the epoch, from 0.
            skip: batches to leave out at the beginning.
        """
        if number < 0 or skip < 0:
            raise UsageError(f"epoch {number}, {skip} batches skipped: give whole numbers from 0")
        order = np.arange(len(self.dataset))
        if self.shuffle:
            stream(self.seed, "order", number).shuffle(order)
        return _ahead(lambda batch: self._batch(order, number, batch), range(skip, len(self)))

    def _batch(self, order: Array, epoch: int, batch: int) -> tuple[Array, Array]:
        start = batch * self.batch_size
        x, y = self.dataset.batch(order[start : start + self.batch_size])
        if self.augment is not None:
            x = self.augment(x, stream(self.seed, "augment", epoch, batch))
        return x, y


def _ahead(make: Callable[[int], T], numbers: Iterable[int]) -> Generator[T, None, None]:
    """make(number) for each number, in order, on one thread that is a few calls ahead of the reader.

    The thread ends with the iterator: at its end, when it is closed, when `make` raises; the
    error reaches the reader in the place of the item.
    """
    with ThreadPoolExecutor(1, "tinygraph-loader") as thread:
        begun: deque[Future[T]] = deque()
        try:
            for number in numbers:
                begun.append(thread.submit(make, number))
                if len(begun) > _AHEAD:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()

"""Maps with the channels last, some rows at a time."""

from __future__ import annotations

from dataclasses import dataclass

from tinygraph.kernels.workers import shares

# What a block reads and makes at any one time should stay in the second-level cache of a core (1 to 2 MiB), ...
_BLOCK_BYTES = 1 << 21
# ... but threads that are done soon spend their time waiting for the interpreter.
_WORTH_SHARING = 1 << 18  # numbers


@dataclass(frozen=True)
class Block:
    """Some rows, along the first spatial axis, of some images: all rows, or those of one image.

    Of a map; or of the tiles of one, which may be some rows of several images.
    """

    images: slice
    rows: slice

    @property
    def shape(self) -> tuple[int, int]:
        """How many images and rows."""
        return self.images.stop - self.images.start, self.rows.stop - self.rows.start


def worth(numbers: int, workers: int) -> int:
    """How many threads maps of so many numbers are worth, where each is met a few times."""
    return workers if numbers >= _WORTH_SHARING else 1


def teams(batch: int, rows: int, bytes_of_row: int, workers: int, fewest: int = 1) -> list[list[Block]]:
    """The blocks that each thread does, one after the other.

    Args:
        batch: images.
        rows: of each of them, along the first spatial axis.
        bytes_of_row: what is read, made and kept in between for one.
        workers: threads that may be used.
        fewest: rows of a block, if there are so many.
    """
    fitting = max(_BLOCK_BYTES // bytes_of_row, fewest)
    if fitting >= rows and batch >= workers:
        images = -(-batch // (fitting // rows))
        found = [Block(n, slice(0, rows)) for n in shares(batch, _multiple(images, workers))]
    else:
        parts = -(-rows // fitting)
        parts = parts if batch % workers == 0 else _multiple(parts, workers)
        found = [Block(slice(n, n + 1), r) for n in range(batch) for r in shares(rows, parts)]
    return [found[share] for share in shares(len(found), workers)]


def _multiple(count: int, of: int) -> int:
    """The count, rounded up to a multiple."""
    return -(-count // of) * of

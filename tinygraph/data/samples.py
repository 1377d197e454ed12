"""The data that scikit-learn brings along: small handwritten digits, and two photographs.

The files are read from its folder: importing scikit-learn takes seconds, the digits 20 ms.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np

from tinygraph.data.dataset import Dataset, arrays
from tinygraph.data.streams import stream
from tinygraph.errors import UsageError
from tinygraph.ir import Array

_PHOTOGRAPHS: tuple[str, ...] = ("china", "flower")
_ROTATIONS: tuple[str, ...] = ("0", "90", "180", "270")


def digits() -> Dataset:
    """1,797 grey images of handwritten digits, 8 x 8, with values from 0 to 1.

    Source: E. Alpaydin and C. Kaynak 1998, Optical Recognition of Handwritten Digits, UCI
    Machine Learning Repository; the test part of it.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    with gzip.open(_file("data/digits.csv.gz")) as file:
        table = np.loadtxt(file, np.uint8, delimiter=",")
    return arrays(table[:, :64].reshape(-1, 1, 8, 8) / 16, table[:, 64])


def sample_patches(size: int = 32, label: Literal["image", "rotation"] = "image", seed: int = 0) -> Dataset:
    """The tiles of two photographs, 427 x 640 each, a temple and a flower: 520 of 32 x 32.

    Tiles do not overlap, so that those held out have not been seen. Pixels are normalized with
    ImageNet's mean and deviation.

    Args:
        size: rows and columns of a tile.
        label: "image": which of the two it is of. "rotation": by how many degrees it has been
            turned to the left, 0, 90, 180 or 270 (Gidaris et al. 2018, arXiv:1803.07728).
        seed: draws the rotations.

    Raises:
        UsageError: scikit-learn is not installed, the size does not fit, or there is no such label.
    """
    from tinygraph.data.image import Preprocessing

    if label not in ("image", "rotation"):
        raise UsageError(f"label={label!r}: choose 'image' or 'rotation'")
    photographs = [_photograph(_file(f"images/{name}.jpg")) for name in _PHOTOGRAPHS]
    if not 1 <= size <= min(photographs[0].shape[:2]):
        raise UsageError(f"size={size} does not fit into {photographs[0].shape[:2]} pixels")
    tiles = [tile for photograph in photographs for tile in _tiles(photograph, size)]
    if label == "rotation":
        turns = stream(seed, "rotations").integers(0, len(_ROTATIONS), len(tiles))
        tiles = [np.rot90(tile, int(turn)) for tile, turn in zip(tiles, turns, strict=True)]
        labels, classes = turns, _ROTATIONS
    else:
        labels, classes = np.arange(len(tiles)) * len(_PHOTOGRAPHS) // len(tiles), _PHOTOGRAPHS
    normalized = Preprocessing.of(3, (size, size)).normalized
    return arrays(np.concatenate([normalized(tile) for tile in tiles]), labels, classes)


def _file(name: str) -> Path:
    """A file of scikit-learn's bundled data."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise UsageError("this data comes with scikit-learn, which is not installed: pip install scikit-learn")
    path = Path(found.origin).parent / "datasets" / name
    if not path.is_file():
        raise UsageError(f"this scikit-learn has no {path}: pip install --upgrade scikit-learn")
    return path


def _photograph(path: Path) -> Array:
    import PIL.Image

    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _tiles(photograph: Array, size: int) -> list[Array]:
    rows, columns = (length // size for length in photograph.shape[:2])
    return [
        photograph[row * size : (row + 1) * size, column * size : (column + 1) * size]
        for row in range(rows)
        for column in range(columns)
    ]

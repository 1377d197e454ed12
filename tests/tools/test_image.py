"""Pictures as inputs of `tinygraph run`: options that do not fit, and files that are no pictures."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.data_loading.pictures import ramp, save
from tests.tools.command import complaint
from tinygraph.errors import UsageError
from tinygraph.tools.image import preprocessing

RGB = (1, 3, 32, 32)


def test_an_image_is_made_to_the_models_measure(tmp_path: Path) -> None:
    path = save(tmp_path / "image.png", ramp(100, 90))
    for shape in (RGB, (1, 1, 28, 28), (1, 3, 40, 200)):
        assert preprocessing(shape)(path).shape == shape
    assert preprocessing(RGB, crop=32) == preprocessing(RGB)


def test_pixels_whose_range_is_unknown_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "real.tif", np.ones((40, 40), np.float32))
    save(tmp_path / "large.tif", np.full((40, 40), 256, np.int32))
    save(tmp_path / "negative.tif", np.full((40, 40), -1, np.int32))
    for name in ("real", "large", "negative"):
        said = complaint("run", "lenet5", "--input", str(tmp_path / f"{name}.tif"))
        assert "not numbers from 0 to 255; give a .npy file" in said


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((1, 3072), {}, "takes 1x3072, which is no image"),
        ((1, 4, 8, 8), {}, "which is no image"),
        ((2, 3, 8, 8), {}, "a batch of 1, the model takes 2"),
        (RGB, {"crop": 30}, "--crop 30 does not fit the model, which takes 32x32"),
        (RGB, {"resize": 30}, "--resize 30 is less than the 32 pixels"),
        (RGB, {"mean": [1, 2]}, "--mean has 2 numbers, the image 3 channels"),
        (RGB, {"std": [1, 0, 1]}, "cannot be 0"),
        (RGB, {"std": [1e-300]}, "--std is divided by: it cannot be 0 or less"),
        (RGB, {"std": [-1]}, "cannot be 0 or less"),
        (RGB, {"mean": [1e39]}, "--mean holds a number that float32 cannot"),
        (RGB, {"scale": float("nan")}, "--scale holds a number that float32 cannot"),
    ],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        preprocessing(shape, **options)  # type: ignore[arg-type]


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def test_files_that_are_no_images_are_refused(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", ramp(40, 40)).read_bytes()
    header = (10**5).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    files = {
        "empty.png": b"",
        "text.png": b"this is a text",
        "cut.png": good[: len(good) // 2],
        "flipped.png": good[:60] + bytes(b ^ 255 for b in good[60:90]) + good[90:],
        "bomb.png": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b""),
        "page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        said = complaint("run", "lenet5", "--quiet", "--input", str(path))
        assert str(path) in said
    assert "exceeds limit" in complaint("run", "lenet5", "--quiet", "--input", str(tmp_path / "bomb.png"))
    assert "Is a directory" in complaint("run", "lenet5", "--quiet", "--input", str(tmp_path))
    assert "No such file" in complaint("run", "lenet5", "--quiet", "--input", str(tmp_path / "none.png"))

"""Pictures as inputs: orientation, sizes, numbers, and files that are no pictures."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.tools.command import complaint
from tinygraph.errors import UsageError
from tinygraph.tools.image import Preprocessing

RGB, GREY = (1, 3, 32, 32), (1, 1, 28, 28)


def save(path: Path, pixels: object, **options: object) -> Path:
    PIL.Image.fromarray(np.asarray(pixels)).save(path, **options)  # type: ignore[arg-type]
    return path


def ramp(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.zeros_like(x)], -1).astype(np.uint8)


def test_pixels_become_normal_numbers(tmp_path: Path) -> None:
    path = save(tmp_path / "plain.png", np.full((50, 40, 3), (255, 0, 51), np.uint8))
    array = Preprocessing.of(RGB)(path)
    assert array.shape == RGB
    assert array.dtype == np.float32
    want = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(array[0, :, 5, 7], want, rtol=1e-6)


def test_mean_deviation_and_scale_can_be_chosen(tmp_path: Path) -> None:
    path = save(tmp_path / "plain.png", np.full((50, 40, 3), 51, np.uint8))
    array = Preprocessing.of(RGB, mean=[10, 20, 30], std=[2], scale=255)(path)
    np.testing.assert_allclose(array[0, :, 0, 0], [20.5, 15.5, 10.5], rtol=1e-6)


def test_grey_models_take_grey(tmp_path: Path) -> None:
    path = save(tmp_path / "plain.png", np.full((50, 40, 3), (255, 255, 255), np.uint8))
    array = Preprocessing.of(GREY)(path)
    assert array.shape == GREY
    assert np.all(array == 1)


def test_sixteen_bits_are_not_clipped(tmp_path: Path) -> None:
    path = save(tmp_path / "deep.png", np.full((28, 28), 0x8000, np.uint16))
    np.testing.assert_allclose(Preprocessing.of(GREY)(path), 128 / 255, rtol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I", "LA"])
def test_every_kind_of_image_is_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode in ("CMYK", "I") else "image.png")
    PIL.Image.fromarray(ramp(40, 40)).convert(mode.replace("LA", "L")).convert(mode).save(path)
    assert Preprocessing.of(RGB)(path).shape == RGB


def test_the_orientation_of_the_camera_is_honoured(tmp_path: Path) -> None:
    upright = ramp(64, 48)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: to be turned by 90 degrees to the right
    turned = save(tmp_path / "turned.png", np.rot90(upright), exif=exif)
    straight = save(tmp_path / "straight.png", upright)
    shape = (1, 3, 64, 48)
    np.testing.assert_array_equal(Preprocessing.of(shape)(turned), Preprocessing.of(shape)(straight))


@pytest.mark.parametrize(("height", "width"), [(300, 400), (401, 301), (20, 33), (224, 224), (1, 1)])
def test_sizes_are_torchvisions(tmp_path: Path, height: int, width: int) -> None:
    image = PIL.Image.fromarray(ramp(height, width))
    path = tmp_path / "image.png"
    image.save(path)
    short, long = min(image.size), max(image.size)
    sizes = {short: 256, long: int(256 * long / short)}
    resized = image.resize((sizes[width], sizes[height]), PIL.Image.Resampling.BILINEAR)
    top, left = round((resized.height - 224) / 2.0), round((resized.width - 224) / 2.0)
    want = np.asarray(resized, np.float32)[top : top + 224, left : left + 224] / 255
    got = Preprocessing.of((1, 3, 224, 224), mean=[0], std=[1])(path)
    np.testing.assert_allclose(got[0].transpose(1, 2, 0), want, rtol=1e-6)


def test_small_inputs_see_the_whole_frame(tmp_path: Path) -> None:
    path = save(tmp_path / "image.png", ramp(32, 32))
    got = Preprocessing.of(RGB, mean=[0], std=[1])(path)[0].transpose(1, 2, 0)
    np.testing.assert_allclose(got, ramp(32, 32) / np.float32(255), rtol=1e-6)


def test_pixels_whose_range_is_unknown_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "real.tif", np.ones((40, 40), np.float32))
    save(tmp_path / "large.tif", np.full((40, 40), 256, np.int32))
    save(tmp_path / "negative.tif", np.full((40, 40), -1, np.int32))
    for name in ("real", "large", "negative"):
        said = complaint("run", "lenet5", "--input", str(tmp_path / f"{name}.tif"))
        assert "not numbers from 0 to 255; give a .npy file" in said


def test_a_crop_that_is_no_square_fits(tmp_path: Path) -> None:
    path = save(tmp_path / "image.png", ramp(100, 90))
    assert Preprocessing.of((1, 3, 40, 200))(path).shape == (1, 3, 40, 200)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((1, 3072), {}, "takes 1x3072, which is no image"),
        ((1, 4, 8, 8), {}, "which is no image"),
        ((2, 3, 8, 8), {}, "a batch of 1, the model takes 2"),
        (RGB, {"crop": 30}, "--crop 30 does not fit the model, which takes 32x32"),
        (RGB, {"resize": 30}, "--resize 30 is less than the 32 pixels"),
        (RGB, {"mean": [1, 2]}, "--mean has 2 numbers, the model 3 channels"),
        (RGB, {"std": [1, 0, 1]}, "cannot be 0"),
        (RGB, {"std": [1e-300]}, "cannot be 0 or less"),
        (RGB, {"std": [-1]}, "cannot be 0 or less"),
        (RGB, {"mean": [1e39]}, "--mean holds a number that float32 cannot"),
        (RGB, {"scale": float("nan")}, "--scale holds a number that float32 cannot"),
    ],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Preprocessing.of(shape, **options)  # type: ignore[arg-type]


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


def test_an_image_that_would_become_too_large_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "line.png", np.zeros((1, 60_000, 3), np.uint8))
    with pytest.raises(UsageError, match="too large"):
        Preprocessing.of((1, 3, 224, 224))(path)

"""Pictures as numbers: orientation, sizes, normalization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.data_loading.pictures import ramp, save
from tinygraph.data.image import Preprocessing
from tinygraph.errors import UsageError

RGB, GREY = (3, (32, 32)), (1, (28, 28))


def test_pixels_become_normal_numbers(tmp_path: Path) -> None:
    path = save(tmp_path / "plain.png", np.full((50, 40, 3), (255, 0, 51), np.uint8))
    array = Preprocessing.of(*RGB)(path)
    assert array.shape == (1, 3, 32, 32)
    assert array.dtype == np.float32
    want = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(array[0, :, 5, 7], want, rtol=1e-6)


def test_mean_deviation_and_scale_can_be_chosen(tmp_path: Path) -> None:
    path = save(tmp_path / "plain.png", np.full((50, 40, 3), 51, np.uint8))
    array = Preprocessing.of(*RGB, mean=[10, 20, 30], std=[2], scale=255)(path)
    np.testing.assert_allclose(array[0, :, 0, 0], [20.5, 15.5, 10.5], rtol=1e-6)


def test_one_channel_is_grey(tmp_path: Path) -> None:
    path = save(tmp_path / "plain.png", np.full((50, 40, 3), (255, 255, 255), np.uint8))
    array = Preprocessing.of(*GREY)(path)
    assert array.shape == (1, 1, 28, 28)
    assert np.all(array == 1)


def test_sixteen_bits_are_not_clipped(tmp_path: Path) -> None:
    path = save(tmp_path / "deep.png", np.full((28, 28), 0x8000, np.uint16))
    np.testing.assert_allclose(Preprocessing.of(*GREY)(path), 128 / 255, rtol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I", "LA"])
def test_every_kind_of_image_is_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode in ("CMYK", "I") else "image.png")
    PIL.Image.fromarray(ramp(40, 40)).convert(mode.replace("LA", "L")).convert(mode).save(path)
    assert Preprocessing.of(*RGB)(path).shape == (1, 3, 32, 32)


def test_the_orientation_of_the_camera_is_honoured(tmp_path: Path) -> None:
    upright = ramp(64, 48)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: to be turned by 90 degrees to the right
    turned = save(tmp_path / "turned.png", np.rot90(upright), exif=exif)
    straight = save(tmp_path / "straight.png", upright)
    read = Preprocessing.of(3, (64, 48))
    np.testing.assert_array_equal(read(turned), read(straight))


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
    got = Preprocessing.of(3, (224, 224), mean=[0], std=[1])(path)
    np.testing.assert_allclose(got[0].transpose(1, 2, 0), want, rtol=1e-6)


def test_small_inputs_see_the_whole_frame(tmp_path: Path) -> None:
    path = save(tmp_path / "image.png", ramp(32, 32))
    got = Preprocessing.of(*RGB, mean=[0], std=[1])(path)[0].transpose(1, 2, 0)
    np.testing.assert_allclose(got, ramp(32, 32) / np.float32(255), rtol=1e-6)


def test_a_crop_that_is_no_square_fits(tmp_path: Path) -> None:
    path = save(tmp_path / "image.png", ramp(100, 90))
    assert Preprocessing.of(3, (40, 200))(path).shape == (1, 3, 40, 200)


def test_an_image_that_would_become_too_large_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "line.png", np.zeros((1, 60_000, 3), np.uint8))
    with pytest.raises(UsageError, match="too large"):
        Preprocessing.of(3, (224, 224))(path)


@pytest.mark.parametrize(
    ("channels", "crop", "options", "said"),
    [
        (2, (8, 8), {}, "channels is 2; an image has 3"),
        (3, (8, 0), {}, "crop 8x0 holds no pixel"),
        (*RGB, {"resize": 30}, "resize 30 is less than the 32 pixels"),
        (*RGB, {"mean": [1, 2]}, "mean has 2 numbers, the image 3 channels"),
        (*RGB, {"std": [0.0]}, "std is divided by"),
    ],
)
def test_what_does_not_fit_is_refused(
    channels: int, crop: tuple[int, int], options: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Preprocessing.of(channels, crop, **options)  # type: ignore[arg-type]

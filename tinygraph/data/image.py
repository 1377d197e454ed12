"""A picture file as numbers: read, resized, cropped and normalized as in torchvision."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageOps

from tinygraph.errors import UsageError
from tinygraph.ir import Array

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_SMALL = 128  # pixels; smaller inputs are of datasets whose images fill the frame
_MOST_PIXELS = 100_000_000
_LARGEST, _SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
_PROGRAMS = {"EPS"}  # formats that Pillow hands to another program


@dataclass(frozen=True)
class Preprocessing:
    """How the pixels of an image become numbers: (scale * pixel / 255 - mean) / std.

    Attributes:
        resize: length of the shorter side after resizing (bilinear, antialiased).
        crop: height and width of the piece that is cut out of the middle.
        mean, std: one number for each channel, three for RGB or one for grey.
        scale: what a white pixel counts before mean and std.
    """

    resize: int
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0

    @classmethod
    def of(
        cls,
        channels: int,
        crop: tuple[int, int],
        resize: int | None = None,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        scale: float = 1.0,
    ) -> Preprocessing:
        """Defaults in place of what is not given.

        The shorter side is resized to 256/224 of the crop's, as for ImageNet, or to the crop's
        itself where that is below 128 pixels. RGB is normalized with ImageNet's mean and
        deviation, grey with 0 and 1.

        Raises:
            UsageError: a number does not fit; the message begins with the argument's name.
        """
        if channels not in (1, 3):
            raise UsageError(f"channels is {channels}; an image has 3 (RGB) or 1 (grey)")
        if min(crop) < 1:
            raise UsageError(f"crop {crop[0]}x{crop[1]} holds no pixel")
        shorter = min(crop)
        resize = resize or shorter * (256 if shorter >= _SMALL else 224) // 224
        if resize < shorter:
            raise UsageError(f"resize {resize} is less than the {shorter} pixels that are cut out")
        for name, given in {"mean": mean, "std": std, "scale": (scale,)}.items():
            if len(given) not in (0, 1, channels):
                raise UsageError(f"{name} has {len(given)} numbers, the image {channels} channels")
            if not all(abs(number) <= _LARGEST for number in given):
                raise UsageError(f"{name} holds a number that float32 cannot: {', '.join(map(str, given))}")
        grey = channels == 1
        mean = mean or ((0.0,) if grey else _IMAGENET_MEAN)
        std = std or ((1.0,) if grey else _IMAGENET_STD)
        if not all(number >= _SMALLEST for number in std):
            raise UsageError("std is divided by: it cannot be 0 or less")
        return cls(resize, crop, _each(mean, channels), _each(std, channels), scale)

    def __call__(self, path: str | os.PathLike[str]) -> Array:
        """The image in a file as float32 [1, C, H, W].

        Raises:
            OSError: there is no such file.
            UsageError: it cannot be read as an image, or is unreasonably large.
        """
        image = _read(path, "RGB" if len(self.mean) == 3 else "L")
        image = _resized(image, self.resize, self.crop)
        height, width = self.crop
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        return self.normalized(np.asarray(image.crop((left, top, left + width, top + height))))

    def normalized(self, pixels: Array) -> Array:
        """Pixels uint8 [H, W, 3], or [H, W] if grey, as float32 [1, C, H, W]."""
        scaled = np.atleast_3d(pixels).astype(np.float32) * np.float32(self.scale / 255)
        normal = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])


def suffixes() -> frozenset[str]:
    """The ends of the names of files that can be read, such as ".png"."""
    known = PIL.Image.registered_extensions()
    return frozenset(end for end, format in known.items() if format in _formats())


def _formats() -> list[str]:
    PIL.Image.init()
    return [name for name in PIL.Image.OPEN if name not in _PROGRAMS]


def _each(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    return tuple(numbers) if len(numbers) == channels else tuple(numbers) * channels


def _resized(image: PIL.Image.Image, shorter: int, crop: tuple[int, int]) -> PIL.Image.Image:
    """The image with its shorter side that long, or longer where the crop would not fit."""
    height, width = crop
    least = min(image.size)
    shorter = max(shorter, -(-height * least // image.height), -(-width * least // image.width))
    size = (shorter * image.width // least, shorter * image.height // least)
    if size[0] * size[1] > _MOST_PIXELS:
        raise UsageError(
            f"the image is {image.width}x{image.height}; with its shorter side at {shorter} it is too large"
        )
    return image.resize(size, PIL.Image.Resampling.BILINEAR)


def _read(path: str | os.PathLike[str], mode: str) -> PIL.Image.Image:
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            with PIL.Image.open(file, formats=_formats()) as image:
                image.load()
                return _eight_bits(PIL.ImageOps.exif_transpose(image)).convert(mode)
        except PIL.UnidentifiedImageError:
            raise UsageError(f"{path} is no image of a known format") from None
        except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
            raise UsageError(f"{path} is refused: {error}") from None
        except Exception as error:  # decoders raise whatever comes, on damaged files
            raise UsageError(f"{path} cannot be read as an image: {error}") from error


def _eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    """Grey of 16 bits brought to 8; Pillow's own conversion would clip it, and other large numbers too."""
    pixels = np.asarray(image)
    if image.mode == "F" or (image.mode == "I" and (pixels.min() < 0 or pixels.max() > 255)):
        raise ValueError("its pixels are not numbers from 0 to 255; give a .npy file")
    if not image.mode.startswith("I;16"):
        return image
    return PIL.Image.fromarray((pixels >> 8).astype(np.uint8))

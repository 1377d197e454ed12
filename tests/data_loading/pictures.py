"""Picture files for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image


def save(path: Path, pixels: object, **options: object) -> Path:
    """Writes pixels, uint8 [H, W] or [H, W, 3] as a rule, into a file and a folder for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.asarray(pixels)).save(path, **options)  # type: ignore[arg-type]
    return path


def ramp(height: int, width: int) -> np.ndarray:
    """RGB that tells every pixel from the others."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.zeros_like(x)], -1).astype(np.uint8)

"""Writes handwritten digits that a training run holds out as PNG files, for `tinygraph run`.

From the folder above this one:

    tinygraph train digits_cnn --data digits -o run
    python examples/digits.py digits
    tinygraph run digits_cnn --weights run/best.safetensors --input digits/digit-0-is-5.png
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tinygraph import data


def main(folder: Path, count: int = 10, seed: int = 0) -> None:
    """Writes the first digits that are held out under this seed, 8 x 8 pixels each."""
    _, held_out = data.split(data.digits(), held_out=0.2, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = held_out.batch(np.arange(count))
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        pixels = np.rint(image[0] * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"digit-{index}-is-{held_out.classes[label]}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "digits"))

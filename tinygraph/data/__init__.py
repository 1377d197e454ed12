"""Labelled images for training: sets, batches in a reproducible order, augmentation.

    train, held_out = data.split(data.digits(), held_out=0.2, seed=0)
    loader = data.Loader(train, batch_size=64, seed=0, augment=data.augment.crop(1))
    for x, y in loader.epoch(0):
        step(x, y)

Everything that is drawn at random depends on a seed and on its place (epoch, batch, class) alone,
never on what was drawn before it.
"""

from tinygraph.data import augment
from tinygraph.data.dataset import Dataset, arrays, split
from tinygraph.data.folder import image_folder
from tinygraph.data.loader import Loader
from tinygraph.data.samples import digits, sample_patches
from tinygraph.data.shapes import shapes

__all__ = [
    "Dataset",
    "Loader",
    "arrays",
    "augment",
    "digits",
    "image_folder",
    "sample_patches",
    "shapes",
    "split",
]

"""What the options of `tinygraph run` say of a picture that becomes a model's input."""

from __future__ import annotations

from collections.abc import Sequence

from tinygraph.data.image import Preprocessing
from tinygraph.errors import UsageError


def preprocessing(
    shape: Sequence[int],
    resize: int | None = None,
    crop: int | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    scale: float = 1.0,
) -> Preprocessing:
    """For an input [N, C, H, W]; Preprocessing.of has the defaults in place of what is not given.

    Raises:
        UsageError: the input is no image, or an option does not fit it.
    """
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise UsageError(f"the model takes {'x'.join(map(str, shape))}, which is no image: give a .npy file")
    batch, channels, height, width = shape
    if batch != 1:
        raise UsageError(f"an image is a batch of 1, the model takes {batch}: give a .npy file")
    if crop and (crop, crop) != (height, width):
        raise UsageError(
            f"--crop {crop} does not fit the model, which takes {height}x{width}; --input-size changes that"
        )
    try:
        return Preprocessing.of(channels, (height, width), resize, mean, std, scale)
    except UsageError as error:  # its message begins with the name of the argument
        raise UsageError(f"--{error}") from None

"""What all layers share: they are leaves of the module tree, print alike, and start as PyTorch's do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from tinygraph.nn.init import Initializer, KaimingUniform, Uniform, fans
from tinygraph.nn.module import Module, Parameter

# PyTorch's default for convolutions and linear layers: uniform within 1 / sqrt(fan_in).
DEFAULT_WEIGHT = KaimingUniform(gain=math.sqrt(1 / 3))


class Layer(Module):
    """A leaf of the module tree: the node that it emits takes its name."""

    is_leaf: ClassVar[bool] = True

    def __repr__(self) -> str:
        settings = (f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(settings)})"


def bias_parameter(wanted: bool, size: int, weight: Sequence[int], init: Initializer | None) -> Parameter | None:
    """The bias beside a weight of that shape; by default uniform within 1 / sqrt(fan_in), as in PyTorch."""
    if not wanted:
        return None
    return Parameter((size,), init or Uniform(1 / math.sqrt(fans(tuple(weight))[0])))

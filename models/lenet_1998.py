"""LeNet-5 as published: sparse connections, trainable subsampling, distances to drawn digits.

Source: LeCun, Bottou, Bengio and Haffner 1998, Gradient-Based Learning Applied to Document
Recognition, section II.B.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from tinygraph import nn
from tinygraph.errors import UsageError
from tinygraph.nn import functional as F
from tinygraph.nn.init import Uniform

# Which maps of S2 each of the 16 maps of C3 reads (the paper's table I).
CONNECTIONS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)

# The answer that each class stands for: a digit drawn on 7 x 12 dots, as in the paper's figure 3.
DIGITS = """
..###.. ...#... .#####. ####### .....#. ####### ..####. ####### .#####. ..###..
.#...#. ..##... #.....# ......# ....##. #...... .#..... ......# #.....# .#...#.
#.....# .#.#... ......# .....#. ...#.#. #...... #...... ......# #.....# #.....#
#.....# ...#... ......# ....#.. ..#..#. #...... #...... .....#. #.....# #.....#
#.....# ...#... .....#. ...#... .#...#. #.####. #...... .....#. .#...#. #.....#
#.....# ...#... ....#.. ..####. #....#. ##....# #.####. ....#.. ..###.. #....##
#.....# ...#... ...#... ......# #....#. ......# ##....# ....#.. .#...#. .####.#
#.....# ...#... ..#.... ......# ####### ......# #.....# ...#... #.....# ......#
#.....# ...#... .#..... ......# .....#. ......# #.....# ...#... #.....# ......#
#.....# ...#... #...... ......# .....#. ......# #.....# ..#.... #.....# ......#
.#...#. ...#... #...... #.....# .....#. #.....# .#...#. ..#.... #.....# .....#.
..###.. .#####. ####### .#####. .....#. .#####. ..###.. ..#.... .#####. .####..
"""


def squash(x: Any) -> Any:
    """The paper's activation, A tanh(S x) with A = 1.7159 and S = 2/3: close to x between -1 and 1."""
    return 1.7159 * F.tanh(x * (2 / 3))


def _small(fan_in: int) -> Uniform:
    """The paper's initializer of a unit with that many inputs."""
    return Uniform(2.4 / fan_in)


class Subsampling(nn.Module):
    """The sum of 2 x 2 neighbours, times a trained coefficient, plus a trained bias.

    Args:
        maps: one coefficient and one bias each.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter((maps, 1, 1), _small(4))
        self.bias = nn.Parameter((maps, 1, 1))

    def forward(self, x: Any) -> Any:
        """[N, maps, H, W] -> [N, maps, H / 2, W / 2]."""
        return F.avg_pool2d(x, 2) * F.mul(4, self.weight) + self.bias


class SparseConv(nn.Module):
    """A convolution each of whose output maps reads only some of the input maps.

    Output maps that read equally many are one grouped convolution, a group a map.

    Args:
        inputs: input maps.
        connections: for each output map, the input maps that it reads; equally long rows
            side by side.
        kernel_size: rows and columns of the window.
    """

    def __init__(self, inputs: int, connections: tuple[tuple[int, ...], ...], kernel_size: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.parts = [tuple(rows) for _, rows in groupby(connections, key=len)]
        self.convs = nn.ModuleList(
            nn.Conv2d(
                len(rows) * len(rows[0]),
                len(rows),
                kernel_size,
                groups=len(rows),
                weight_init=_small(len(rows[0]) * kernel_size**2),
                bias_init=_small(len(rows[0]) * kernel_size**2),
            )
            for rows in self.parts
        )

    def forward(self, x: Any) -> Any:
        """[N, inputs, H, W] -> [N, number of connections, H', W']."""
        maps = [x[:, i : i + 1] for i in range(self.inputs)]
        read = [F.concat([maps[i] for row in rows for i in row], axis=1) for rows in self.parts]
        return F.concat([conv(part) for conv, part in zip(self.convs, read, strict=True)], axis=1)


class LeNet1998(nn.Module):
    """Seven layers, 60,000 trained parameters.

    The last layer has none: unit i answers the squared distance of F6 to a drawing of digit i.
    Here it answers minus that distance, so that the largest score is the answer as everywhere
    else.

    Args:
        num_classes: the digits from 0 on, at most ten.

    Raises:
        UsageError: more classes than digits.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        drawings = _drawings()
        if num_classes > len(drawings):
            raise UsageError(f"num_classes={num_classes}: lenet5_1998 compares with drawings of {len(drawings)} digits")
        self.c1 = nn.Conv2d(1, 6, 5, weight_init=_small(25), bias_init=_small(25))
        self.s2 = Subsampling(6)
        self.c3 = SparseConv(6, CONNECTIONS, 5)
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, 5, weight_init=_small(400), bias_init=_small(400))
        self.flatten = nn.Flatten()
        self.f6 = nn.Linear(120, drawings.shape[1], weight_init=_small(120), bias_init=_small(120))
        self.drawings = nn.Buffer((num_classes, drawings.shape[1]))
        self.drawings.set(drawings[:num_classes])

    def forward(self, x: Any) -> Any:
        """Minus the distances, [N, num_classes], of images x [N, 1, 32, 32]."""
        x = squash(self.s2(squash(self.c1(x))))
        x = squash(self.s4(squash(self.c3(x))))
        x = squash(self.f6(self.flatten(squash(self.c5(x)))))
        difference = F.expand_dims(x, 1) - self.drawings
        return -F.sum(difference * difference, axis=-1)


def _drawings() -> np.ndarray[Any, np.dtype[np.float32]]:
    """The digits as rows of +1 (ink) and -1 (paper), [10, 84]."""
    ink = np.array([[list(dots) for dots in line.split()] for line in DIGITS.split("\n") if line]) == "#"
    return np.where(ink, 1, -1).transpose(1, 0, 2).reshape(10, 84).astype(np.float32)


def lenet5_1998(num_classes: int = 10) -> LeNet1998:
    """The network of the paper: 60,000 parameters, 340,908 connections."""
    return LeNet1998(num_classes)

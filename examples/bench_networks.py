"""Two networks whose maps are as large as their images, for `tinygraph bench`.

From the folder above this one:

    tinygraph bench examples.bench_networks:unet --input-size 1,1,256,256 --against onnxruntime
    tinygraph bench examples.bench_networks:vdsr --input-size 1,1,256,256 --against onnxruntime
"""

from __future__ import annotations

from typing import Any

from tinygraph import nn, ops
from tinygraph.nn import functional as F
from tinygraph.nn.init import KaimingNormal

HE = KaimingNormal("out")


class VDSR(nn.Module):
    """Super-resolution by 20 convolutions, of which the last makes what is to be added to the image.

    Source: Kim, Lee and Lee, "Accurate image super-resolution using very deep convolutional
    networks", CVPR 2016.

    Args:
        depth: number of convolutions.
        maps: channels between them.
    """

    def __init__(self, depth: int = 20, maps: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (1, *(maps for _ in range(depth - 2))):
            layers += [nn.Conv2d(channels, maps, 3, padding=1, bias=False, weight_init=HE), nn.ReLU()]
        self.residual = nn.Sequential(*layers, nn.Conv2d(maps, 1, 3, padding=1, bias=False, weight_init=HE))

    def forward(self, x: Any) -> Any:
        """An image [N, 1, H, W] -> a sharper one."""
        return x + self.residual(x)


class UNet(nn.Module):
    """Segmentation: four times down, four times up, each level going on beside itself.

    Convolutions are padded, so that the answer is as large as the image; in the paper they are not.

    Source: Ronneberger, Fischer and Brox, "U-Net: Convolutional networks for biomedical image
    segmentation", MICCAI 2015.

    Args:
        channels: of the image.
        classes: of a pixel.
        maps: channels of the highest level; each level below has twice as many.
    """

    def __init__(self, channels: int = 1, classes: int = 2, maps: int = 64) -> None:
        super().__init__()
        widths = [maps << level for level in range(5)]
        inputs = [channels, *widths]
        self.down = nn.ModuleList([_twice(a, b) for a, b in zip(inputs, widths, strict=False)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * n, n, 2, stride=2, weight_init=HE) for n in widths[-2::-1]])
        self.merge = nn.ModuleList([_twice(2 * n, n) for n in widths[-2::-1]])
        self.scores = nn.Conv2d(maps, classes, 1)

    def forward(self, x: Any) -> Any:
        """An image [N, channels, H, W], sides multiples of 16 -> scores [N, classes, H, W]."""
        levels: list[Any] = []
        for stage in self.down:
            levels.append(stage(F.max_pool2d(levels[-1], 2) if levels else x))
        y = levels.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            y = merge(ops.concat([levels.pop(), up(y)], axis=1))
        return self.scores(y)


def _twice(channels: int, maps: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, maps, 3, padding=1, weight_init=HE),
        nn.ReLU(),
        nn.Conv2d(maps, maps, 3, padding=1, weight_init=HE),
        nn.ReLU(),
    )


def vdsr() -> nn.Module:
    """For 1 x 256 x 256 in the table."""
    return VDSR()


def unet() -> nn.Module:
    """For 1 x 256 x 256 in the table."""
    return UNet()

"""VGG: 3 x 3 convolutions all the way (Simonyan and Zisserman 2014, arXiv:1409.1556).

Names of modules, and so of weights, are torchvision's.
"""

from __future__ import annotations

from typing import Any

from tinygraph import nn
from tinygraph.nn.init import ZEROS, KaimingNormal, Normal

# Maps of the convolutions of each stage; a stage ends with a max pool that halves the size.
_STAGES = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    19: ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512)),
}


class VGG(nn.Module):
    """Stages of convolutions, then three linear layers.

    Args:
        depth: layers with weights: 11, 13, 16 or 19.
        batch_norm: normalize behind each convolution.
        num_classes: scores.
        dropout: probability behind each of the two hidden linear layers.
    """

    def __init__(self, depth: int, batch_norm: bool, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = _features(depth, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            _linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            _linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            _linear(4096, num_classes),
        )

    def forward(self, x: Any) -> Any:
        """Scores [N, num_classes] of images x [N, 3, 224, 224], or of another size from 32 on."""
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


def _features(depth: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for stage in _STAGES[depth]:
        for maps in stage:
            layers.append(nn.Conv2d(channels, maps, 3, padding=1, weight_init=KaimingNormal("out"), bias_init=ZEROS))
            if batch_norm:
                layers.append(nn.BatchNorm2d(maps))
            layers.append(nn.ReLU())
            channels = maps
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, weight_init=Normal(0.01), bias_init=ZEROS)


def vgg11(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Configuration A: 8 convolutions."""
    return VGG(11, False, num_classes, dropout)


def vgg13(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Configuration B: 10 convolutions."""
    return VGG(13, False, num_classes, dropout)


def vgg16(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Configuration D: 13 convolutions."""
    return VGG(16, False, num_classes, dropout)


def vgg19(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Configuration E: 16 convolutions."""
    return VGG(19, False, num_classes, dropout)


def vgg11_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Configuration A with batch normalization."""
    return VGG(11, True, num_classes, dropout)


def vgg13_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Configuration B with batch normalization."""
    return VGG(13, True, num_classes, dropout)


def vgg16_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Configuration D with batch normalization."""
    return VGG(16, True, num_classes, dropout)


def vgg19_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Configuration E with batch normalization."""
    return VGG(19, True, num_classes, dropout)

"""AlexNet: as torchvision has it, and as it won in 2012.

Sources: Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks;
Krizhevsky, Sutskever and Hinton 2012, ImageNet Classification with Deep Convolutional Neural
Networks.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from tinygraph import nn
from tinygraph.nn.init import ONES, ZEROS, Normal


class AlexNet(nn.Module):
    """The one-column network of "One weird trick", with torchvision's names."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Any) -> Any:
        """Scores [N, num_classes] of images x [N, 3, 224, 224], or of another size from 63 on."""
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


_conv = partial(nn.Conv2d, weight_init=Normal(0.01))
_linear = partial(nn.Linear, weight_init=Normal(0.01))


class AlexNet2012(nn.Module):
    """The network of two GPUs: convolutions 2, 4 and 5 see half of the maps each.

    Local response normalization has the paper's constants, k = 2, n = 5, alpha = 1e-4 and
    beta = 0.75; its alpha is not divided by n, hence 5e-4 here. (Caffe's copy has k = 1 and
    divides.) Weights and biases start as in the paper.

    Args:
        num_classes: scores.
        groups: 2 for the two GPUs, 1 for a network in one piece.
    """

    def __init__(self, num_classes: int = 1000, groups: int = 2) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv(3, 96, 11, stride=4, bias_init=ZEROS),
            nn.ReLU(),
            nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
            nn.MaxPool2d(3, stride=2),
            _conv(96, 256, 5, padding=2, groups=groups, bias_init=ONES),
            nn.ReLU(),
            nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
            nn.MaxPool2d(3, stride=2),
            _conv(256, 384, 3, padding=1, bias_init=ZEROS),
            nn.ReLU(),
            _conv(384, 384, 3, padding=1, groups=groups, bias_init=ONES),
            nn.ReLU(),
            _conv(384, 256, 3, padding=1, groups=groups, bias_init=ONES),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
        )
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            _linear(256 * 6 * 6, 4096, bias_init=ONES),
            nn.ReLU(),
            nn.Dropout(),
            _linear(4096, 4096, bias_init=ONES),
            nn.ReLU(),
            nn.Dropout(),
            _linear(4096, num_classes, bias_init=ZEROS),
        )

    def forward(self, x: Any) -> Any:
        """Scores [N, num_classes] of images x [N, 3, 227, 227]."""
        return self.classifier(self.flatten(self.features(x)))


def alexnet(num_classes: int = 1000, dropout: float = 0.5) -> AlexNet:
    """64 filters of 11 x 11 in the first layer, 61.1 million parameters."""
    return AlexNet(num_classes, dropout)


def alexnet_2012(num_classes: int = 1000) -> AlexNet2012:
    """96 filters of 11 x 11 in the first layer, grouped convolutions, 61.0 million parameters."""
    return AlexNet2012(num_classes, groups=2)


def alexnet_ungrouped(num_classes: int = 1000) -> AlexNet2012:
    """The network of 2012 on one GPU: no groups, 62.4 million parameters."""
    return AlexNet2012(num_classes, groups=1)

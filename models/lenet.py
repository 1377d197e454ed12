"""LeNet-5 as it is taught today, in four variants; lenet_1998.py has the original.

Source: LeCun, Bottou, Bengio and Haffner 1998, Gradient-Based Learning Applied to Document
Recognition.
"""

from __future__ import annotations

from typing import Any

from tinygraph import nn


class LeNet(nn.Module):
    """Convolutions and pools, then linear layers.

    Args:
        features: [N, C, H, W] -> feature maps.
        classifier: the flattened feature maps -> scores.
    """

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.flatten = nn.Flatten()
        self.classifier = classifier

    def forward(self, x: Any) -> Any:
        """Scores [N, num_classes] of x [N, C, H, W]."""
        return self.classifier(self.flatten(self.features(x)))


def lenet5(num_classes: int = 10) -> LeNet:
    """Every map of the second convolution reads all six of the first: 61,706 parameters.

    The sizes go 32 -> 28 -> 14 -> 10 -> 5; average pools and tanh, as in 1998.
    """
    return LeNet(
        nn.Sequential(
            nn.Conv2d(1, 6, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
        ),
        nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),
            nn.Tanh(),
            nn.Linear(120, 84),
            nn.Tanh(),
            nn.Linear(84, num_classes),
        ),
    )


def lenet5_rgb(num_classes: int = 10) -> LeNet:
    """For colour images, with max pools and ReLU (Andrew Ng's course, deeplearning.ai)."""
    return LeNet(
        nn.Sequential(
            nn.Conv2d(3, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ),
        nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_classes),
        ),
    )


def lenet5_eecs498(num_classes: int = 10) -> LeNet:
    """20 and 50 maps that keep their size, ReLU, max pools (Justin Johnson's EECS 498-007)."""
    return LeNet(
        nn.Sequential(
            nn.Conv2d(1, 20, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ),
        nn.Sequential(
            nn.Linear(50 * 7 * 7, 500),
            nn.ReLU(),
            nn.Linear(500, num_classes),
        ),
    )


def lenet_caffe(num_classes: int = 10) -> LeNet:
    """20 and 50 maps, no activation behind the convolutions (Caffe's examples/mnist)."""
    return LeNet(
        nn.Sequential(
            nn.Conv2d(1, 20, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5),
            nn.MaxPool2d(2),
        ),
        nn.Sequential(
            nn.Linear(50 * 4 * 4, 500),
            nn.ReLU(),
            nn.Linear(500, num_classes),
        ),
    )

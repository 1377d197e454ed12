"""A small teaching network for grey 39 x 31 images (https://taewan.kim/post/cnn/)."""

from __future__ import annotations

from typing import Any

from tinygraph import nn


class CNN39x31(nn.Module):
    """Four convolutions with fewer and fewer positions, then one linear layer; no biases."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 20, 4, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 40, 3, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(40, 60, 3, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(60, 80, 2, bias=False),
            nn.ReLU(),
        )
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(80 * 2 * 1, num_classes, bias=False)

    def forward(self, x: Any) -> Any:
        """Scores [N, num_classes] of x [N, 1, 39, 31]."""
        return self.fc(self.flatten(self.features(x)))


def cnn_39x31(num_classes: int = 100) -> CNN39x31:
    """The network with 20, 40, 60 and 80 feature maps."""
    return CNN39x31(num_classes)

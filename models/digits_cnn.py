"""A small network for scikit-learn's handwritten digits, trained in seconds."""

from __future__ import annotations

from typing import Any

from tinygraph import nn


class DigitsCNN(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm, then one linear layer: 9,978 parameters.

    The sizes go 8 -> 6 -> 4 without padding. At these sizes a pool would cost time and gain nothing.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(32 * 4 * 4, num_classes)

    def forward(self, x: Any) -> Any:
        """Scores [N, num_classes] of x [N, 1, 8, 8]."""
        return self.fc(self.flatten(self.features(x)))


def digits_cnn(num_classes: int = 10) -> DigitsCNN:
    """The network with 16 and 32 feature maps."""
    return DigitsCNN(num_classes)

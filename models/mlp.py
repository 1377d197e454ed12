"""Networks without convolutions: a linear classifier and perceptrons of two and three layers."""

from __future__ import annotations

from tinygraph import nn

_PIXELS = 3 * 32 * 32  # a CIFAR-10 image


def linear_classifier(num_classes: int = 10) -> nn.Sequential:
    """One score per class, each a weighted sum of all pixels: f(x) = W x + b."""
    return nn.Sequential(nn.Flatten(), nn.Linear(_PIXELS, num_classes))


def mlp2(num_classes: int = 10, hidden: int = 100) -> nn.Sequential:
    """f(x) = W2 max(0, W1 x), with biases."""
    return nn.Sequential(nn.Linear(_PIXELS, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))


def mlp3(num_classes: int = 10, hidden1: int = 100, hidden2: int = 100) -> nn.Sequential:
    """f(x) = W3 max(0, W2 max(0, W1 x)), with biases."""
    return nn.Sequential(
        nn.Linear(_PIXELS, hidden1),
        nn.ReLU(),
        nn.Linear(hidden1, hidden2),
        nn.ReLU(),
        nn.Linear(hidden2, num_classes),
    )

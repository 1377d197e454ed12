"""Activations. They take no `inplace`: a graph changes nothing in place, its plan does."""

from __future__ import annotations

from typing import Any

from tinygraph import ops
from tinygraph.nn.init import Constant
from tinygraph.nn.layer import Layer
from tinygraph.nn.module import Parameter


class ReLU(Layer):
    """max(x, 0)."""

    def forward(self, x: Any) -> Any:
        """max(x, 0)."""
        return ops.relu(x)


class LeakyReLU(Layer):
    """x where x > 0, else negative_slope * x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        """The activation of x, of its shape and dtype."""
        return ops.leaky_relu(x, self.negative_slope)


class PReLU(Layer):
    """x where x > 0, else weight * x, the weight being learned (He et al. 2015).

    Args:
        num_parameters: 1, or one for each channel (axis 1).
        init: where it starts.

    Attributes:
        weight: [num_parameters].
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter((num_parameters,), Constant(init))

    def forward(self, x: Any) -> Any:
        """The activation of x, of its shape and dtype."""
        return ops.prelu(x, self.weight)


class ELU(Layer):
    """x where x > 0, else alpha * (e ** x - 1) (Clevert et al. 2015)."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        """The activation of x, of its shape and dtype."""
        return ops.elu(x, self.alpha)


class Sigmoid(Layer):
    """1 / (1 + e ** -x)."""

    def forward(self, x: Any) -> Any:
        """1 / (1 + e ** -x)."""
        return ops.sigmoid(x)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Any:
        """tanh(x)."""
        return ops.tanh(x)


class Softmax(Layer):
    """exp(x) / sum(exp(x)) along an axis, by default the last."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """exp(x) / sum(exp(x)) along dim."""
        return ops.softmax(x, self.dim)


class LogSoftmax(Layer):
    """The logarithm of Softmax, exact where that underflows."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """log(softmax(x)) along dim."""
        return ops.log_softmax(x, self.dim)


class Maxout(Layer):
    """The largest of each group of adjacent channels (Goodfellow et al. 2013).

    Args:
        pieces: channels in a group.
        dim: the axis of the channels.
    """

    def __init__(self, pieces: int, dim: int = 1) -> None:
        super().__init__()
        self.pieces = pieces
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """The largest of each group: dim becomes `pieces` times shorter."""
        return ops.maxout(x, self.pieces, self.dim)

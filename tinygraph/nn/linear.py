"""The fully connected layer."""

from __future__ import annotations

from typing import Any

from tinygraph import ops
from tinygraph.nn.init import Initializer
from tinygraph.nn.layer import DEFAULT_WEIGHT, Layer, bias_parameter
from tinygraph.nn.module import Parameter


class Linear(Layer):
    """y = x w^T + b: [..., in_features] -> [..., out_features].

    Args:
        in_features, out_features: sizes of the last axis.
        bias: whether there is a b.
        weight_init, bias_init: other initializers than PyTorch's default, uniform within
            1 / sqrt(in_features).

    Attributes:
        weight: [out_features, in_features].
        bias: [out_features], or None.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        weight_init: Initializer = DEFAULT_WEIGHT,
        bias_init: Initializer | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        shape = (out_features, in_features)
        self.weight = Parameter(shape, weight_init)
        self.bias = bias_parameter(bias, out_features, shape, bias_init)

    def forward(self, x: Any) -> Any:
        """The scores of x [..., in_features]."""
        return ops.linear(x, self.weight, self.bias)

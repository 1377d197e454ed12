"""Limits on gradients, between the gradient and the update."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import reduce

from tinygraph import ops
from tinygraph.ops.base import Tensor, type_of
from tinygraph.optim.checks import check_positive


def squared_norm(grads: Mapping[str, Tensor]) -> Tensor:
    """The sum of the squares of all numbers of one or more gradients, float64; their dtypes may differ."""
    by_dtype = defaultdict(list)
    for g in grads.values():
        by_dtype[type_of(g).dtype].append(g)
    return reduce(ops.add, [ops.squared_norm(*alike) for alike in by_dtype.values()])


def clip_norm(grads: Mapping[str, Tensor], most: float) -> dict[str, Tensor]:
    """All gradients times min(1, most / (norm + 1e-6)), norm being the root of the sum of all their squares.

    The norm is computed in float64.

    Args:
        grads: name -> gradient, floating; tensors or arrays.
        most: the largest norm that is left as it is.

    Returns:
        The clipped gradients by name, of the same shapes and dtypes.

    Raises:
        UsageError: `most` is not above 0.

    Source: torch.nn.utils.clip_grad_norm_; Pascanu, Mikolov and Bengio 2013.
    """
    check_positive("clip_norm", "most", most)
    if not grads:
        return {}
    factor = ops.minimum(most / (ops.sqrt(squared_norm(grads)) + 1e-6), 1.0)
    return {name: g * ops.cast(factor, type_of(g).dtype) for name, g in grads.items()}


def clip_value(grads: Mapping[str, Tensor], most: float) -> dict[str, Tensor]:
    """Each number of the gradients brought into [-most, most].

    Args:
        grads: name -> gradient, floating; tensors or arrays.
        most: the largest absolute value.

    Returns:
        The clipped gradients by name, of the same shapes and dtypes.

    Raises:
        UsageError: `most` is not above 0.

    Source: torch.nn.utils.clip_grad_value_.
    """
    check_positive("clip_value", "most", most)
    return {name: ops.maximum(ops.minimum(g, most), -most) for name, g in grads.items()}

"""Normalizations as functions, with PyTorch's names; re-exported by nn.functional."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygraph import ops
from tinygraph.errors import UsageError
from tinygraph.ir import Shape
from tinygraph.ops.base import Tensor, type_of


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    training: bool = False,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel of x [N, C, *].

    Args:
        x: floating.
        running_mean: [C], used unless training. It stays as it is: a function changes nothing;
            nn.BatchNorm2d moves it on.
        running_var: [C], alike.
        weight: [C]; 1 if None.
        bias: [C]; 0 if None.
        training: use the batch's own statistics.
        eps: added to the variance.

    Raises:
        UsageError: there are no statistics to use.
        ShapeError: shapes or dtypes do not fit.
    """
    weight, bias = affine(x, type_of(x).shape[1:2], weight, bias)
    if training:
        return ops.batch_norm_train(x, weight, bias, eps)[0]
    if running_mean is None or running_var is None:
        raise UsageError("batch_norm needs running_mean and running_var; give them, or training=True")
    return ops.batch_norm(x, weight, bias, running_mean, running_var, eps)


def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes of each sample; see ops.layer_norm.

    Args:
        x: [*, *normalized_shape], floating.
        normalized_shape: the dimensions of these axes.
        weight: of that shape; 1 if None.
        bias: of that shape; 0 if None.
        eps: added to the variance.
    """
    return ops.layer_norm(x, *affine(x, tuple(normalized_shape), weight, bias), eps)


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias for each group of channels of x [N, C, *]; see ops.group_norm.

    The weight is 1 and the bias 0 if None.
    """
    return ops.group_norm(x, num_groups, *affine(x, type_of(x).shape[1:2], weight, bias), eps)


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    *,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel of each sample of x [N, C, *].

    The weight is 1 and the bias 0 if None. With use_input_stats=False it is batch_norm with the
    running statistics, which stay as they are.
    """
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
    return ops.instance_norm(x, *affine(x, type_of(x).shape[1:2], weight, bias), eps)


def affine(x: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight and bias for x; ones and zeros in the place of None."""
    missing = type_of(x).with_shape(shape)
    weight = np.ones(missing.dims, missing.dtype) if weight is None else weight
    return weight, np.zeros(missing.dims, missing.dtype) if bias is None else bias


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divides by (k + alpha / size * sum of x^2 over `size` neighbouring channels) ** beta; see ops.lrn.

    A window of even size reaches one channel further up than down, as in ONNX; PyTorch's
    reaches further down.
    """
    return ops.lrn(x, size, alpha, beta, k)

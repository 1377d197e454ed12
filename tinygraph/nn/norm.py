"""Normalization layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinygraph import ops
from tinygraph.errors import ShapeError, UsageError
from tinygraph.nn.init import ONES, ZEROS
from tinygraph.nn.layer import Layer
from tinygraph.nn.module import Buffer, Parameter
from tinygraph.nn.norm_functions import affine, group_norm, layer_norm


class _ByChannel(Layer):
    """What normalizations with a weight, a bias and running statistics of each channel share."""

    ranks: ClassVar[tuple[int, ...]]

    def __init__(self, num_features: int, eps: float, momentum: float, affine: bool, tracks: bool) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.weight = Parameter((num_features,), ONES) if affine else None
        self.bias = Parameter((num_features,), ZEROS) if affine else None
        if tracks:
            self.running_mean = Buffer((num_features,), ZEROS)
            self.running_var = Buffer((num_features,), ONES)
            self.num_batches_tracked = Buffer((), ZEROS, np.int64)

    def _affine(self, x: Any) -> tuple[Any, Any]:
        """Scale and shift for x, whose number of dimensions is checked."""
        if x.ndim not in self.ranks:
            ranks = " or ".join(map(str, self.ranks))
            raise ShapeError(f"{type(self).__name__} wants {ranks} dimensions, got {x.type}")
        return affine(x, (self.num_features,), self.weight, self.bias)

    def _track(self, mean: Any, var: Any, count: Any) -> None:
        """Moves the running statistics towards those of a batch, where `count` numbers made each."""
        self._move("running_mean", 1 - self.momentum, self.momentum * mean)
        self._move("running_var", 1 - self.momentum, self.momentum * count / (count - 1) * var)
        self._move("num_batches_tracked", 1, 1)

    def _move(self, name: str, keep: float, step: Any) -> None:
        """The buffer becomes keep * itself + step."""
        now: Any = getattr(self, name)
        self.update(name, (now if keep == 1 else keep * now) + step)


class _BatchNorm(_ByChannel):
    """What batch normalizations of any number of axes share."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, tracks=True)

    def forward(self, x: Any) -> Any:
        """Normalizes x [N, C, *]; in training the running statistics move on."""
        gamma, beta = self._affine(x)
        if not self.training:
            return ops.batch_norm(x, gamma, beta, self.running_mean, self.running_var, self.eps)
        y, mean, var = ops.batch_norm_train(x, gamma, beta, self.eps)
        self._track(mean, var, ops.count(x, (0, *range(2, x.ndim))))
        return y


class BatchNorm2d(_BatchNorm):
    """Normalizes each channel of x [N, C, H, W]: (x - mean) / sqrt(var + eps) * weight + bias.

    In inference mean and variance are the running ones. In training they are the batch's own,
    and the running ones become (1 - momentum) * running + momentum * batch, with the unbiased
    variance; called twice in one step, they move twice.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: share of the newest batch in the running statistics.
        affine: whether there are a weight and a bias.

    Attributes:
        weight, bias: [C], or None.
        running_mean, running_var: [C], buffers.
        num_batches_tracked: int64, a buffer.

    Source: Ioffe and Szegedy 2015.
    """

    ranks = (4,)


class BatchNorm1d(_BatchNorm):
    """Batch normalization of x [N, C] or [N, C, L]; otherwise as BatchNorm2d."""

    ranks = (2, 3)


class BatchNorm3d(_BatchNorm):
    """Batch normalization of x [N, C, D, H, W]; otherwise as BatchNorm2d."""

    ranks = (5,)


class _InstanceNorm(_ByChannel):
    """What instance normalizations of any number of axes share."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.track_running_stats = track_running_stats

    def forward(self, x: Any) -> Any:
        """Normalizes x [N, C, *]; in training the running statistics move on, if there are any."""
        gamma, beta = self._affine(x)
        if self.track_running_stats and not self.training:
            return ops.batch_norm(x, gamma, beta, self.running_mean, self.running_var, self.eps)
        if self.track_running_stats:
            axes = tuple(range(2, x.ndim))
            mean = ops.mean(x, axes, keepdims=True)
            centred = x - mean
            var = ops.mean(centred * centred, axes)
            self._track(ops.mean(mean.reshape(var.shape), 0), ops.mean(var, 0), ops.count(x, axes))
        return ops.instance_norm(x, gamma, beta, self.eps)


class InstanceNorm2d(_InstanceNorm):
    """Normalizes each channel of each sample of x [N, C, H, W] by itself, in training and inference alike.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: share of the newest batch in the running statistics.
        affine: whether there are a weight and a bias.
        track_running_stats: whether there are running statistics, the mean over the samples;
            inference uses them then, as BatchNorm2d does.

    Attributes:
        weight, bias: [C], or None.
        running_mean, running_var, num_batches_tracked: as of BatchNorm2d, if tracked.

    Source: Ulyanov, Vedaldi and Lempitsky 2016.
    """

    ranks = (4,)


class InstanceNorm1d(_InstanceNorm):
    """Instance normalization of x [N, C, L]; otherwise as InstanceNorm2d."""

    ranks = (3,)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalization of x [N, C, D, H, W]; otherwise as InstanceNorm2d."""

    ranks = (5,)


class LayerNorm(Layer):
    """Normalizes each sample over its last axes: (x - mean) / sqrt(var + eps) * weight + bias.

    Args:
        normalized_shape: the dimensions of these axes, or the only one.
        eps: added to the variance.
        elementwise_affine: whether there are a weight and a bias.
        bias: whether there is a bias beside the weight.

    Attributes:
        weight, bias: of normalized_shape, or None.

    Source: Ba, Kiros and Hinton 2016.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape = shape
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(shape, ONES) if elementwise_affine else None
        self.bias = Parameter(shape, ZEROS) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Any:
        """Normalizes x [*, *normalized_shape]."""
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class GroupNorm(Layer):
    """Normalizes each group of channels of each sample: (x - mean) / sqrt(var + eps) * weight + bias.

    Args:
        num_groups: into how many of equal size the channels fall.
        num_channels: C.
        eps: added to the variance.
        affine: whether there are a weight and a bias.

    Attributes:
        weight, bias: [C], or None.

    Raises:
        UsageError: num_groups does not divide num_channels.

    Source: Wu and He 2018.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise UsageError(f"num_groups={num_groups} must divide num_channels={num_channels}")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.weight = Parameter((num_channels,), ONES) if affine else None
        self.bias = Parameter((num_channels,), ZEROS) if affine else None

    def forward(self, x: Any) -> Any:
        """Normalizes x [N, C, *]."""
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class LocalResponseNorm(Layer):
    """Divides by the energy of neighbouring channels: x / (k + alpha / size * sum x^2) ** beta.

    Args:
        size: channels in the window; an even window reaches one further up than down, as in ONNX.
        alpha, beta, k: as in the formula. The paper's own alpha is not divided by the size:
            give size times it.

    Source: Krizhevsky et al. 2012, section 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Any) -> Any:
        """Normalizes x [N, C, *]."""
        return ops.lrn(x, self.size, self.alpha, self.beta, self.k)

"""Normalization layers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinygraph import ops
from tinygraph.errors import ShapeError
from tinygraph.nn.init import ONES, ZEROS
from tinygraph.nn.layer import Layer
from tinygraph.nn.module import Buffer, Parameter


class _BatchNorm(Layer):
    """What batch normalizations of any number of axes share."""

    ranks: ClassVar[tuple[int, ...]]

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.weight = Parameter((num_features,), ONES) if affine else None
        self.bias = Parameter((num_features,), ZEROS) if affine else None
        self.running_mean = Buffer((num_features,), ZEROS)
        self.running_var = Buffer((num_features,), ONES)
        self.num_batches_tracked = Buffer((), ZEROS, np.int64)

    def forward(self, x: Any) -> Any:
        """Normalizes x [N, C, *]; in training the running statistics move on."""
        if x.ndim not in self.ranks:
            ranks = " or ".join(map(str, self.ranks))
            raise ShapeError(f"{type(self).__name__} wants {ranks} dimensions, got {x.type}")
        gamma = self.weight if self.affine else np.ones(self.num_features, np.float32)
        beta = self.bias if self.affine else np.zeros(self.num_features, np.float32)
        if not self.training:
            return ops.batch_norm(x, gamma, beta, self.running_mean, self.running_var, self.eps)
        y, mean, var = ops.batch_norm_train(x, gamma, beta, self.eps)
        count = ops.count(x, (0, *range(2, x.ndim)))
        self._move("running_mean", 1 - self.momentum, self.momentum * mean)
        self._move("running_var", 1 - self.momentum, self.momentum * count / (count - 1) * var)
        self._move("num_batches_tracked", 1, 1)
        return y

    def _move(self, name: str, keep: float, step: Any) -> None:
        """The buffer becomes keep * itself + step."""
        now: Any = getattr(self, name)
        self.update(name, (now if keep == 1 else keep * now) + step)


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

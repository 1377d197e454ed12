"""Pooling layers: the largest, smallest or mean element of windows. None has parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tinygraph import ops
from tinygraph.nn.layer import Layer
from tinygraph.ops.windows import per_axis

Sizes = int | Sequence[int]


class _ExtremePool(Layer):
    """What max and min pools share."""

    axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Any = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = per_axis(kernel_size, self.axes, "kernel_size")
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode


class _MaxPool(_ExtremePool):
    """What max pools of any number of axes share."""

    def forward(self, x: Any) -> Any:
        """The largest element of each window of x [N, C, *spatial]."""
        return ops.max_pool(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class MaxPool2d(_MaxPool):
    """The largest element of each window: [N, C, H, W] -> [N, C, H', W'].

    Args:
        kernel_size: size of the window: a number, or one per axis.
        stride: the same; by default kernel_size, so that the windows lie side by side.
        padding: a number; a number or (front, behind) pair per axis. It never wins.
        dilation: distance between the taps of a window.
        ceil_mode: also take the last window that hangs over the end.
    """

    axes = 2


class MaxPool1d(_MaxPool):
    """Max pooling over one spatial axis, [N, C, L]; otherwise as MaxPool2d."""

    axes = 1


class MaxPool3d(_MaxPool):
    """Max pooling over three spatial axes, [N, C, D, H, W]; otherwise as MaxPool2d."""

    axes = 3


class MinPool2d(_ExtremePool):
    """The smallest element of each window; otherwise as MaxPool2d."""

    axes = 2

    def forward(self, x: Any) -> Any:
        """The smallest element of each window of x [N, C, H, W]."""
        return ops.min_pool(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class _AvgPool(Layer):
    """What average pools of any number of axes share."""

    axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = per_axis(kernel_size, self.axes, "kernel_size")
        self.stride = stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Any:
        """The mean of each window of x [N, C, *spatial]."""
        return ops.avg_pool(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPool):
    """The mean of each window: [N, C, H, W] -> [N, C, H', W'].

    Args:
        kernel_size, stride, padding, ceil_mode: as in MaxPool2d; padding counts as 0.
        count_include_pad: whether padding counts in the number that the sum is divided by.
    """

    axes = 2


class AvgPool1d(_AvgPool):
    """Average pooling over one spatial axis, [N, C, L]; otherwise as AvgPool2d."""

    axes = 1


class AvgPool3d(_AvgPool):
    """Average pooling over three spatial axes, [N, C, D, H, W]; otherwise as AvgPool2d."""

    axes = 3


class AdaptiveAvgPool2d(Layer):
    """Means of evenly spread windows, as many as asked for: [N, C, H, W] -> [N, C, *output_size].

    Args:
        output_size: a number, or one per axis.
    """

    def __init__(self, output_size: Sizes) -> None:
        super().__init__()
        self.output_size = per_axis(output_size, 2, "output_size")

    def forward(self, x: Any) -> Any:
        """The means of x [N, C, H, W]."""
        return ops.adaptive_avg_pool(x, self.output_size)

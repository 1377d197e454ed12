"""Convolutions and transposed convolutions over one, two or three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tinygraph import ops
from tinygraph.errors import UsageError
from tinygraph.nn.init import Initializer
from tinygraph.nn.layer import DEFAULT_WEIGHT, Layer, bias_parameter
from tinygraph.nn.module import Parameter
from tinygraph.ops.windows import per_axis

Sizes = int | Sequence[int]


class _Conv(Layer):
    """What convolutions of any number of axes share."""

    axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Any = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        weight_init: Initializer = DEFAULT_WEIGHT,
        bias_init: Initializer | None = None,
    ) -> None:
        super().__init__()
        _check_groups(in_channels, out_channels, groups)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_axis(kernel_size, self.axes, "kernel_size")
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(shape, weight_init)
        self.bias = bias_parameter(bias, out_channels, shape, bias_init)

    def forward(self, x: Any) -> Any:
        """The feature maps of x [N, in_channels, *spatial]."""
        return ops.conv(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """Convolution (cross-correlation): [N, in_channels, H, W] -> [N, out_channels, H', W'].

    H' = floor((H + padding - dilation (kernel_size - 1) - 1) / stride) + 1, padding counted on
    both sides; W' alike.

    Args:
        in_channels, out_channels: numbers of feature maps.
        kernel_size, stride, dilation: a number, or one per axis.
        padding: zeros around the input: a number; a number or (front, behind) pair per axis;
            "valid", "same" or "same_lower".
        groups: independent parts that the channels fall into.
        bias: whether a number is added to each output map.
        weight_init, bias_init: other initializers than PyTorch's default, uniform within
            1 / sqrt(fan_in).

    Attributes:
        weight: [out_channels, in_channels / groups, *kernel_size].
        bias: [out_channels], or None.

    Raises:
        UsageError: groups does not divide the channels.
    """

    axes = 2


class Conv1d(_Conv):
    """Convolution over one spatial axis, [N, in_channels, L]; otherwise as Conv2d."""

    axes = 1


class Conv3d(_Conv):
    """Convolution over three spatial axes, [N, in_channels, D, H, W]; otherwise as Conv2d."""

    axes = 3


class _ConvTranspose(Layer):
    """What transposed convolutions of any number of axes share."""

    axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Any = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        *,
        weight_init: Initializer = DEFAULT_WEIGHT,
        bias_init: Initializer | None = None,
    ) -> None:
        super().__init__()
        _check_groups(in_channels, out_channels, groups)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_axis(kernel_size, self.axes, "kernel_size")
        self.stride = stride
        self.padding = padding
        self.output_padding = output_padding
        self.groups = groups
        self.dilation = dilation
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        self.weight = Parameter(shape, weight_init)
        self.bias = bias_parameter(bias, out_channels, shape, bias_init)

    def forward(self, x: Any) -> Any:
        """The feature maps of x [N, in_channels, *spatial]."""
        return ops.conv_transpose(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.dilation, self.groups
        )


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution: [N, in_channels, H, W] -> [N, out_channels, H', W'].

    H' = (H - 1) stride - padding + dilation (kernel_size - 1) + 1 + output_padding, padding
    counted on both sides; W' alike.

    Args:
        in_channels, out_channels: numbers of feature maps.
        kernel_size, stride, dilation: a number, or one per axis.
        padding: positions cut off: a number, or a number or (front, behind) pair per axis.
        output_padding: positions added behind.
        groups: independent parts that the channels fall into.
        bias: whether a number is added to each output map.
        weight_init, bias_init: other initializers than PyTorch's default.

    Attributes:
        weight: [in_channels, out_channels / groups, *kernel_size].
        bias: [out_channels], or None.

    Raises:
        UsageError: groups does not divide the channels.
    """

    axes = 2


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over one spatial axis; otherwise as ConvTranspose2d."""

    axes = 1


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over three spatial axes; otherwise as ConvTranspose2d."""

    axes = 3


def _check_groups(in_channels: int, out_channels: int, groups: int) -> None:
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise UsageError(f"groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}")

"""Windows that slide over spatial axes: their stride, dilation, padding, and how many there are.

Shared by convolution and pooling. A window of k taps with dilation d spans k + (k-1)(d-1)
positions, its extent. Everything here is counting; arrays come in tinygraph/kernels/taps.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError
from tinygraph.ir import Dim, Symbol, TensorType

Pads = tuple[tuple[int, int], ...]  # zeros in front of and behind each spatial axis


def per_axis(value: Any, axes: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One whole number for all spatial axes, or one for each, as a tuple.

    Args:
        value: 2 or (2, 1).
        axes: number of spatial axes.
        what: how an error names it.
        least: the smallest number allowed.

    Raises:
        ShapeError: a wrong count, no whole number, or one that is too small.
    """
    numbers = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value,) * axes
    if len(numbers) != axes:
        raise ShapeError(f"{what} {value!r} has {len(numbers)} entries for {axes} spatial axes; give one per axis")
    return tuple(_whole(n, what, least) for n in numbers)


def _whole(number: Any, what: str, least: int) -> int:
    if not isinstance(number, (int, np.integer)) or isinstance(number, bool) or number < least:
        raise ShapeError(f"{what} must be a whole number >= {least}, got {number!r}")
    return int(number)


def _check_each(values: Any, count: int, what: str, least: int) -> None:
    """Raises ShapeError unless there are that many whole numbers, none of them too small."""
    if not isinstance(values, (tuple, list)):
        raise ShapeError(f"{what} {values!r} must have an entry for each axis")
    per_axis(values, count, what, least)


def extents(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Positions that a window spans on each axis: k + (k-1)(d-1)."""
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))


def margins(type: TensorType, kernel: Sequence[int], padding: Pads, dilation: Sequence[int]) -> int:
    """Bytes by which [N, C, *spatial] grows with its padding and, for a last window that hangs over, an extent more."""
    axes = zip(type.dims[2:], padding, extents(kernel, dilation), strict=True)
    framed = prod(type.dims[:2]) * prod(size + front + behind + extent for size, (front, behind), extent in axes)
    return (framed - type.size) * type.dtype.itemsize


def pads(
    padding: Any, sizes: Sequence[Dim], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Pads:
    """Padding in any of its forms as (front, behind) pairs.

    Args:
        padding: a number; one number or (front, behind) pair per axis; "valid" for none; "same"
            for ceil(size / stride) windows, an odd zero going behind; "same_lower", where it
            goes in front.
        sizes: of the spatial axes. "same" with a stride above 1 needs them as numbers.
        kernel: taps on each axis.
        stride: on each axis.
        dilation: on each axis.

    Raises:
        ShapeError: an unknown form, a negative number, or a size that has no number yet.
    """
    if len(sizes) != len(kernel):
        raise ShapeError(f"a kernel with {len(kernel)} spatial axes meets an input with {len(sizes)}")
    if isinstance(padding, str):
        return _named(padding, sizes, extents(kernel, dilation), stride)
    entries = tuple(padding) if isinstance(padding, (tuple, list, np.ndarray)) else (padding,) * len(kernel)
    if len(entries) != len(kernel):
        raise ShapeError(
            f"padding {padding!r} has {len(entries)} entries, want one for each of {len(kernel)} spatial axes"
        )
    return tuple((p[0], p[1]) for p in (per_axis(entry, 2, "padding", 0) for entry in entries))


_AUTO_PAD = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}


def onnx_padding(node: Any, axes: int) -> Any:
    """The `pads` and `auto_pad` of an ONNX node, in a form that `pads` takes.

    Raises:
        ModelFormatError: an auto_pad that ONNX does not have, or a wrong count of pads.
    """
    automatic = node.get("auto_pad", "NOTSET")
    if automatic in _AUTO_PAD:
        return _AUTO_PAD[automatic]
    if automatic != "NOTSET":
        raise ModelFormatError(f"auto_pad is {automatic!r}; ONNX has NOTSET, {', '.join(_AUTO_PAD)}")
    numbers = node.get("pads", [0] * (2 * axes))
    if len(numbers) != 2 * axes:
        raise ModelFormatError(f"pads {numbers} must be 2 numbers for each of {axes} spatial axes")
    return tuple(zip(numbers[:axes], numbers[axes:], strict=True))


def _named(padding: str, sizes: Sequence[Dim], spans: Sequence[int], stride: Sequence[int]) -> Pads:
    if padding == "valid":
        return ((0, 0),) * len(spans)
    if padding not in ("same", "same_lower"):
        raise ShapeError(f"unknown padding {padding!r}; take a number, pairs, 'same', 'same_lower' or 'valid'")
    totals = [_same(*axis) for axis in zip(sizes, spans, stride, strict=True)]
    pairs = [(total // 2, total - total // 2) for total in totals]
    return tuple((more, less) if padding == "same_lower" else (less, more) for less, more in pairs)


def _same(size: Dim, extent: int, stride: int) -> int:
    """Zeros in all that "same" adds to an axis."""
    if stride == 1:
        return extent - 1
    if isinstance(size, Symbol):
        raise ShapeError(f"'same' padding with stride {stride} depends on {size}, which has no number yet; give pairs")
    return max((-(-size // stride) - 1) * stride + extent - size, 0)


def output_sizes(
    sizes: Sequence[Dim],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[Dim, ...]:
    """How many windows fit on each axis: floor((size + pads - extent) / stride) + 1.

    Args:
        sizes: of the spatial axes. An open one stays open if the windows are as many as it has
            positions whatever its number will be; else it is refused.
        kernel: taps on each axis.
        stride: on each axis.
        padding: a (front, behind) pair for each axis.
        dilation: on each axis.
        ceil_mode: round up instead, but windows that would start in the padding behind are
            left out.

    Raises:
        ShapeError: wrong counts, a stride or dilation below 1, negative padding, or no room
            for a single window.
    """
    for value, what in ((kernel, "kernel"), (stride, "stride"), (dilation, "dilation")):
        _check_each(value, len(sizes), what, 1)
    if not isinstance(padding, tuple) or len(padding) != len(sizes):
        raise ShapeError(f"padding {padding!r} must have a (front, behind) pair for each of {len(sizes)} spatial axes")
    for pair in padding:
        _check_each(pair, 2, "padding", 0)
    spans = extents(kernel, dilation)
    return tuple(_count(*axis, ceil_mode) for axis in zip(sizes, spans, stride, padding, strict=True))


def _count(size: Dim, extent: int, stride: int, pads: tuple[int, int], ceil_mode: bool) -> Dim:
    front, behind = pads
    if isinstance(size, Symbol):
        if stride == 1 and front + behind == extent - 1:
            return size
        raise ShapeError(f"the output size depends on {size}, which has no number yet; bind it first")
    room = size + front + behind - extent
    count = (room + stride - 1 if ceil_mode else room) // stride + 1
    if ceil_mode:
        count = min(count, (size + front - 1) // stride + 1)
    if count < 1:
        raise ShapeError(f"a window of extent {extent} is larger than {size} positions padded by {front} and {behind}")
    return count


def transposed_sizes(
    sizes: Sequence[Dim],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
    output_padding: Sequence[int],
) -> tuple[Dim, ...]:
    """How many positions `sizes` windows cover: (size - 1) stride + extent - pads + output_padding.

    Args:
        sizes: of the spatial axes. An open one stays open if the result is as large whatever
            its number will be; else it is refused.
        kernel: taps on each axis.
        stride: on each axis.
        padding: a (front, behind) pair for each axis.
        dilation: on each axis.
        output_padding: positions behind that no window covers, on each axis.

    Raises:
        ShapeError: an open size that the result depends on.
    """
    added = [extra - sum(pair) for extra, pair in zip(output_padding, padding, strict=True)]
    return tuple(_cover(*axis) for axis in zip(sizes, extents(kernel, dilation), stride, added, strict=True))


def _cover(size: Dim, extent: int, stride: int, added: int) -> Dim:
    if not isinstance(size, Symbol):
        return (size - 1) * stride + extent + added
    if stride == 1 and extent + added == 1:
        return size
    raise ShapeError(f"the output size depends on {size}, which has no number yet; bind it first")

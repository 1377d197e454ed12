"""A sliding window seen tap by tap: each tap meets a strided slice of the padded input.

What is plain and obviously right here is the reference that faster routines are held to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.scratch import Array

Ints = Sequence[int]
Pads = Sequence[tuple[int, int]]


def pad(x: Array, padding: Pads, value: float = 0.0) -> Array:
    """The array with `value` in front of and behind its last axes; itself if there is nothing to add."""
    if not any(map(any, padding)):
        return x
    return np.pad(x, [(0, 0)] * (x.ndim - len(padding)) + list(padding), constant_values=value)


def taps(kernel: Ints, out: Ints, stride: Ints, dilation: Ints) -> Iterator[tuple[Any, Any]]:
    """Each tap of the window with the slices of the padded input that it meets.

    Args:
        kernel: taps on each axis.
        out: windows on each axis.
        stride: between windows.
        dilation: between taps.

    Yields:
        (tap, region): `weight[..., *tap]` meets `padded[..., *region]`; both begin with `...`.
    """
    for tap in np.ndindex(*kernel):
        starts = [t * d for t, d in zip(tap, dilation, strict=True)]
        region = tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, out, stride, strict=True))
        yield (..., *tap), (..., *region)


def counts(sizes: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> tuple[int, ...]:
    """Windows that fit into so many positions, padding included, on each axis."""
    axes = zip(sizes, kernel, stride, dilation, strict=True)
    return tuple((n - (k - 1) * d - 1) // s + 1 for n, k, s, d in axes)


def convolve(x: Array, w: Array, stride: Ints, padding: Pads, dilation: Ints, groups: int) -> Array:
    """y[n, k, o] = sum over c, t of w[k, c, t] x[n, c, o stride + t dilation - front].

    Args:
        x: [N, C, *spatial].
        w: [K, C / groups, *kernel].
        stride: on each axis.
        padding: (front, behind) zeros on each axis.
        dilation: on each axis.
        groups: both channel axes fall into that many independent parts.

    Returns:
        [N, K, *out], of x's dtype.
    """
    n, k = len(x), len(w)
    x = pad(x, padding)
    out = counts(x.shape[2:], w.shape[2:], stride, dilation)
    w = _wide(w).reshape(groups, k // groups, *w.shape[1:])
    y = np.zeros((n, groups, k // groups, prod(out)), w.dtype)
    for tap, region in taps(w.shape[3:], out, stride, dilation):
        y += w[tap] @ _columns(x[region], groups)
    return y.reshape(n, k, *out).astype(x.dtype, copy=False)


def spread(x: Array, w: Array, sizes: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int) -> Array:
    """The transpose of `convolve` as a linear map of x: every window's value goes back to its taps.

    Args:
        x: [N, K, *out].
        w: [K, C / groups, *kernel].
        sizes: spatial sizes of the result.
        stride: on each axis.
        padding: (front, behind) positions on each axis that are cut away.
        dilation: on each axis.
        groups: both channel axes fall into that many independent parts.

    Returns:
        [N, C, *sizes], of x's dtype.
    """
    n, k, *out = x.shape
    channels = w.shape[1] * groups
    w = _wide(w).reshape(groups, k // groups, *w.shape[1:])
    padded = [size + front + behind for size, (front, behind) in zip(sizes, padding, strict=True)]
    y = np.zeros((n, channels, *padded), w.dtype)
    columns = _columns(x, groups)
    for tap, region in taps(w.shape[3:], out, stride, dilation):
        y[region] += (np.swapaxes(w[tap], 1, 2) @ columns).reshape(n, channels, *out)
    crop = [slice(front, front + size) for size, (front, _) in zip(sizes, padding, strict=True)]
    return y[(slice(None), slice(None), *crop)].astype(x.dtype, copy=False)


def correlate(x: Array, g: Array, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int) -> Array:
    """The transpose of `convolve` as a linear map of w: how x and g go together at each tap.

    Args:
        x: [N, C, *spatial].
        g: [N, K, *out].
        kernel: taps on each axis.
        stride: on each axis.
        padding: (front, behind) zeros on each axis.
        dilation: on each axis.
        groups: both channel axes fall into that many independent parts.

    Returns:
        [K, C / groups, *kernel], of x's dtype.
    """
    x = pad(x, padding)
    k, channels = g.shape[1], x.shape[1]
    w = np.zeros((groups, k // groups, channels // groups, *kernel), _wide(g).dtype)
    columns = _columns(_wide(g), groups)
    for tap, region in taps(kernel, g.shape[2:], stride, dilation):
        w[tap] = (columns @ np.swapaxes(_columns(x[region], groups), -1, -2)).sum(0)
    return w.reshape(k, channels // groups, *kernel).astype(x.dtype, copy=False)


def _columns(x: Array, groups: int) -> Array:
    """[N, C, *spatial] as [N, groups, C / groups, positions]."""
    n, channels, *spatial = x.shape
    return x.reshape(n, groups, channels // groups, prod(spatial))


def _wide(array: Array) -> Array:
    """The numbers in a dtype to add products in: half precision soon has no digits left."""
    return array.astype(np.result_type(array.dtype, np.float32), copy=False)

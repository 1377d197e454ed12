"""Sliding windows: forms of stride and padding, and how many windows there are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygraph.errors import ShapeError
from tinygraph.ir import Symbol
from tinygraph.ops.windows import extents, output_sizes, pads, per_axis, transposed_sizes

SIZES = st.integers(1, 12)
STEPS = st.integers(1, 4)
PADS = st.integers(0, 3)


def positions(size: int, kernel: int, stride: int, front: int, behind: int, dilation: int) -> list[list[int]]:
    """Where the taps of every window that fits lie, by trying; the padding in front is negative."""
    found = []
    start = -front
    while start + (kernel - 1) * dilation < size + behind:
        found.append([start + t * dilation for t in range(kernel)])
        start += stride
    return found


def test_one_number_stands_for_all_axes() -> None:
    assert per_axis(2, 3, "stride") == (2, 2, 2)
    assert per_axis([1, 2], 2, "stride") == (1, 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2, 3), "stride .* has 3 entries for 2 spatial axes"),
        (0, "stride must be a whole number >= 1, got 0"),
        (-1, "got -1"),
        (1.5, "got 1.5"),
        (True, "got True"),
        ("2", "got '2'"),
    ],
)
def test_what_is_no_stride(value: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        per_axis(value, 2, "stride")


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        (1, ((1, 1), (1, 1))),
        ((1, 2), ((1, 1), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([(0, 1), 2], ((0, 1), (2, 2))),
        ("valid", ((0, 0), (0, 0))),
    ],
)
def test_forms_of_padding(padding: Any, pairs: Any) -> None:
    assert pads(padding, (8, 8), (3, 3), (1, 1), (1, 1)) == pairs


@pytest.mark.parametrize(
    ("padding", "message"),
    [
        (-1, "padding must be a whole number >= 0, got -1"),
        (((1, 1),), "1 entries"),
        ((1, 1, 1, 1), "4 entries"),
        (((1, 2, 3), (1, 1)), "3 entries"),
        ("full", "unknown padding 'full'"),
    ],
)
def test_what_is_no_padding(padding: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        pads(padding, (8, 8), (3, 3), (1, 1), (1, 1))


@given(SIZES, st.integers(1, 5), STEPS, st.integers(1, 3))
def test_same_padding_makes_ceil_of_size_by_stride_windows(size: int, kernel: int, stride: int, dilation: int) -> None:
    axis = ((size,), (kernel,), (stride,))
    ((front, behind),) = pads("same", *axis, (dilation,))
    assert behind - front in (0, 1)
    assert pads("same_lower", *axis, (dilation,)) == ((behind, front),)
    assert output_sizes(*axis, ((front, behind),), (dilation,)) == (-(-size // stride),)


def test_same_padding_of_an_open_size() -> None:
    h = Symbol("H")
    assert pads("same", (h,), (4,), (1,), (1,)) == ((1, 2),)
    with pytest.raises(ShapeError, match="depends on H"):
        pads("same", (h,), (3,), (2,), (1,))


@given(SIZES, st.integers(1, 5), STEPS, st.integers(0, 3), st.integers(0, 3), st.integers(1, 3))
def test_windows_are_as_many_as_fit(
    size: int, kernel: int, stride: int, front: int, behind: int, dilation: int
) -> None:
    arguments = ((size,), (kernel,), (stride,), ((front, behind),), (dilation,))
    found = positions(size, kernel, stride, front, behind, dilation)
    assert extents((kernel,), (dilation,)) == (1 + (kernel - 1) * dilation,)
    if not found:
        with pytest.raises(ShapeError, match=f"is larger than {size} positions padded by {front} and {behind}"):
            output_sizes(*arguments)
        return
    assert output_sizes(*arguments) == (len(found),)
    covered = found[-1][-1] + 1 + front
    assert transposed_sizes((len(found),), *arguments[1:3], ((0, 0),), (dilation,), (0,)) == (covered,)


@given(SIZES, st.integers(1, 5), STEPS, PADS, PADS, st.integers(1, 2))
def test_ceil_mode_adds_windows_until_all_is_covered_but_none_that_starts_behind_the_input(
    size: int, kernel: int, stride: int, front: int, behind: int, dilation: int
) -> None:
    extent = (kernel - 1) * dilation + 1
    count, start = 0, -front
    while start < size and (count == 0 or start - stride + extent < size + behind):
        count, start = count + 1, start + stride
    arguments = ((size,), (kernel,), (stride,), ((front, behind),), (dilation,))
    if size + front + behind > extent - stride:
        assert output_sizes(*arguments, ceil_mode=True) == (count,)
    else:
        with pytest.raises(ShapeError, match="is larger than"):
            output_sizes(*arguments, ceil_mode=True)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "floor", "ceil"),
    [
        (112, 3, 2, 0, 55, 56),
        (6, 3, 2, 0, 2, 3),
        (5, 2, 2, 1, 3, 3),
        (3, 2, 2, 1, 2, 2),
        (1, 2, 2, 0, None, 1),
    ],
)
def test_ceil_mode_on_known_sizes(
    size: int, kernel: int, stride: int, padding: int, floor: int | None, ceil: int
) -> None:
    arguments = ((size,), (kernel,), (stride,), ((padding, padding),), (1,))
    assert output_sizes(*arguments, ceil_mode=True) == (ceil,)
    if floor is None:
        with pytest.raises(ShapeError):
            output_sizes(*arguments)
    else:
        assert output_sizes(*arguments) == (floor,)


def test_an_open_size_stays_open_only_where_the_size_is_kept() -> None:
    h = Symbol("H")
    assert output_sizes((h,), (3,), (1,), ((1, 1),), (1,)) == (h,)
    assert transposed_sizes((h,), (3,), (1,), ((1, 1),), (1,), (0,)) == (h,)
    for kernel, stride in ((3, 2), (5, 1)):
        with pytest.raises(ShapeError, match="depends on H"):
            output_sizes((h,), (kernel,), (stride,), ((1, 1),), (1,))
        with pytest.raises(ShapeError, match="depends on H"):
            transposed_sizes((h,), (kernel,), (stride,), ((1, 1),), (1,), (0,))

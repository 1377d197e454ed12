"""Rows of ops/bits.py."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, N, each, fixed, integers, plain, where
from tinygraph.ops.bits import BitCast, BitShift, BitwiseAnd, BitwiseNot, BitwiseOr, BitwiseXor


def counted(of: Any) -> Any:
    """The naive function of two numbers, counted as one operation."""
    return each(lambda op, a, b: where(True, of(int(plain(a)), int(plain(b))), a))


@each
def shift(op: BitShift, a: Any, b: Any) -> Any:
    number, places = int(plain(a)), int(plain(b))
    moved = number >> places if op.direction == "right" else number << places & 255
    return where(True, np.uint8(moved), a)


def bit_cast(formats: str) -> Any:
    """The naive function: packs a number in the first format of `struct`, unpacks it in the second."""
    first, second = formats

    def naive(op: BitCast, x: Array) -> Array:
        y = np.empty(x.shape, op.dtype)
        for i in np.ndindex(x.shape):
            (y[i],) = struct.unpack(f"<{second}", struct.pack(f"<{first}", plain(x[i])))
        return y

    return naive


BYTES = [
    fixed(np.array([0, 1, 5, 130, 255, 255, 77, 77], np.uint8)),
    fixed(np.array([3, 7, 0, 1, 8, 4, 200, 2], np.uint8)),
]
AND, OR, XOR = counted(lambda a, b: a & b), counted(lambda a, b: a | b), counted(lambda a, b: a ^ b)

CASES = [
    *(
        row
        for op, naive in ((BitwiseAnd(), AND), (BitwiseOr(), OR), (BitwiseXor(), XOR))
        for row in (
            Case(op, [integers(N, 3, 4), integers(N, 3, 4)], naive),
            Case(op, [integers(4), integers(N, 3, 1)], naive, "broadcast"),
            Case(op, [integers(), integers()], naive, "0-d"),
            Case(op, [integers(N, 0), integers(1)], naive, "empty"),
        )
    ),
    Case(BitwiseNot(), [integers(N, 3)], each(lambda op, x: where(True, ~int(plain(x)), x))),
    Case(BitShift("left"), BYTES, shift, "left"),
    Case(BitShift("right"), BYTES, shift, "right"),
    Case(BitCast("int32"), [fixed(np.array([0, 1, 2**31, 2**32 - 1], np.uint32))], bit_cast("Ii"), "signed"),
    Case(BitCast("float64"), [fixed(np.array([0, 1, -1, 4607182418800017408]))], bit_cast("qd"), "floating"),
    Case(BitCast("uint8"), [fixed(np.array([True, False]), numbers=False)], bit_cast("?B"), "from truths"),
    Case(BitCast("bool"), [fixed(np.array([0, 1, 2, 255], np.uint8))], bit_cast("B?"), "to truths"),
]

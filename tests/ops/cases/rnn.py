"""Rows of ops/rnn.py: RNN, GRU and LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.counted import Counted
from tests.ops.harness import Array, Case, Input, N, fixed, maximum, minimum, real, sigmoid, tanh
from tinygraph.ops.recurrent import Recurrent
from tinygraph.ops.rnn import Gru, Lstm, Rnn

FUNCTIONS = {"Sigmoid": sigmoid, "Tanh": tanh, "Relu": lambda x: maximum(x, 0), "Softsign": lambda x: x / (size(x) + 1)}


def size(x: Any) -> Any:
    """|x|: 1 operation."""
    return x.function(abs, 1) if isinstance(x, Counted) else abs(x)


def settled(x: Any) -> Any:
    """A product that is no part of a matrix product."""
    return x.function(lambda v: v, 0) if isinstance(x, Counted) else x


def uncounted(a: Any, b: Any) -> Any:
    """a + b, made once for all steps."""
    return a.function(lambda v: v + (b.value if isinstance(b, Counted) else b), 0) if isinstance(a, Counted) else a + b


def dot(row: Array, x: Array, total: Any = 0) -> Any:
    for a, b in zip(row, x, strict=True):
        total = total + a * b
    return settled(total)


class Cell:
    """One direction of a layer, for one sample: plain lists of numbers."""

    def __init__(self, op: Recurrent, d: int, w: Array, r: Array, given: dict[str, Array]) -> None:
        self.op, self.w, self.r = op, w[d], r[d]
        share = len(op.usual)
        self.functions = [FUNCTIONS[name] for name in op.names[d * share : (d + 1) * share]]
        self.bias = np.split(given["B"][d], 2) if "B" in given else None
        self.peepholes = np.split(given["P"][d], 3) if "P" in given else None

    def activate(self, number: int, x: Any) -> Any:
        if self.op.clip:
            x = minimum(maximum(x, -self.op.clip), self.op.clip)
        return self.functions[number](x)

    def gate(self, number: int, x: Array, h: Array) -> list[Any]:
        """What a gate's activation gets."""
        rows = range(number * len(h), (number + 1) * len(h))
        sums = [dot(self.r[i], h, dot(self.w[i], x)) for i in rows]
        if self.bias is None:
            return sums
        return [s + uncounted(self.bias[0][i], self.bias[1][i]) for s, i in zip(sums, rows, strict=True)]

    def rnn(self, x: Array, h: Array, c: Array) -> tuple[Any, Any]:
        return [self.activate(0, a) for a in self.gate(0, x, h)], c

    def gru(self, x: Array, h: Array, c: Array) -> tuple[Any, Any]:
        z, r = ([self.activate(0, a) for a in self.gate(number, x, h)] for number in (0, 1))
        if self.op.linear_before_reset:  # type: ignore[attr-defined]
            rows = range(2 * len(h), 3 * len(h))
            own, back = [dot(self.w[i], x) for i in rows], [dot(self.r[i], h) for i in rows]
            if self.bias:
                own = [a + self.bias[0][i] for a, i in zip(own, rows, strict=True)]
                back = [a + self.bias[1][i] for a, i in zip(back, rows, strict=True)]
            sums = [a + settled(b * c) for a, b, c in zip(own, r, back, strict=True)]
        else:
            sums = self.gate(2, x, np.array([settled(a * b) for a, b in zip(r, h, strict=True)]))
        new = [self.activate(1, a) for a in sums]
        return [settled((1 - z[j]) * new[j]) + settled(z[j] * h[j]) for j in range(len(h))], c

    def lstm(self, x: Array, h: Array, c: Array) -> tuple[Any, Any]:
        i, o, f, g = (self.gate(number, x, h) for number in range(4))
        p = self.peepholes
        if p:
            i = [a + settled(b * e) for a, b, e in zip(i, p[0], c, strict=True)]
            f = [a + settled(b * e) for a, b, e in zip(f, p[2], c, strict=True)]
        i, f, g = ([self.activate(k, a) for a in gate] for k, gate in ((0, i), (0, f), (1, g)))
        c = [settled(f[j] * c[j]) + settled(i[j] * g[j]) for j in range(len(c))]
        if p:
            o = [a + settled(b * e) for a, b, e in zip(o, p[1], c, strict=True)]
        return [self.activate(0, o[j]) * self.functions[2](c[j]) for j in range(len(c))], c


def naive(op: Recurrent, x: Array, w: Array, r: Array, *others: Array) -> tuple[Array, ...]:
    given = dict(zip(op.given, others, strict=True))
    (steps, batch, _), directions, hidden = x.shape, len(r), r.shape[2]
    y = np.zeros((steps, directions, batch, hidden), x.dtype)
    last = [np.zeros((directions, batch, hidden), x.dtype) for _ in range(2)]
    for d, n in np.ndindex(directions, batch):
        cell = Cell(op, d, w, r, given)
        state = tuple(given[k][d, n] if k in given else np.zeros(hidden) for k in ("initial_h", "initial_c"))
        backwards = op.direction == "reverse" or d == 1
        length = int(given["sequence_lens"][n]) if "sequence_lens" in given else steps
        for t in range(steps)[:: -1 if backwards else 1]:
            new = getattr(cell, op.name)(x[t, n], *state)
            if t < length:  # counted for every step: how many there are is not known before
                state = new
                y[t, d, n] = state[0]
        last[0][d, n], last[1][d, n] = state
    return (y, *last[: len(op.labels) - 1])


def inputs(op: Recurrent, features: int = 2, hidden: int = 2, steps: int = 3, batch: Any = N) -> list[Input]:
    directions, rows = len(op.signs), op.gates * hidden
    shapes = {"B": (directions, 2 * rows), "P": (directions, 3 * hidden)}
    state = (directions, batch, hidden)
    given = [
        fixed(np.array([steps, 1], np.int32), numbers=False)
        if name == "sequence_lens"
        else real(*shapes.get(name, state))
        for name in op.given
    ]
    return [real(steps, batch, features), real(directions, rows, features), real(directions, rows, hidden), *given]


ALL = ("B", "initial_h", "initial_c", "P")
OPS = [
    (Rnn(), "alone"),
    (Rnn("bidirectional", ("B", "initial_h"), ("Relu", "Tanh")), "both ways"),
    (Gru(given=("B",)), "usual"),
    (Gru("reverse", ("B", "initial_h"), linear_before_reset=True), "reset behind"),
    (Gru("bidirectional", linear_before_reset=True), "both ways"),
    (Lstm(), "alone"),
    (Lstm("reverse", ALL), "peepholes"),
    (
        Lstm("bidirectional", ("B", "initial_c"), ("Sigmoid", "Softsign", "Tanh", "Sigmoid", "Tanh", "Softsign")),
        "both ways",
    ),
]
RAGGED = [
    (Rnn(given=("sequence_lens",)), "lengths"),
    (Gru("bidirectional", ("B", "sequence_lens", "initial_h")), "lengths"),
    (Lstm("reverse", ("sequence_lens", "initial_h")), "lengths"),
]

# onnx.reference goes forward only, and knows neither lengths nor the clip.
CASES = [
    *(Case(op, inputs(op), naive, label, reference=False, tolerance=3e-5) for op, label in OPS),
    *(Case(op, inputs(op, batch=2), naive, label, reference=False, tolerance=3e-5) for op, label in RAGGED),
    Case(Lstm(given=("B",), clip=0.3), inputs(Lstm(given=("B",))), naive, "clip", smooth=False, reference=False),
    Case(Rnn(clip=0.5), inputs(Rnn()), naive, "clip", smooth=False, reference=False),
    Case(Gru(clip=0.5), inputs(Gru()), naive, "clip", smooth=False, reference=False),
]

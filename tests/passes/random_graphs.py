"""Random small networks: shared weights, several readers, outputs in the middle, odd geometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygraph import ops
from tinygraph.ir import Graph, Kind, Mode
from tinygraph.tensor import Tensor
from tinygraph.trace import Spec, Trace

Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def graphs(draw: Draw, mode: Mode = "inference") -> Graph:
    """A graph with an input [N, C, H, W], of up to ten steps."""
    return Grower(draw, mode).graph()


class Grower:
    """Grows a graph step by step; every choice is drawn, so that Hypothesis can shrink it."""

    def __init__(self, draw: Draw, mode: Mode) -> None:
        self.draw = draw
        self.trace = Trace(mode)
        self.rng = np.random.default_rng(self.number(0, 2**16))
        self.known: dict[tuple[Any, ...], Tensor] = {}
        batch = self.one_of(["N", 1, 2])
        shape = (batch, self.number(1, 4), self.number(1, 6), self.number(1, 6))
        self.tensors: list[Tensor] = [self.trace.input("x", Spec(shape))]
        self.trace.input("unused", Spec(("M", 2)))

    def graph(self) -> Graph:
        with self.trace.running():
            for _ in range(self.number(1, 10)):
                x = self.tensors[-1] if self.flip() else self.one_of(self.tensors)
                step = self.one_of([step for step, ndim in STEPS if x.ndim in ndim])
                self.tensors.append(step(self, x))
            last = len(self.tensors) - 1
            return self.trace.finish({f"y{i}": t for i, t in enumerate(self.tensors) if i == last or self.flip(4)})

    # ---- choices ----

    def one_of(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def flip(self, one_in: int = 2) -> bool:
        return self.number(1, one_in) == one_in

    def partner(self, x: Tensor) -> Tensor:
        """A tensor of the same type; it may be x itself."""
        return self.one_of([t for t in self.tensors if t.type == x.type])

    def data(self, kind: Kind, *shape: int, positive: bool = False) -> Tensor:
        """Numbers, sometimes those that an earlier step got."""
        key = (kind, positive, shape)
        if key not in self.known or self.flip():
            numbers = self.rng.uniform(0.3, 2, shape) if positive else self.rng.standard_normal(shape)
            spread = np.sqrt(max(1, np.prod(shape[1:])))
            value = self.trace.builder.declare(kind, kind, np.asarray(numbers / spread, np.float32))
            self.known[key] = Tensor(value, self.trace)
        return self.known[key]

    def weight(self, *shape: int) -> Tensor:
        kind = self.one_of(["param", "param", "frozen", "const"])
        weight = self.data(kind, *shape)
        return ops.mul(weight, self.data("const")) if self.flip(6) else weight

    def with_bias(self, count: int) -> list[Tensor]:
        return [self.data("param", count)] if self.flip() else []

    def kernel(self, x: Tensor) -> list[int]:
        return [self.number(1, min(3, int(size))) for size in x.shape[2:]]

    # ---- steps ----

    def conv(self, x: Tensor) -> Any:
        cin = int(x.shape[1])
        groups = self.one_of([g for g in range(1, cin + 1) if cin % g == 0])
        cout = groups * self.number(1, 3)
        w = self.weight(cout, cin // groups, *self.kernel(x))
        stride, padding = self.number(1, 2), self.number(0, 1)
        return ops.conv(x, w, *self.with_bias(cout), stride=stride, padding=padding, groups=groups)

    def conv_transpose(self, x: Tensor) -> Any:
        cin = int(x.shape[1])
        groups = self.one_of([g for g in range(1, cin + 1) if cin % g == 0])
        per_group = self.number(1, 3)
        w = self.weight(cin, per_group, self.number(1, 3), self.number(1, 3))
        return ops.conv_transpose(x, w, *self.with_bias(per_group * groups), stride=self.number(1, 2), groups=groups)

    def linear(self, x: Tensor) -> Any:
        count = self.number(1, 5)
        return ops.linear(x, self.weight(count, int(x.shape[-1])), *self.with_bias(count))

    def batch_norm(self, x: Tensor) -> Any:
        c = int(x.shape[1])
        kinds: list[Kind] = ["param", "param", "buffer"]
        gamma, beta, mean = (self.data(kind, c) for kind in kinds)
        return ops.batch_norm(
            x, gamma, beta, mean, self.data("buffer", c, positive=True), self.one_of([0.0, 1e-5, 0.1])
        )

    def max_pool(self, x: Tensor) -> Any:
        return ops.max_pool(x, self.kernel(x), self.number(1, 2), ceil_mode=self.flip())

    def avg_pool(self, x: Tensor) -> Any:
        return ops.avg_pool(x, self.kernel(x), self.number(1, 2), count_include_pad=self.flip())

    def pad(self, x: Tensor) -> Any:
        pads = [(0, 0)] * 2 + [(self.number(0, 1), self.number(-1 if int(size) > 1 else 0, 1)) for size in x.shape[2:]]
        return ops.pad(x, pads, value=self.one_of([0.0, -0.0, 1.5]))

    def concat(self, x: Tensor) -> Any:
        return ops.concat([x, self.partner(x)] if self.flip() else [x], 1)

    def combine(self, x: Tensor) -> Any:
        return self.one_of([ops.add, ops.sub, ops.mul, ops.maximum])(x, self.partner(x))

    def scale(self, x: Tensor) -> Any:
        c = ops.add(self.data("const"), self.data("const")) if self.flip() else self.data("const", int(x.shape[-1]))
        return self.one_of([ops.add, ops.sub, ops.mul])(*([x, c] if self.flip() else [c, x]))

    def activation(self, x: Tensor) -> Any:
        return self.one_of([ops.relu, ops.sigmoid, ops.tanh])(x)

    def twins(self, x: Tensor) -> Any:
        """The same thing computed twice."""
        function = self.one_of([ops.relu, ops.sigmoid, ops.tanh])
        return self.one_of([ops.add, ops.mul])(function(x), function(x))

    def block(self, x: Tensor) -> Any:
        """A layer with BatchNorms behind it, and perhaps one in front; sometimes others read what is between."""
        steps = [Grower.conv, Grower.conv_transpose] if x.ndim == 4 else [Grower.linear]
        in_front, behind = self.number(0, 1), self.number(0, 3)
        for step in [Grower.batch_norm] * in_front + [self.one_of(steps)] + [Grower.batch_norm] * behind:
            x = step(self, x)
            if self.flip(8):
                self.tensors.append(x)
        return x

    def turn(self, x: Tensor) -> Any:
        """Swaps rows and columns, or does nothing."""
        return ops.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2) if x.ndim > 2 else (0, 1))

    def fold_up(self, x: Tensor) -> Any:
        return ops.flatten(x) if self.flip() else ops.reshape(x, x.shape)

    def same(self, x: Tensor) -> Any:
        return ops.broadcast_to(x, x.shape)


STEPS: list[tuple[Callable[[Grower, Tensor], Any], Sequence[int]]] = [
    (Grower.conv, [4]),
    (Grower.conv_transpose, [4]),
    (Grower.max_pool, [4]),
    (Grower.avg_pool, [4]),
    (Grower.pad, [4]),
    (Grower.batch_norm, [2, 4]),
    (Grower.block, [2, 4]),
    (Grower.block, [2, 4]),
    (Grower.block, [2, 4]),
    (Grower.twins, [2, 4]),
    (Grower.linear, [2, 4]),
    (Grower.concat, [2, 4]),
    (Grower.combine, [2, 4]),
    (Grower.scale, [2, 4]),
    (Grower.activation, [2, 4]),
    (Grower.turn, [2, 4]),
    (Grower.fold_up, [2, 4]),
    (Grower.same, [2, 4]),
]

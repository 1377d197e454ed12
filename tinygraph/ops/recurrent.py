"""What recurrent layers have in common: shapes, costs, the loop over steps. The layers are in rnn.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.ops.arithmetic import compare, where
from tinygraph.ops.base import (
    CALL,
    Exporter,
    Op,
    Tensor,
    Types,
    family,
    floating,
    type_of,
)
from tinygraph.ops.index import concat, getitem
from tinygraph.ops.matmul import matmul
from tinygraph.ops.norm import narrowed, widened
from tinygraph.ops.recurrent_cells import ACTIVATIONS, Weights, chosen
from tinygraph.ops.shape import expand_dims, transpose

__all__: list[str] = []

_CALLS = 10  # of NumPy, in a step: for each gate, and beside the gates
_DIRECTIONS = {"forward": (1,), "reverse": (-1,), "bidirectional": (1, -1)}


@family
class Recurrent(Op):
    """What the three layers share: T steps over x [T, N, I], with H hidden units in each of D directions.

    Inputs: x; w [D, gates H, I]; r [D, gates H, H]; and those named in `given`: B [D, 2 gates H], what w and
    r add; sequence_lens [N], whole numbers; initial_h and initial_c [D, N, H]; P [D, 3 H], peepholes.
    Outputs: Y [T, D, N, H], all states; Y_h [D, N, H], the last; of an LSTM Y_c, the last cells. Behind the
    end of a sequence Y is 0 and the state stays.

    Attributes:
        direction: "forward", "reverse" or "bidirectional".
        given: the names of the optional inputs that there are.
        activations: the functions of one direction behind those of the other; the usual ones if empty.
        alphas, betas: for those activations that have such a number, in their order.
        clip: what activations get is cut to -clip ... clip, unless it is 0.
    """

    labels: ClassVar[tuple[str, ...]] = ("y", "y_h")
    arity = (3, 8)
    direction: str = "forward"
    given: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    clip: float = 0.0

    gates: ClassVar[int]
    usual: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = ("B", "sequence_lens", "initial_h")

    @property
    def signs(self) -> tuple[int, ...]:
        """Which way each direction goes."""
        if self.direction not in _DIRECTIONS:
            raise ShapeError(f"the direction is {self.direction!r}; there are {', '.join(_DIRECTIONS)}")
        return _DIRECTIONS[self.direction]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the activations of all directions."""
        return self.activations or self.usual * len(self.signs)

    @property
    def behind(self) -> bool:
        """Whether a GRU resets behind the product with the state."""
        return False

    def infer(self, x: TensorType, w: TensorType, r: TensorType, *others: TensorType) -> tuple[TensorType, ...]:
        directions = len(self.signs)
        if x.ndim != 3 or w.ndim != 3 or r.ndim != 3:
            raise ShapeError(f"wants x [T, N, I], w [D, gates H, I] and r [D, gates H, H], got {x}, {w} and {r}")
        steps, batch, features = x.shape
        hidden = r.dims[2]
        rows = self.gates * hidden
        wanted: dict[str, tuple[Dim, ...]] = {
            "w": (directions, rows, features),
            "r": (directions, rows, hidden),
            "B": (directions, 2 * rows),
            "sequence_lens": (batch,),
            "initial_h": (directions, batch, hidden),
            "initial_c": (directions, batch, hidden),
            "P": (directions, 3 * hidden),
        }
        if list(self.given) != [name for name in self.optional if name in self.given] or len(others) != len(self.given):
            raise ShapeError(
                f"has {len(others)} inputs behind r, want {self.given}, out of {self.optional} in that order"
            )
        found = dict(zip(("w", "r", *self.given), (w, r, *others), strict=True))
        for name, type in found.items():
            if type.shape != wanted[name]:
                raise ShapeError(
                    f"{name} is {type}; want [{','.join(map(str, wanted[name]))}] for x {x}, {hidden} units"
                )
        floating(x, *(type for name, type in found.items() if name != "sequence_lens"))
        if "sequence_lens" in found and found["sequence_lens"].dtype.kind not in "iu":
            raise ShapeError(f"sequence_lens must be integers, got {found['sequence_lens']}")
        if len(self.names) != len(self.usual) * directions:
            raise ShapeError(f"has activations {self.names}, want {len(self.usual)} for each direction")
        chosen(self.names, self.alphas, self.betas)
        if steps == 0 or self.clip < 0:
            raise ShapeError(f"wants one step or more, and no negative clip, got {x} and {self.clip}")
        last = x.with_shape((directions, batch, hidden))
        return x.with_shape((steps, directions, batch, hidden)), *[last] * (len(self.labels) - 1)

    def macs(self, inputs: Types, outputs: Types) -> int:
        """gates (I + H) per element of Y."""
        return outputs[0].size * self.gates * (inputs[1].dims[2] + inputs[2].dims[2])

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs; per element of Y 1 (bias) and 2 (clip) for each gate, its activations, and the step's own."""
        gates = self.gates * (("B" in self.given) + 2 * (self.clip > 0))
        steps, _, batch, hidden = outputs[0].dims
        costs = [ACTIVATIONS[name].flops for name in self.names]
        share = len(self.usual)
        own = sum(self.step_flops(*costs[i : i + share]) for i in range(0, len(costs), share))
        return 2 * self.macs(inputs, outputs) + gates * outputs[0].size + steps * batch * hidden * own

    def work(self, inputs: Types, outputs: Types) -> int:
        """The kernel goes from step to step."""
        turns = inputs[0].dims[0] * len(self.signs)
        return super().work(inputs, outputs) + CALL * _CALLS * (1 + self.gates) * turns

    def step_flops(self, *costs: int) -> int:
        """Operations of a step for each hidden unit, beside products, bias and clip, if activations cost that."""
        raise NotImplementedError

    def step(self, cell: Weights, x: Tensor, state: Sequence[Tensor]) -> Sequence[Tensor]:
        """The state after a step: h, or h and c."""
        raise NotImplementedError

    def kernel(self, *inputs: Array) -> tuple[Array, ...]:
        wide = [widened(a) if a.dtype.kind == "f" else a for a in inputs]
        return narrowed(inputs[0].dtype, *self.formula(*wide))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.transforms import vjp  # which knows every op

        if isinstance(inputs[0].shape[0], Symbol):
            raise ShapeError(f"the gradient of {self.name} wants a number of steps: bind {inputs[0].shape[0]} first")
        asked = [i for i, cotangent in enumerate(cotangents) if cotangent is not None]
        real = [i for i, t in enumerate(inputs) if t.dtype.kind == "f"]

        def answers(*numbers: Tensor) -> tuple[Tensor, ...]:
            given = dict(zip(real, numbers, strict=True))
            results = self.formula(*(given.get(i, t) for i, t in enumerate(inputs)))
            return tuple(results[i] for i in asked)

        _, pull = vjp(answers, *(inputs[i] for i in real))
        found = dict(zip(real, pull(tuple(cotangents[i] for i in asked)), strict=True))
        return [found.get(i) for i in range(len(inputs))]

    def formula(self, x: Tensor, w: Tensor, r: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in ops that have gradients of their own, a few for each step."""
        given = dict(zip(self.given, others, strict=True))
        made = [self._direction(number, x, w, r, given) for number in range(len(self.signs))]
        steps = [concat([expand_dims(d[0][t], (0, 1)) for d in made], 1) for t in range(len(made[0][0]))]
        last = [
            concat([expand_dims(state, 0) for state in states], 0) for states in zip(*(d[1] for d in made), strict=True)
        ]
        return concat(steps, 0), *last

    def _direction(
        self, number: int, x: Tensor, w: Tensor, r: Tensor, given: dict[str, Tensor]
    ) -> tuple[list[Tensor], Sequence[Tensor]]:
        """All states of one direction, in the order of time, and the last state."""
        hidden, type = type_of(r).dims[2], type_of(x)
        cell, bias = self._weights(number, r, given)
        shares = matmul(x, transpose(getitem(w, number), (1, 0)))
        shares = shares if bias is None else shares + bias
        zeros = np.zeros((1, hidden), type.dtype)
        names = ("initial_h", "initial_c")[: len(self.labels) - 1]
        state: Sequence[Tensor] = [getitem(given[name], number) if name in given else zeros for name in names]
        lengths = expand_dims(given["sequence_lens"], 1) if "sequence_lens" in given else None
        states: dict[int, Tensor] = {}
        for t in range(int(type.shape[0]))[:: self.signs[number]]:
            new = self.step(cell, getitem(shares, t), state)
            states[t] = new[0]
            if lengths is not None:
                going = compare(lengths, t, ">")
                states[t] = where(going, new[0], 0)
                new = [where(going, a, b) for a, b in zip(new, state, strict=True)]
            state = new
        return [states[t] for t in range(len(states))], state

    def _weights(self, number: int, r: Tensor, given: dict[str, Tensor]) -> tuple[Weights, Tensor | None]:
        """What the steps of a direction share, and what is added to the input's share."""
        hidden, functions = type_of(r).dims[2], chosen(self.names, self.alphas, self.betas)
        share, rows = len(self.usual), self.gates * hidden
        bias = late = peepholes = None
        if "B" in given:
            both = getitem(given["B"], number)
            bias, added = both[:rows], both[rows:]
            if self.behind:
                late = added[2 * hidden :]
                added = concat([added[: 2 * hidden], np.zeros(hidden, type_of(r).dtype)], 0)
            bias = bias + added
        elif self.behind:
            late = np.zeros(hidden, type_of(r).dtype)
        if "P" in given:
            each = getitem(given["P"], number)
            peepholes = [each[i * hidden : (i + 1) * hidden] for i in range(3)]
        recurrent = transpose(getitem(r, number), (1, 0))
        mine = functions[number * share : (number + 1) * share]
        return Weights(mine, hidden, recurrent, late, peepholes, self.clip), bias

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        given = dict(zip(self.given, inputs[3:], strict=True))
        if "sequence_lens" in given and types[3 + self.given.index("sequence_lens")].dtype != np.int32:
            given["sequence_lens"] = export.node("Cast", [given["sequence_lens"]], to=np.dtype(np.int32))
        slots = [*inputs[:3], *(given.get(name, "") for name in self.optional)]
        while not slots[-1]:
            slots.pop()
        return export.node(
            self.onnx[0],
            slots,
            len(self.labels),
            direction=self.direction,
            hidden_size=types[2].dims[2],
            activations=list(self.activations) or None,
            activation_alpha=list(self.alphas) or None,
            activation_beta=list(self.betas) or None,
            clip=self.clip or None,
            **self.own_attributes,
        )

    @property
    def own_attributes(self) -> dict[str, Any]:
        """The ONNX attributes that only this layer has."""
        return {}

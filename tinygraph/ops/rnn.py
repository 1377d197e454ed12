"""Recurrent layers: RNN, GRU and LSTM, in one direction or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygraph.errors import ModelFormatError, UnsupportedOp
from tinygraph.ops.base import Tensor, apply, from_onnx, register, type_of
from tinygraph.ops.recurrent import Recurrent
from tinygraph.ops.recurrent_cells import ACTIVATIONS, Weights, gru_step, lstm_step, rnn_step
from tinygraph.ops.shape import transpose

__all__ = ["gru", "lstm", "rnn"]


@register
class Rnn(Recurrent):
    """h = f(x w^T + h r^T + b), T times; see Recurrent. One gate, and one activation f: Tanh."""

    name = "rnn"
    onnx = ("RNN",)
    gates = 1
    usual = ("Tanh",)

    def step_flops(self, *costs: int) -> int:
        return costs[0]

    def step(self, cell: Weights, x: Tensor, state: Sequence[Tensor]) -> Sequence[Tensor]:
        return [rnn_step(cell, x, state[0])]


@register
class Gru(Recurrent):
    """h = (1 - z) g(x w_h + (r h) r_h + b_h) + z h, with z, r = f(x w + h r + b), T times; see Recurrent.

    Gates z, r, h; activations f, g: Sigmoid, Tanh.

    Attributes:
        linear_before_reset: the candidate has r (h r_h + b) instead of (r h) r_h + b.
    """

    name = "gru"
    onnx = ("GRU",)
    gates = 3
    usual = ("Sigmoid", "Tanh")
    linear_before_reset: bool = False

    @property
    def behind(self) -> bool:
        return self.linear_before_reset

    def step_flops(self, *costs: int) -> int:
        """2 f + g, 1 for r, 4 for the state; 1 or 2 more if the reset comes behind the product."""
        late = 1 + ("B" in self.given) if self.linear_before_reset else 0
        return 2 * costs[0] + costs[1] + 5 + late

    def step(self, cell: Weights, x: Tensor, state: Sequence[Tensor]) -> Sequence[Tensor]:
        return [gru_step(cell, x, state[0])]

    @property
    def own_attributes(self) -> dict[str, Any]:
        return {"linear_before_reset": int(self.linear_before_reset)}


@register
class Lstm(Recurrent):
    """c = f c + i g(x w_c + h r_c + b_c) and h = o k(c), T times, with i, o, f = s(x w + h r + b + p c); see Recurrent.

    Gates i, o, f, c; activations s, g, k: Sigmoid, Tanh, Tanh. The peephole of o sees the new c.
    """

    name = "lstm"
    onnx = ("LSTM",)
    labels = ("y", "y_h", "y_c")
    gates = 4
    usual = ("Sigmoid", "Tanh", "Tanh")
    optional = ("B", "sequence_lens", "initial_h", "initial_c", "P")

    def step_flops(self, *costs: int) -> int:
        """3 s + g + k, 4 for cell and state, 6 for peepholes."""
        return 3 * costs[0] + costs[1] + costs[2] + 4 + 6 * ("P" in self.given)

    def step(self, cell: Weights, x: Tensor, state: Sequence[Tensor]) -> Sequence[Tensor]:
        return lstm_step(cell, x, state[0], state[1])


def _layer(
    op: type[Recurrent], x: Tensor, w: Tensor, r: Tensor, given: dict[str, Tensor | None], **attributes: Any
) -> Any:
    """The layer, with those of the optional inputs that there are."""
    inputs = {name: given[name] for name in op.optional if given.get(name) is not None}
    return apply(op(given=tuple(inputs), **attributes), x, w, r, *inputs.values())


def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    bias: Tensor | None = None,
    initial: Tensor | None = None,
    direction: str = "forward",
) -> tuple[Tensor, Tensor]:
    """A simple recurrent layer: h = tanh(x w^T + h r^T + bias), once for each step.

    Args:
        x: [T, N, I], floating.
        w: [D, H, I], for D directions.
        r: [D, H, H].
        bias: [D, 2 H], the halves of which are added; or None.
        initial: the state before the first step, [D, N, H]; zeros if None.
        direction: "forward", "reverse" or "bidirectional".

    Returns:
        All states [T, D, N, H], and the last ones [D, N, H].

    Raises:
        ShapeError: shapes or dtypes do not fit together.

    Source: ONNX RNN; Elman 1990.
    """
    result: tuple[Tensor, Tensor] = _layer(Rnn, x, w, r, {"B": bias, "initial_h": initial}, direction=direction)
    return result


def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    bias: Tensor | None = None,
    initial: Tensor | None = None,
    direction: str = "forward",
    linear_before_reset: bool = False,
) -> tuple[Tensor, Tensor]:
    """A gated recurrent layer; arguments and results as of `rnn`, with gates update, reset and candidate.

    Args:
        x: [T, N, I], floating.
        w: [D, 3 H, I].
        r: [D, 3 H, H].
        bias: [D, 6 H], or None.
        initial: [D, N, H], or None.
        direction: as of `rnn`.
        linear_before_reset: reset behind the product with r, as PyTorch and cuDNN do.

    Source: ONNX GRU; Cho et al. 2014.
    """
    given = {"B": bias, "initial_h": initial}
    result: tuple[Tensor, Tensor] = _layer(
        Gru, x, w, r, given, direction=direction, linear_before_reset=bool(linear_before_reset)
    )
    return result


def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    bias: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    peepholes: Tensor | None = None,
    direction: str = "forward",
) -> tuple[Tensor, Tensor, Tensor]:
    """A long short-term memory; arguments as of `rnn`, with gates input, output, forget and candidate.

    Args:
        x: [T, N, I], floating.
        w: [D, 4 H, I].
        r: [D, 4 H, H].
        bias: [D, 8 H], or None.
        initial_h: [D, N, H], or None.
        initial_c: [D, N, H], or None.
        peepholes: what input, output and forget gates see of the cells, [D, 3 H]; or None.
        direction: as of `rnn`.

    Returns:
        All states [T, D, N, H], the last ones [D, N, H], and the last cells [D, N, H].

    Source: ONNX LSTM; Hochreiter and Schmidhuber 1997.
    """
    given = {"B": bias, "initial_h": initial_h, "initial_c": initial_c, "P": peepholes}
    result: tuple[Tensor, Tensor, Tensor] = _layer(Lstm, x, w, r, given, direction=direction)
    return result


_LAYERS: dict[str, type[Recurrent]] = {"RNN": Rnn, "GRU": Gru, "LSTM": Lstm}


@from_onnx(*_LAYERS)
def _recurrent(node: Any, x: Tensor, w: Tensor, r: Tensor, *others: Tensor | None) -> tuple[Tensor, ...]:
    op = _LAYERS[node.op_type]
    if node.get("input_forget", 0):
        raise UnsupportedOp("its input and forget gates are coupled (input_forget)")
    if node.get("hidden_size", type_of(r).shape[-1]) != type_of(r).shape[-1]:
        raise ModelFormatError(f"hidden_size is {node.get('hidden_size')}, R is {type_of(r)}")
    given = dict(zip(op.optional, others, strict=False))
    batch_first = bool(node.get("layout", 0))
    if batch_first:
        x = transpose(x, (1, 0, 2))
        states = {name: t for name, t in given.items() if name.startswith("initial") and t is not None}
        given |= {name: transpose(t, (1, 0, 2)) for name, t in states.items()}
    spelling = {name.lower(): name for name in ACTIVATIONS}
    own = {"linear_before_reset": bool(node.get("linear_before_reset", 0))} if op is Gru else {}
    y, *last = _layer(
        op,
        x,
        w,
        r,
        given,
        direction=node.get("direction", "forward"),
        activations=tuple(spelling.get(name.lower(), name) for name in node.get("activations", ())),
        alphas=tuple(node.get("activation_alpha", ())),
        betas=tuple(node.get("activation_beta", ())),
        clip=node.get("clip", 0.0),
        **own,
    )
    if not batch_first:
        return y, *last
    return transpose(y, (2, 0, 1, 3)), *(transpose(t, (1, 0, 2)) for t in last)

"""One step of a simple recurrent layer, a GRU and an LSTM, in ops that have gradients of their own.

The gates of a layer with H hidden units stand one behind the other, [N, gates * H]. What a step gets is
the share of its input in them, bias included, and the state [N, H]; the first state may be [1, H].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinygraph.errors import ShapeError
from tinygraph.ops.activation import elu, hard_sigmoid, leaky_relu, softsign, thresholded_relu
from tinygraph.ops.base import Tensor
from tinygraph.ops.clip import clip
from tinygraph.ops.elementwise import relu, sigmoid, softplus, tanh
from tinygraph.ops.index import getitem
from tinygraph.ops.matmul import matmul


@dataclass(frozen=True)
class Activation:
    """A function of gates.

    Attributes:
        of: of(x, alpha, beta).
        flops: operations for each element.
        defaults: alpha and beta, as far as the function has them.
    """

    of: Callable[[Tensor, float, float], Tensor]
    flops: int
    defaults: tuple[float, ...] = ()


ACTIVATIONS = {
    "Relu": Activation(lambda x, a, b: relu(x), 1),
    "Tanh": Activation(lambda x, a, b: tanh(x), 4),
    "Sigmoid": Activation(lambda x, a, b: sigmoid(x), 4),
    "Affine": Activation(lambda x, a, b: x * a + b, 2, (1.0, 0.0)),
    "LeakyRelu": Activation(lambda x, a, b: leaky_relu(x, a), 3, (0.01,)),
    "ThresholdedRelu": Activation(lambda x, a, b: thresholded_relu(x, a), 2, (1.0,)),
    "ScaledTanh": Activation(lambda x, a, b: tanh(x * b) * a, 6, (1.0, 1.0)),
    "HardSigmoid": Activation(lambda x, a, b: hard_sigmoid(x, a, b), 4, (0.2, 0.5)),
    "Elu": Activation(lambda x, a, b: elu(x, a), 8, (1.0,)),
    "Softsign": Activation(lambda x, a, b: softsign(x), 3),
    "Softplus": Activation(lambda x, a, b: softplus(x), 10),
}


def chosen(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> list[Callable[[Tensor], Tensor]]:
    """The functions of these names; those that have an alpha or beta take the next one given, or their default.

    Raises:
        ShapeError: there is no function of that name.
    """
    left = list(alphas), list(betas)
    functions = []
    for name in names:
        if name not in ACTIVATIONS:
            raise ShapeError(f"there is no activation {name!r}; there are {', '.join(ACTIVATIONS)}")
        activation = ACTIVATIONS[name]
        numbers = [0.0, 0.0]
        for i, default in enumerate(activation.defaults):
            numbers[i] = left[i].pop(0) if left[i] else default
        functions.append(_bound(activation, *numbers))
    return functions


def _bound(activation: Activation, alpha: float, beta: float) -> Callable[[Tensor], Tensor]:
    return lambda x: activation.of(x, alpha, beta)


@dataclass(frozen=True)
class Weights:
    """What the steps of one direction share.

    Attributes:
        functions: the activations.
        hidden: H.
        recurrent: [H, gates * H].
        bias: [H], of a GRU that resets behind the product; else None.
        peepholes: three times [H], of an LSTM; else None.
        clip: what the activations get is cut to -clip ... clip, unless it is 0.
    """

    functions: Sequence[Callable[[Tensor], Tensor]]
    hidden: int
    recurrent: Tensor
    bias: Tensor | None
    peepholes: Sequence[Tensor] | None
    clip: float

    def gate(self, gates: Tensor, number: int, count: int = 1) -> Tensor:
        """Gates of [.., gates * H], from that number on."""
        return getitem(gates, (Ellipsis, slice(number * self.hidden, (number + count) * self.hidden)))

    def activate(self, number: int, x: Tensor) -> Tensor:
        """An activation, of what is clipped."""
        return self.functions[number](clip(x, -self.clip, self.clip) if self.clip else x)


def rnn_step(cell: Weights, x: Tensor, h: Tensor) -> Tensor:
    """The next state, f(x + h R)."""
    return cell.activate(0, x + matmul(h, cell.recurrent))


def gru_step(cell: Weights, x: Tensor, h: Tensor) -> Tensor:
    """The next state, of the gates update z, reset r and the candidate: (1 - z) candidate + z h."""
    both = cell.gate(x, 0, 2) + matmul(h, cell.gate(cell.recurrent, 0, 2))
    z, r = (cell.activate(0, cell.gate(both, number)) for number in (0, 1))
    last = cell.gate(cell.recurrent, 2)
    through = matmul(r * h, last) if cell.bias is None else r * (matmul(h, last) + cell.bias)
    candidate = cell.activate(1, cell.gate(x, 2) + through)
    return (1 - z) * candidate + z * h


def lstm_step(cell: Weights, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The next state and cell, of the gates input, output, forget and the candidate."""
    gates = x + matmul(h, cell.recurrent)
    i, o, f, candidate = (cell.gate(gates, number) for number in range(4))
    if cell.peepholes:
        i, f = i + cell.peepholes[0] * c, f + cell.peepholes[2] * c
    i, f = cell.activate(0, i), cell.activate(0, f)
    c = f * c + i * cell.activate(1, candidate)
    if cell.peepholes:
        o = o + cell.peepholes[1] * c
    return cell.activate(0, o) * cell.functions[2](c), c

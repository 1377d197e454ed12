"""Local response normalization across channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels.lrn import LrnByRows
from tinygraph.ops.base import (
    CALL,
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    gradient_not_in_onnx,
    no_macs,
    register,
)
from tinygraph.ops.elementwise import exp, log

__all__ = ["lrn"]


def window_sums(x: Array, below: int, above: int) -> Array:
    """y[:, c] = x[:, c - below] + ... + x[:, c + above], with nothing beyond the first and last channel."""
    channels = x.shape[1]
    y = np.zeros_like(x)
    for offset in range(max(-below, 1 - channels), min(above, channels - 1) + 1):
        first, last = max(0, -offset), min(channels, channels - offset)
        y[:, first:last] += x[:, first + offset : last + offset]
    return y


def check_maps(x: TensorType) -> None:
    """ShapeError unless x is [N, C, *] and floating."""
    floating(x)
    if x.ndim < 2:
        raise ShapeError(f"wants [N, C, ...], got {x}")


@register
class ChannelSum(Op):
    """y[n, c] = sum of x[n, c - below] to x[n, c + above], channels that do not exist being 0.

    Attributes:
        below, above: how far the window reaches to both sides.
    """

    name = "channel_sum"
    arity = (1, 1)
    traits = frozenset({"linear"})
    macs = no_macs
    to_onnx = gradient_not_in_onnx
    below: int
    above: int

    def infer(self, x: TensorType) -> TensorType:
        check_maps(x)
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(below + above) per output element, channels that do not exist counted."""
        return (self.below + self.above) * outputs[0].size

    def kernel(self, x: Array) -> Array:
        return window_sums(x, self.below, self.above)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(ChannelSum(below=self.above, above=self.below), cotangents[0])]


@register
class Lrn(Op):
    """y = x / (k + a * sum of x^2 over a window of channels) ** beta, a = alpha / size or alpha.

    The window of channel c reaches from c - floor((size - 1) / 2) to c + ceil((size - 1) / 2).

    Attributes:
        size: channels of the window.
        alpha, beta, k: as in the formula.
        alpha_over: "size" if a = alpha / size; "one" if a = alpha.
    """

    name = "lrn"
    onnx = ("LRN",)
    arity = (1, 1)
    macs = no_macs
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    alpha_over: Literal["size", "one"] = "size"

    @property
    def factor(self) -> float:
        """What the sum of squares is multiplied by."""
        return self.alpha / self.size if self.alpha_over == "size" else self.alpha

    @property
    def window(self) -> dict[str, int]:
        """How far the window reaches to both sides."""
        return {"below": (self.size - 1) // 2, "above": self.size // 2}

    def infer(self, x: TensorType) -> TensorType:
        check_maps(x)
        if self.size < 1:
            raise ShapeError(f"the window must have at least 1 channel, got {self.size}")
        if self.alpha_over not in ("size", "one"):
            raise ShapeError(f"alpha is over 'size' or 'one', got {self.alpha_over!r}")
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(size + 7) per element: square, window sum (size - 1), a and k, power (4), division."""
        return (self.size + 7) * outputs[0].size

    def work(self, inputs: Types, outputs: Types) -> int:
        """The prepared kernel goes from sample to sample, and through the window."""
        return super().work(inputs, outputs) + CALL * inputs[0].dims[0] * (self.size + 7)

    def kernel(self, x: Array) -> Array:
        y: Array = x / (self.k + self.factor * window_sums(x * x, **self.window)) ** self.beta
        return y

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        if types[0].ndim < 3 or not types[0].size:
            return None
        kernel = LrnByRows(types[0].dims, types[0].dtype, self.size, self.factor, self.beta, self.k)
        return Prepared(lambda ins, outs, workspace: kernel.run(ins[0], outs[0], workspace), kernel.workspace, "rows")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (x,), (y,), (g,) = inputs, outputs, cotangents
        base = apply(ChannelSum(**self.window), x * x) * self.factor + self.k
        direct = g * exp(log(base) * -self.beta)
        mirrored = ChannelSum(below=self.window["above"], above=self.window["below"])
        through = apply(mirrored, g * y / base) * x
        return [direct - through * (2 * self.factor * self.beta)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        alpha = self.factor * self.size
        return export.node("LRN", inputs, size=self.size, alpha=alpha, beta=self.beta, bias=self.k)


def lrn(
    x: Tensor,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    alpha_over: Literal["size", "one"] = "size",
) -> Tensor:
    """Divides each element by a power of its neighbours' energy across channels.

    Args:
        x: [N, C, *], floating.
        size: channels of the window, odd or even.
        alpha: y = x / (k + a * sum x^2) ** beta, where a depends on alpha.
        beta: the power.
        k: what keeps the quotient finite.
        alpha_over: "size" for a = alpha / size, as in Caffe, torch and ONNX; "one" for a = alpha,
            as in the paper.

    Returns:
        Of x's shape and dtype.

    Raises:
        ShapeError: x has no channels, or an attribute makes no sense.

    Source: Krizhevsky et al. 2012; ONNX LRN.
    """
    return apply(Lrn(int(size), float(alpha), float(beta), float(k), alpha_over), x)


@from_onnx("LRN")
def _lrn(node: Any, x: Tensor) -> Tensor:
    return lrn(x, node.get("size"), node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0))

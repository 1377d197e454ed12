"""BatchNorm in inference is a scale and a shift; a layer beside it takes both into its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tinygraph.ir import Array, Data, Graph, Node, TensorType, Value, array_of
from tinygraph.kernels.packed import packed
from tinygraph.ops.conv import Conv, Convolution
from tinygraph.ops.conv_transpose import ConvTranspose
from tinygraph.ops.matmul import Linear
from tinygraph.ops.norm import BatchNorm
from tinygraph.rewrite import Replacement, Rewriter, rewrite

Float64 = np.ndarray[Any, np.dtype[np.float64]]

_MOST_DEVIATIONS = 256  # in front of a layer, |mean| may be that many times sqrt(var + eps)


def fold_batch_norm(graph: Graph) -> Graph:
    """Folds BatchNorms into the convolution or linear layer behind or in front of which they stand.

        bn(conv(x, w, b))  ->  conv(x, s w, s b + t)       where bn(y) = s y + t
        conv(bn(x), w, b)  ->  conv(x, w s, b + w . t)     without padding

    A chain of BatchNorms folds as one. Everything is computed in float64 and rounded once. The
    new weight and bias are of kind frozen, fresh ones for each layer. A weight that is a recipe
    becomes a recipe.

    Preconditions:
        - The graph is for inference: in training, weights and statistics change.
        - The layer is a convolution, a transposed one (with BatchNorm behind it), or a linear
          layer on [N, features]: on more axes, BatchNorm's channels are not its features.
        - What lies between layer and BatchNorm has no other reader and is no output.
        - Weight, bias, statistics, gamma and beta have numbers.
        - Each variance + eps is above 0; each scale and shift is finite, in the layer's dtype too,
          and so is the new weight (a recipe's numbers are not looked at).
        - In front of a convolution: no padding, whose zeros the shift does not reach. In front
          of any layer: no mean is far larger than its deviation. BatchNorm takes the mean off
          before it rounds; the layer would sum large numbers that cancel.
    """
    return graph if graph.mode == "training" else rewrite(graph, _rule)


def _rule(node: Node, rw: Rewriter) -> Replacement:
    if isinstance(node.op, BatchNorm):
        return _behind(node, rw)
    if isinstance(node.op, (Conv, Linear)):
        return _in_front(node, rw)
    return None


def _behind(last: Node, rw: Rewriter) -> Replacement:
    reader = rw.index.sole_reader(last.outputs[0])
    if reader is not None and _vectors(reader, rw) is not None:
        return None  # the last BatchNorm of a chain folds all of it
    chain = _chain(last, rw)
    layer = rw.maker(chain.start)
    if layer is None or not chain.nodes or rw.index.sole_reader(chain.start) is not chain.nodes[0]:
        return None
    if isinstance(layer.op, ConvTranspose):
        scale = _by_group(chain.scale, layer)
    elif isinstance(layer.op, Conv) or _is_plain_linear(layer):
        scale = chain.scale.reshape(-1, *[1] * (layer.inputs[1].type.ndim - 1))
    else:
        return None
    bias = _bias(layer, rw)
    if bias is None:
        return None
    of = [layer, *chain.nodes]
    return _fold(rw, chain.start.name, of, layer, layer.inputs[0], scale, chain.scale * bias + chain.shift)


def _in_front(layer: Node, rw: Rewriter) -> Replacement:
    x = layer.inputs[0]
    last = rw.maker(x)
    unpadded = isinstance(layer.op, Conv) and not np.any(layer.op.padding)
    if last is None or rw.index.sole_reader(x) is not layer or not (unpadded or _is_plain_linear(layer)):
        return None
    chain = _chain(last, rw)
    if not chain.nodes or any(_is_off_center(node, rw) for node in chain.nodes):
        return None
    weight, bias = rw.array(layer.inputs[1]), _bias(layer, rw)
    if weight is None or bias is None:
        return None
    shift = (weight * _by_group(chain.shift, layer)).sum(axis=tuple(range(1, weight.ndim)))
    of = [layer, *chain.nodes]
    return _fold(rw, layer.name, of, layer, chain.start, _by_group(chain.scale, layer), bias + shift)


def _is_plain_linear(node: Node) -> bool:
    return isinstance(node.op, Linear) and node.inputs[0].type.ndim == 2


def _fold(
    rw: Rewriter, name: str, of: Sequence[Node], layer: Node, x: Value, scale: Float64, bias: Float64
) -> Replacement:
    """The layer on x, its weight scaled, with that bias; None if a number leaves the range of the dtype."""
    old = layer.inputs[1]
    dtype = old.type.dtype
    with np.errstate(all="ignore"):
        rounded = bias.astype(dtype)
        if not np.all(np.isfinite(rounded)) or not np.all(np.isfinite(scale.astype(dtype))):
            return None
        data = rw.data(old)
        new = None if data is None else scaled(data, scale)
        if new is None or (isinstance(new, np.ndarray) and not np.all(np.isfinite(new))):
            return None
    stem = layer.inputs[2].name if len(layer.inputs) > 2 else f"{name}.bias"
    weight = rw.declare("frozen", _folded(old.name), new)
    return rw.emit(layer.op, x, weight, rw.declare("frozen", _folded(stem), rounded), name=name, of=of)


def _folded(name: str) -> str:
    return f"{name.removesuffix('.folded')}.folded"


# ---- what a BatchNorm computes -------------------------------------------------------------


class Chain(NamedTuple):
    """BatchNorms in a row, from the value `start` on: y = scale x + shift, per channel."""

    start: Value
    nodes: tuple[Node, ...]
    scale: Float64
    shift: Float64


def _chain(last: Node, rw: Rewriter) -> Chain:
    """The BatchNorms up to this node, all but the last read by the next one alone."""
    start = last.outputs[0]
    nodes: list[Node] = []
    scale, shift = np.ones(1), np.zeros(1)
    node: Node | None = last
    while node is not None and (vectors := _vectors(node, rw)) is not None:
        gamma, beta, mean, deviation = vectors
        nodes.append(node)
        scale, shift = scale * (gamma / deviation), scale * (beta - mean * (gamma / deviation)) + shift
        start = node.inputs[0]
        node = rw.index.maker(start) if rw.index.sole_reader(start) is node else None
    return Chain(start, tuple(reversed(nodes)), scale, shift)


def _vectors(node: Node, rw: Rewriter) -> tuple[Float64, Float64, Float64, Float64] | None:
    """Gamma, beta, mean and sqrt(var + eps) of a BatchNorm; None if a precondition fails."""
    if not isinstance(node.op, BatchNorm):
        return None
    arrays = [rw.array(v) for v in node.inputs[1:]]
    gamma, beta, mean, var = (None if a is None else a.astype(np.float64) for a in arrays)
    if gamma is None or beta is None or mean is None or var is None or not np.all(var + node.op.eps > 0):
        return None
    deviation = np.sqrt(var + node.op.eps)
    with np.errstate(all="ignore"):
        finite = np.isfinite(gamma / deviation) & np.isfinite(beta - mean * (gamma / deviation))
    return (gamma, beta, mean, deviation) if np.all(finite) else None


def _is_off_center(node: Node, rw: Rewriter) -> bool:
    vectors = _vectors(node, rw)
    return vectors is None or bool(np.any(np.abs(vectors[2]) > _MOST_DEVIATIONS * vectors[3]))


def _bias(layer: Node, rw: Rewriter) -> Float64 | None:
    """The layer's bias, zero if it has none; None if it has no numbers."""
    if len(layer.inputs) < 3:
        return np.zeros(1)
    bias = rw.array(layer.inputs[2])
    return None if bias is None else bias.astype(np.float64)


def _by_group(vector: Float64, layer: Node) -> Float64:
    """A vector along the channels that axis 1 of the weight counts within each group of axis 0."""
    shape = layer.inputs[1].type.dims
    groups = layer.op.groups if isinstance(layer.op, Convolution) else 1
    rows = 1 if groups == 1 else shape[0] // groups
    vector = np.broadcast_to(vector, (groups * shape[1],)).reshape(groups, shape[1])
    return np.repeat(vector, rows, axis=0).reshape(groups * rows, shape[1], *[1] * (len(shape) - 2))


# ---- weights that are made when needed -----------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scaled:
    """A recipe: a weight times a scale that broadcasts, computed in float64 and rounded once."""

    weight: Data
    scale: Float64
    type: TensorType

    def array(self) -> Array:
        """The numbers, made at the first call and kept; read-only."""
        return self._made

    @cached_property
    def _made(self) -> Array:
        weight, dtype = array_of(self.weight), self.type.dtype
        how = "scaled", self.scale.shape, self.scale.tobytes(), dtype
        return packed(weight, how, lambda: _product(weight, self.scale, dtype))  # once for all who fold this graph


def _product(weight: Array, scale: Float64, dtype: np.dtype[Any]) -> Array:
    made = np.empty(np.broadcast_shapes(weight.shape, scale.shape), dtype)
    # Some numbers at a time are computed in float64.
    return np.multiply(weight, scale, out=made, dtype=np.float64, casting="same_kind")


def scaled(weight: Data, scale: Float64) -> Data:
    """A weight times a scale: numbers if it has numbers, else a recipe."""
    if isinstance(weight, np.ndarray):
        return Scaled(weight, scale, TensorType.of(weight)).array()
    if isinstance(weight, Scaled):
        return Scaled(weight.weight, weight.scale * scale, weight.type)
    return Scaled(weight, scale, weight.type)

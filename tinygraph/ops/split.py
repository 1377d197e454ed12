"""A tensor cut into parts along an axis: split."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from tinygraph.errors import ModelFormatError, ShapeError
from tinygraph.ir import Dim, Symbol
from tinygraph.ops.base import Tensor, from_onnx, normal_axis, type_of
from tinygraph.ops.index import getitem

__all__ = ["split"]


def split(x: Tensor, sizes: int | Sequence[Dim], axis: int = 1) -> tuple[Tensor, ...]:
    """Cuts x into parts along an axis; each is a slice, and a view where nothing else is asked for.

    Args:
        x: any shape and dtype.
        sizes: of the parts, which together are the axis; or how many equal parts to make, of
            which the last is smaller if it must be.
        axis: of x. An open one must stay whole.

    Raises:
        ShapeError: the sizes do not make up the axis.

    Source: ONNX Split; torch.split.
    """
    axis = normal_axis(int(axis), type_of(x).ndim)
    dim = type_of(x).shape[axis]
    if not isinstance(sizes, Sequence):
        sizes = _equal(dim, int(sizes))
    if len(sizes) == 1 and sizes[0] == dim:
        return (x,)
    if isinstance(dim, Symbol):
        raise ShapeError(f"cannot split the open dimension {dim}: bind it first")
    numbers = [n for n in sizes if isinstance(n, int) and n >= 0]
    if len(numbers) < len(sizes) or sum(numbers) != dim:
        raise ShapeError(f"parts of {', '.join(map(str, sizes))} do not make up a dimension of {dim}")
    ends = accumulate(numbers, initial=0)
    return tuple(getitem(x, (slice(None),) * axis + (slice(start, stop),)) for start, stop in pairwise(ends))


def _equal(dim: Dim, count: int) -> list[Any]:
    if count == 1:
        return [dim]
    if isinstance(dim, Symbol):
        raise ShapeError(f"cannot split the open dimension {dim}: bind it first")
    if count < 1 or -(-dim // count) * (count - 1) > dim:
        raise ShapeError(f"a dimension of {dim} does not make {count} parts")
    size = -(-dim // count)
    return [size] * (count - 1) + [dim - size * (count - 1)]


@from_onnx("Split")
def _split(node: Any, x: Tensor, sizes: Tensor = None) -> tuple[Tensor, ...]:
    wanted = node.get("split") if sizes is None else node.sizes(1, "split")
    count = node.get("num_outputs", node.outputs) if wanted is None else len(wanted)
    if count != node.outputs:
        raise ModelFormatError(f"it splits into {count}, but has {node.outputs} outputs")
    axis = normal_axis(node.get("axis", 0), type_of(x).ndim)
    dim = type_of(x).shape[axis]
    if wanted is None and node.opset < 18 and isinstance(dim, int) and dim % count:
        raise ModelFormatError(f"opset {node.opset} does not split a dimension of {dim} into {count} unequal parts")
    return split(x, count if wanted is None else wanted, axis)

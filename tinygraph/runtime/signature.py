"""The inputs of a graph as a call sees them: how many, named how, of which shapes and dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError, UsageError, printable
from tinygraph.ir import Array, Symbol, TensorType, Value

Binding = tuple[tuple[str, int], ...]  # (name of an open dimension, its number), in order of appearance

_RANKS = "biuf"  # a plain Python number may move up this list, never down


class Signature:
    """Checks the arguments of a call, and finds the numbers of open dimensions.

    Args:
        inputs: the inputs of a graph, in order.
    """

    def __init__(self, inputs: Sequence[Value]) -> None:
        self.inputs = tuple(inputs)
        self._types = [(v, v.type.shape, v.type.dtype) for v in self.inputs]
        self._static = all(v.type.is_static for v in self.inputs)

    def arrays(self, args: Sequence[Any], named: Mapping[str, Any]) -> list[Array]:
        """The arguments as arrays, in the order of the inputs.

        Raises:
            UsageError: too many or too few, an unknown name, or a dtype that would have to
                be converted with loss.
        """
        if named or len(args) != len(self.inputs):
            args = self._order(args, named)
        return [
            arg if type(arg) is np.ndarray and arg.dtype == dtype else _convert(value, arg)
            for (value, _, dtype), arg in zip(self._types, args, strict=True)
        ]

    def bind(self, arrays: Sequence[Array]) -> Binding:
        """Numbers of the open dimensions.

        Raises:
            ShapeError: a shape is not the declared one, or a name would get two numbers.
        """
        dims: dict[str, int] = {}
        for (value, shape, _), array in zip(self._types, arrays, strict=True):
            if array.shape == shape:
                continue
            if self._static or array.ndim != len(shape):
                raise ShapeError(f"input {value.name!r} is {TensorType.of(array)}, want {value.type}")
            for want, have in zip(shape, array.shape, strict=True):
                if have % want.factor if isinstance(want, Symbol) else want != have:
                    raise ShapeError(f"input {value.name!r} is {TensorType.of(array)}, want {value.type}")
                if isinstance(want, Symbol) and dims.setdefault(want.base, have // want.factor) * want.factor != have:
                    raise ShapeError(
                        f"input {value.name!r} is {TensorType.of(array)}, but {want.base} is {dims[want.base]} already"
                    )
        return tuple(dims.items())

    def _order(self, args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        names = [v.name for v in self.inputs]
        wanted = f"the inputs are {', '.join(map(str, self.inputs))}" if names else "there are no inputs"
        if len(args) > len(names):
            raise UsageError(f"got {len(args)} arrays; {wanted}")
        given = dict(zip(names, args, strict=False))
        for name, array in named.items():
            if name not in names:
                raise UsageError(f"there is no input {name!r}; {wanted}")
            if name in given:
                raise UsageError(f"input {name!r} was given twice; {wanted}")
            given[name] = array
        missing = [name for name in names if name not in given]
        if missing:
            raise UsageError(f"missing: {', '.join(map(printable, missing))}; {wanted}")
        return [given[name] for name in names]


def _convert(value: Value, arg: Any) -> Array:
    """An array of the input's dtype; numbers and lists of Python are converted if nothing is lost."""
    dtype = value.type.dtype
    try:
        array: Array = np.asarray(arg)
    except ValueError as error:
        raise UsageError(f"input {value.name!r} is no array: {error}") from None
    if array.dtype == dtype:
        return array
    if type(arg) in (bool, int, float) or isinstance(arg, (list, tuple)):
        converted = array.astype(dtype) if -1 < _RANKS.find(array.dtype.kind) <= _RANKS.find(dtype.kind) else None
        if converted is not None and np.array_equal(converted, array, equal_nan=dtype.kind == "f"):
            return converted
    raise UsageError(
        f"input {value.name!r} is {array.dtype}, want {dtype}; "
        f"numbers are not converted silently: pass np.asarray(..., {dtype.name!r})"
    )

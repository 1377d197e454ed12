"""The symbolic tensor: it has the operators of an array, knows its shape and dtype, and no numbers.

Whatever Python would need the numbers for (`if t > 0`, `float(t)`, `np.asarray(t)`) is a
TraceError that names the op and the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tinygraph import ops
from tinygraph.errors import TraceError
from tinygraph.ir import Shape, Symbol, TensorType, Value
from tinygraph.ops.base import Op, Symbolic
from tinygraph.source import source_line

if TYPE_CHECKING:
    from tinygraph.trace import Trace


class Tensor(Symbolic):
    """An array that is not there yet: a value of a graph in the making.

    It takes NumPy's operators and indexing by whole numbers, slices, None and `...`; the
    functions of tinygraph.nn.functional take it like an array. `t += v` makes a new tensor
    and leaves the old one as it was.
    """

    __array_ufunc__ = None  # so that `array + t` asks t, and makes no array of objects
    __slots__ = ("trace", "value")

    def __init__(self, value: Value, trace: Trace) -> None:
        self.value = value
        self.trace = trace

    def apply(self, op: Op, args: Sequence[Any]) -> Any:
        trace = self.trace
        for arg in args:
            if isinstance(arg, Tensor) and arg.trace.is_inside(trace):
                trace = arg.trace
        return trace.emit(op, args)

    @property
    def type(self) -> TensorType:  # type: ignore[override]  # a property serves as the attribute
        """Shape and dtype."""
        return self.value.type

    @property
    def shape(self) -> Shape:
        """Whole numbers, and Symbols for open dimensions."""
        return self.type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.type.ndim

    @property
    def size(self) -> int:
        """Number of elements; ShapeError if a dimension is open."""
        return self.type.size

    @property
    def T(self) -> Any:  # noqa: N802  # the name that arrays have
        """The axes in reverse order."""
        return ops.transpose(self)

    # ---- methods that arrays have too ----

    def reshape(self, *shape: Any) -> Any:
        """See ops.reshape; takes the dims one by one or as a tuple."""
        return ops.reshape(self, shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)

    def transpose(self, *axes: Any) -> Any:
        """See ops.transpose; takes the axes one by one or as a tuple."""
        return ops.transpose(self, axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes or None)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        """See ops.sum."""
        return ops.sum(self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """See ops.mean."""
        return ops.mean(self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        """See ops.max."""
        return ops.max(self, axis, keepdims)

    def astype(self, dtype: Any) -> Any:
        """See ops.cast."""
        return ops.cast(self, dtype)

    # ---- operators ----

    def __add__(self, other: Any) -> Any:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Any:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return ops.div(other, self)

    def __matmul__(self, other: Any) -> Any:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return ops.matmul(other, self)

    def __neg__(self) -> Any:
        return ops.neg(self)

    def __abs__(self) -> Any:
        return ops.abs(self)

    def __pow__(self, exponent: Any) -> Any:
        if exponent == 2:
            return ops.mul(self, self)
        if exponent == 0.5:
            return ops.sqrt(self)
        raise TraceError(f"t ** {exponent!r}: only powers 2 and 0.5 are ops; write the product, or exp(p * log(t))")

    def __lt__(self, other: Any) -> Any:
        return ops.compare(self, other, "<")

    def __le__(self, other: Any) -> Any:
        return ops.compare(self, other, "<=")

    def __gt__(self, other: Any) -> Any:
        return ops.compare(self, other, ">")

    def __ge__(self, other: Any) -> Any:
        return ops.compare(self, other, ">=")

    def __eq__(self, other: Any) -> Any:
        return ops.compare(self, other, "==")

    def __ne__(self, other: Any) -> Any:
        return ops.compare(self, other, "!=")

    __hash__ = object.__hash__

    def __getitem__(self, index: Any) -> Any:
        return ops.getitem(self, index)

    # ---- what a static graph cannot hold ----

    def __len__(self) -> int:
        if not self.shape:
            raise TraceError("a scalar tensor has no len()")
        if isinstance(self.shape[0], Symbol):
            raise TraceError(f"len(t): the first dimension is the open {self.shape[0]}, it has no number while tracing")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TraceError(f"t[...] = v: a tensor is never changed in place; use where, pad or concat {self._origin()}")

    def _no_number(self, what: str) -> NoReturn:
        raise TraceError(f"{what} needs the numbers of a tensor, and while tracing there are none {self._origin()}")

    def _origin(self) -> str:
        return f"({self.value!r}, at {source_line()})"

    def __bool__(self) -> bool:
        self._no_number("`if t`, `while t`, `and`, `or`, `not`: choose with where(condition, a, b); it")

    def __float__(self) -> float:
        self._no_number("float(t)")

    def __int__(self) -> int:
        self._no_number("int(t)")

    def __complex__(self) -> complex:
        self._no_number("complex(t)")

    def __index__(self) -> int:
        self._no_number("using t as an index")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function not in (np.shape, np.ndim):
            self._no_number(f"np.{function.__name__}(t); use tinygraph.nn.functional: it")
        return getattr(self, function.__name__)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._no_number("np.asarray(t)")

    def __repr__(self) -> str:
        return f"Tensor({self.value!r})"

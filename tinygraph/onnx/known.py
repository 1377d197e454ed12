"""What is known of a value before the model runs: constants, sizes, and what is computed from them.

Exported models compute the shapes of reshapes, slices and resizes with nodes of their own: Shape,
Gather, Concat and so on. These are followed backwards from where a number is needed, so that the
graph needs them no longer. An open dimension goes along by its name as long as it is only moved about.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygraph.budget import DEFAULT, Budget
from tinygraph.build import Builder
from tinygraph.ir import Array, Node, Symbol, Value, array_of
from tinygraph.ops.arithmetic import Add, Compare, Div, Mul, Sub, Where
from tinygraph.ops.base import no_flops
from tinygraph.ops.elementwise import Cast

LIMIT = 16 * 2**20  # bytes of a value that is computed for the sake of a shape
WORK = 10**8  # operations that one may take; all together, these times 100


class Known:
    """The numbers of the values of a graph in the making, as far as they are known.

    Args:
        build: where the graph is made.
        budget: of the memory that all values take that are computed.

    Raises:
        BudgetError: on asking for numbers, if to compute them took too much.
    """

    def __init__(self, build: Builder, budget: Budget = DEFAULT) -> None:
        self._build = build
        self._budget = replace(budget, operations=min(budget.operations, 100 * WORK))
        self._bytes = 0
        self._operations = 0
        self._fixed: dict[Value, bool] = {}
        self._arrays: dict[Value, Array | None] = {}
        self._origins: dict[Value, str] = {}

    def __getitem__(self, value: Value) -> Array | None:
        """The numbers; None if they are not known.

        An array of dtype object has the name of an open dimension (Symbol) in the place of a
        number, or None where a number is not known.
        """
        if not self._is_fixed(value):
            return None
        return self._find(value)

    def from_sizes(self, value: Value) -> Array | None:
        """The numbers of a value that is computed from sizes, and constants beside them, alone.

        None if other values take part, or sizes that are not known yet.
        """
        for current, node in self._upstream(value, self._origins):
            if node is None:
                self._origins[current] = "constant" if current.kind == "const" else ""
            elif node.op.sizes(node.input_types) is not None:
                self._origins[current] = "sizes"
            else:
                origins = {self._origins[v] for v in node.inputs}
                origin = "" if "" in origins or not origins else "sizes" if "sizes" in origins else "constant"
                self._origins |= dict.fromkeys(node.outputs, origin)
        array = self[value] if self._origins[value] == "sizes" else None
        return None if array is None or array.dtype == object else array

    def stands_for_sizes(self, value: Value) -> None:
        """Notes that a constant holds what `from_sizes` gave."""
        self._origins[value] = "sizes"

    def causes(self, value: Value) -> Iterator[Value]:
        """The inputs that the numbers depend on."""
        seen, stack = {value}, [value]
        while stack:
            current = stack.pop()
            if current.kind == "input":
                yield current
            node = self._build.maker(current)
            if node is not None and node.op.sizes(node.input_types) is None:
                stack += [v for v in node.inputs if v not in seen]
                seen.update(node.inputs)

    def _is_fixed(self, value: Value) -> bool:
        """Whether the numbers depend on constants and sizes alone."""
        for current, node in self._upstream(value, self._fixed):
            if node is None:
                self._fixed[current] = self._build.data(current) is not None
            else:
                small = all(t.is_static and t.nbytes <= LIMIT for t in node.output_types) and _work(node) <= WORK
                told = node.op.sizes(node.input_types) is not None
                # Where sizes are told by types, the inputs have not been looked at.
                fixed = told or (small and "random" not in node.op.traits and all(self._fixed[v] for v in node.inputs))
                self._fixed |= dict.fromkeys(node.outputs, fixed)
        return self._fixed[value]

    def _find(self, value: Value) -> Array | None:
        for current, node in self._upstream(value, self._arrays):
            if node is None:
                data = self._build.data(current)
                self._arrays[current] = None if data is None else array_of(data)
            else:
                self._arrays |= zip(node.outputs, self._compute(node), strict=True)
        return self._arrays[value]

    def _upstream(self, value: Value, done: Any) -> Iterator[tuple[Value, Node | None]]:
        """The values that this one is made from and itself, each after those it needs; but none that is done."""
        stack = [value]
        while stack:
            current = stack[-1]
            node = self._build.maker(current)
            told = node is not None and node.op.sizes(node.input_types) is not None
            missing = [] if node is None or told or current in done else [v for v in node.inputs if v not in done]
            if missing:
                stack += missing
                continue
            stack.pop()
            if current not in done:
                yield current, node

    def _compute(self, node: Node) -> Sequence[Array | None]:
        sizes = node.op.sizes(node.input_types)
        if sizes is not None:
            array = np.array([*sizes, None], object)[:-1].reshape(node.outputs[0].type.dims)
            return [_settled(array, node.outputs[0])]
        inputs = [self._arrays[v] for v in node.inputs]
        if any(a is None for a in inputs):
            return [None] * len(node.outputs)
        self._bytes += sum(t.nbytes for t in node.output_types)
        self._operations += _work(node)
        self._budget.check_bytes(self._bytes, "what shapes are computed from takes")
        self._budget.check_operations(self._operations, "to compute shapes takes")
        named = any(a.dtype == object for a in inputs)  # type: ignore[union-attr]  # None has been dealt with
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                made = _by_name(node, inputs) if named else node.op.kernel(*inputs)
        except Exception:  # the run will fail in the same way, with a message that names the node
            return [None] * len(node.outputs)
        results = made if isinstance(made, tuple) else (made,)
        return [_settled(np.asarray(y), v) for y, v in zip(results, node.outputs, strict=True)]


def _work(node: Node) -> int:
    """What a node takes, a byte on the way being an operation; of one with open dimensions nothing: it is left."""
    types = node.input_types, node.output_types
    return node.op.work(*types) + node.op.scratch(*types) if all(t.is_static for t in types[0]) else 0


def _settled(array: Array, value: Value) -> Array | None:
    """The array in its dtype, if all of its numbers are known; None if it is not what was inferred."""
    if array.dtype == object and all(isinstance(x, (int, np.number, np.bool_)) for x in array.flat):
        array = array.astype(value.type.dtype)
    fits = array.shape == value.type.shape and array.dtype in (object, value.type.dtype)
    return array if fits else None


def _by_name(node: Node, inputs: Sequence[Any]) -> Any:
    """The result where some numbers are names: what only moves them keeps them, arithmetic seldom does."""
    op = node.op
    if isinstance(op, Cast):
        return inputs[0] if np.dtype(op.dtype).kind in "iu" else np.full(inputs[0].shape, None)
    if "elementwise" not in op.traits:
        if getattr(type(op), "flops") is no_flops:  # noqa: B009  # mypy takes it for a bound method
            return op.kernel(*inputs)
        raise NotImplementedError
    inputs = np.broadcast_arrays(*inputs)
    result = np.empty(inputs[0].shape, object)
    dtypes = [t.dtype for t in node.input_types]
    for place in np.ndindex(result.shape):
        result[place] = _number(op, [a[place] for a in inputs], dtypes)
    return result


def _number(op: Any, numbers: Sequence[Any], dtypes: Sequence[np.dtype[Any]]) -> Any:
    """One number of an elementwise result: a number, a name, or None."""
    if not any(n is None or isinstance(n, Symbol) for n in numbers):
        return op.kernel(*(np.asarray(n, t) for n, t in zip(numbers, dtypes, strict=True)))[()]
    match op, numbers:
        case Mul(), (Symbol() as d, int() | np.integer() as n) | (int() | np.integer() as n, Symbol() as d):
            return d.times(int(n)) if n > 0 else 0 if n == 0 else None
        case Add(), (0, n) | (n, 0):
            return n
        case Sub(), (n, 0):
            return n
        case Div(), (Symbol() as d, int() | np.integer() as n) if n > 0 and d.factor % n == 0:
            return d.base.times(d.factor // int(n))
        case Compare(relation="=="), (Symbol(), int() | np.integer() as n) | (int() | np.integer() as n, Symbol()):
            return False if n < 0 else None  # a dimension is not negative
        case Compare(relation="=="), (a, b):
            return True if a is not None and a == b else None
        case Where(), (None, a, b):
            return a if a == b else None
        case Where(), (condition, a, b):
            return a if condition else b
    return None

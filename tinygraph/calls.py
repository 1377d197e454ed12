"""One call of a function that is to be differentiated: its graph, what goes in, what comes out, in which form.

A function takes arrays and modules and gives nested tuples, lists and dicts; a graph has inputs and
outputs by name. transforms.py speaks of the one, autodiff.py of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph import ops
from tinygraph.errors import ShapeError, UsageError
from tinygraph.ir import Graph, Mode, TensorType, Value
from tinygraph.ops.base import Symbolic, type_of
from tinygraph.tensor import Tensor
from tinygraph.trace import Trace, current, is_module

Wrt = str | int | Sequence[str | int] | None

GRAD, COTANGENT, TANGENT = "grad.", "cotangent.", "tangent."  # in front of names; see autodiff.py


def at(inputs: Sequence[Value], position: int) -> Value:
    """The input at that position; UsageError if there is none."""
    try:
        return inputs[position]
    except IndexError:
        raise UsageError(f"wrt={position}: there are {len(inputs)} arrays among the arguments") from None


class Chosen:
    """What to differentiate by, and the form that gradients come in.

    Attributes:
        names: of values of the graph.
    """

    def __init__(self, names: Sequence[str], form: str, types: Mapping[str, TensorType]) -> None:
        self.names = list(names)
        self._form = form  # "one", "tuple" or "dict"
        self._types = types

    def pack(self, results: Mapping[str, Any], prefix: str) -> Any:
        """Results of these names, prefix first, in that form."""
        found = {name: results[prefix + name] for name in self.names}
        if self._form == "dict":
            return found
        return tuple(found.values()) if self._form == "tuple" else found[self.names[0]]

    def unpack(self, given: Any, prefix: str) -> dict[str, Any]:
        """The other way: what was given in that form, by name; ShapeError if something does not fit."""
        if self._form == "dict":
            if not isinstance(given, Mapping) or set(given) != set(self.names):
                raise UsageError(f"tangents are a dict with {', '.join(map(repr, self.names))}")
            listed = [given[name] for name in self.names]
        elif self._form == "tuple" and isinstance(given, (tuple, list)):
            listed = list(given)
        else:
            listed = [given]
        if len(listed) != len(self.names):
            wanted = ", ".join(map(repr, self.names))
            raise UsageError(f"{len(self.names)} tangents are wanted, for {wanted}; got {len(listed)}")
        return {
            prefix + name: _fitting(t, self._types[name], f"the tangent of {name!r}")
            for name, t in zip(self.names, listed, strict=True)
        }


class Call:
    """One call of a function that is to be differentiated: its graph, what goes in, what comes out.

    Attributes:
        graph: of the function; what a trace around it provides are inputs.
        first: name of the first output.
    """

    def __init__(self, fn: Callable[..., Any], args: Sequence[Any], mode: Mode, seed: int) -> None:
        outer = None  # the innermost trace of those around
        for trace in (*(a.trace for a in args if isinstance(a, Tensor)), current()):
            if outer is None or (trace is not None and trace.is_inside(outer)):
                outer = trace
        self._outer = outer
        given = [a if isinstance(a, Symbolic) or is_module(a) else np.asarray(a) for a in args]
        inner = Trace(outer.mode if outer else mode, outer)
        with inner.running():
            specs: list[Any] = [a if is_module(a) else type_of(a) for a in given]
            value = inner.call(fn, specs)
            tensors: list[Any] = []
            self._form = _flatten(value, tensors)
            self.graph = inner.finish(tensors)
        self._outputs = [name for name, _ in self.graph.outputs[: len(tensors)]]
        if not self._outputs:
            raise UsageError("the function gave no tensor")
        self.first = self._outputs[0]
        arrays = [a for a in given if not is_module(a)]
        self._arguments = [v.name for v in self.graph.inputs[: len(arrays)]]
        self._feeds: dict[str, Any] = dict(zip(self._arguments, arrays, strict=True))
        self._feeds |= {v.name: Tensor(o, outer) for o, v in inner.captured.items()} if outer else {}
        if outer is None and len(self.graph.inputs) > len(self._feeds):
            self._feeds[self.graph.inputs[-1].name] = np.array([seed, 0], np.uint64)
        self._params = [name for name, variable in inner.variables.items() if variable.kind == "param"]
        self._updated = inner.updated

    def choose(self, wrt: Wrt, everything: bool = False) -> Chosen:
        """What to differentiate by; `everything` takes all arrays by default instead of the first."""
        types = {v.name: v.type for v in self.graph.values()}
        if wrt is None and self._params:
            return Chosen(self._params, "dict", types)
        if wrt is None and not self._arguments:
            raise UsageError("there is nothing to differentiate by: no array and no parameter among the arguments")
        if wrt is None:
            several = everything and len(self._arguments) > 1
            return Chosen(self._arguments if several else self._arguments[:1], "tuple" if several else "one", types)
        listed = [wrt] if isinstance(wrt, (str, int)) else wrt
        arguments = self.graph.inputs[: len(self._arguments)]
        names = list(dict.fromkeys(w if isinstance(w, str) else at(arguments, w).name for w in listed))
        return Chosen(names, "one" if isinstance(wrt, (str, int)) else "dict", types)

    def run(self, graph: Graph, feeds: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Runs a graph made from this one, or puts it into the trace around; the outputs by name."""
        feeds = {**self._feeds, **(feeds or {})}
        args = [feeds[v.name] for v in graph.inputs]
        names = [name for name, _ in graph.outputs]
        if self._outer is not None:
            made = dict(zip(names, self._outer.inline(graph, args), strict=True))
            for variable, name in zip(self._updated, self._next_values(), strict=True):
                self._outer.update(variable, made[name])
            return made
        from tinygraph.runtime.session import Session

        results = Session(graph)(*args)
        return results if len(names) > 1 else {names[0]: results}

    def result(self, results: Mapping[str, Any]) -> Any:
        """What the function gives, out of the outputs."""
        return _build(self._form, iter([results[name] for name in self._outputs]))

    def tangents(self, results: Mapping[str, Any]) -> Any:
        """How fast that changes; zeros for what holds no floating-point numbers."""
        names = [(name, TANGENT + name) for name in self._outputs]
        return _build(self._form, iter([results[t] if t in results else _zeros(results[name]) for name, t in names]))

    def like_results(self, given: Any, prefix: str) -> dict[str, Any]:
        """Arrays in the form of the function's value, by output name; ShapeError if one does not fit."""
        if _flatten(given, []) != self._form:
            raise UsageError("the cotangent has another form than the value of the function")
        flat = list(_leaves(self._form, given))
        types = {name: v.type for name, v in self.graph.outputs}
        return {
            prefix + name: _fitting(c, types[name], f"the cotangent of {name!r}")
            for name, c in zip(self._outputs, flat, strict=True)
            if types[name].dtype.kind == "f"
        }

    def _next_values(self) -> list[str]:
        return [name for name, _ in self.graph.outputs[len(self._outputs) :]]


def _fitting(given: Any, type: TensorType, what: str) -> Any:
    """A tensor, or an array of that dtype; ShapeError if it has another shape."""
    found: Any = given if isinstance(given, Symbolic) else np.asarray(given, type.dtype)
    shape = found.type.shape if isinstance(given, Symbolic) else found.shape
    if shape != type.shape:
        raise ShapeError(f"{what} is {list(shape)}, want {type}")
    return found


def _zeros(x: Any) -> Any:
    """Zeros of the type of a tensor or an array."""
    if not isinstance(x, Tensor):
        return np.zeros_like(x)
    zero = Tensor(x.trace.builder.const(x.dtype.type(0)), x.trace)
    return ops.broadcast_to(zero, x.shape)


def _flatten(value: Any, tensors: list[Any]) -> Any:
    """Appends the tensors of nested tuples, lists and dicts; gives their form."""
    if isinstance(value, Mapping):
        return {key: _flatten(part, tensors) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_flatten(part, tensors) for part in value)
    if value is None:
        raise UsageError("the function gave None; it must return a tensor, or tuples, lists or dicts of tensors")
    tensors.append(value)
    return ...


def _leaves(form: Any, value: Any) -> Iterator[Any]:
    """The tensors of a value of that form, in the form's order: two dicts may be alike in all but that."""
    if isinstance(form, dict):
        for key, part in form.items():
            yield from _leaves(part, value[key])
    elif isinstance(form, tuple):
        for part, each in zip(form, value, strict=True):
            yield from _leaves(part, each)
    else:
        yield value


def _build(form: Any, tensors: Any) -> Any:
    if isinstance(form, dict):
        return {key: _build(part, tensors) for key, part in form.items()}
    if isinstance(form, tuple):
        return tuple(_build(part, tensors) for part in form)
    return next(tensors)

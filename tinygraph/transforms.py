"""Functions from functions to their derivatives: grad, value_and_grad, vjp, jvp, hvp, checkpoint.

    loss, grads = tg.value_and_grad(lambda m, x, y: F.cross_entropy(m(x), y))(net, x, y)

Each takes a function or module and gives a function of the same arguments, or takes a graph and
gives the graph (see autodiff.py). The function is traced at each call, on the shapes of its
arguments, and nothing is remembered: what it reads besides its arguments may change. For the
loops of training there is `train_step`, and for others `tg.compile(tg.grad(graph))`.

They nest, and they work inside of a trace: then the derivative becomes part of the graph that
is being made, and whatever the function reads of that graph is a constant to it, unless it is
named in `wrt`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygraph import autodiff, ops
from tinygraph.errors import ShapeError, UsageError
from tinygraph.ir import Graph, Mode, TensorType, Value
from tinygraph.ops.base import Symbolic, type_of
from tinygraph.tensor import Tensor
from tinygraph.trace import Trace, current, is_module

Wrt = str | int | Sequence[str | int] | None

_GRAD, _COTANGENT, _TANGENT = "grad.", "cotangent.", "tangent."


def grad(
    fn: Callable[..., Any] | Graph,
    wrt: Wrt = None,
    *,
    has_aux: bool = False,
    mode: Mode = "training",
    seed: int = 0,
) -> Any:
    """As value_and_grad, for the gradient alone; with has_aux, (gradient, aux)."""
    if isinstance(fn, Graph):
        made = value_and_grad(fn, wrt)
        known = {name for name, _ in fn.outputs}
        return replace(made, outputs=tuple((name, v) for name, v in made.outputs if name not in known))

    def gradient(*args: Any) -> Any:
        value, found = value_and_grad(fn, wrt, has_aux=has_aux, mode=mode, seed=seed)(*args)
        return (found, value[1]) if has_aux else found

    return gradient


def value_and_grad(
    fn: Callable[..., Any] | Graph,
    wrt: Wrt = None,
    *,
    has_aux: bool = False,
    mode: Mode = "training",
    seed: int = 0,
) -> Any:
    """A function that gives the value of a scalar function, and its gradient.

    Args:
        fn: a function or module of arrays and modules, whose value is a scalar; or a graph with
            one output, which gives the graph with the outputs "grad.<name>" besides.
        wrt: what to differentiate by: names of parameters or arguments, or positions among the
            arrays. By default every trainable parameter of the modules, or the first array if
            there is none.
        has_aux: whether fn gives (scalar, anything else made of arrays).
        mode: in which modules run. In training BatchNorm takes the statistics of the batch and
            dropout drops; buffers stay as they are.
        seed: of what dropout drops; the same at each call.

    Returns:
        A function of fn's arguments that gives (value, gradient), or ((value, aux), gradient).
        The gradient is an array if `wrt` is one name or position, or by default that of the one
        array; else a dict of arrays by name.

    Raises:
        NotDifferentiable: when called, something on the way has no gradient.
        UsageError: when called, the value is no scalar, or a name in wrt is not known.
    """
    if isinstance(fn, Graph):
        return autodiff.gradients(fn, None, _names(fn, wrt))

    def both(*args: Any) -> Any:
        call = _Call(fn, args, mode, seed)
        chosen = call.choose(wrt)
        results = call.run(autodiff.gradients(call.graph, call.first, chosen.names))
        value = call.result(results)
        if has_aux and not (isinstance(value, tuple) and len(value) == 2):
            raise UsageError("has_aux says that the function gives (scalar, aux), and it does not")
        return value, chosen.pack(results, _GRAD)

    return both


def vjp(fn: Callable[..., Any] | Graph, *args: Any, wrt: Wrt = None, mode: Mode = "training", seed: int = 0) -> Any:
    """The value of a function, and the function that pulls cotangents back through it.

    Args:
        fn: a function or module of arrays and modules, of any number of results; or a graph,
            which gives its vector-Jacobian graph, with inputs "cotangent.<output>".
        args: where to differentiate.
        wrt: see value_and_grad; by default the trainable parameters, or else every array.
        mode: see value_and_grad.
        seed: see value_and_grad.

    Returns:
        (value, pull). pull(cotangent) takes what has the form of the value, and gives the
        cotangents in the form of value_and_grad's gradient; by default those of all the arrays
        are a tuple in their order.

    Raises:
        NotDifferentiable: something on the way has no gradient.
        ShapeError: when pull is called, a cotangent has another shape than the value.
    """
    if isinstance(fn, Graph):
        return autodiff.vjp_graph(fn, _names(fn, wrt, everything=True))
    call = _Call(fn, args, mode, seed)
    chosen = call.choose(wrt, everything=True)
    value = call.result(call.run(call.graph))

    def pull(cotangent: Any) -> Any:
        given = call.like_results(cotangent, _COTANGENT)
        outputs = [name.removeprefix(_COTANGENT) for name in given]
        return chosen.pack(call.run(autodiff.vjp_graph(call.graph, chosen.names, outputs), given), _GRAD)

    return value, pull


def jvp(
    fn: Callable[..., Any] | Graph,
    primals: Sequence[Any] = (),
    tangents: Any = None,
    *,
    wrt: Wrt = None,
    mode: Mode = "training",
    seed: int = 0,
) -> Any:
    """The value of a function, and how fast it changes in a direction: J v.

    Args:
        fn: see vjp; a graph gives the graph with inputs "tangent.<name>" and outputs
            "tangent.<output>".
        primals: the arguments, where to differentiate.
        tangents: the direction v, in the form in which `vjp` gives cotangents.
        wrt: see vjp.
        mode: see vjp.
        seed: see vjp.

    Returns:
        (value, J v), alike in form; zeros for what holds no floating-point numbers.

    Source: two vector-Jacobian products make one Jacobian-vector product (Townsend 2017).
    """
    if isinstance(fn, Graph):
        return autodiff.jvp_graph(fn, _names(fn, wrt, everything=True))
    call = _Call(fn, primals, mode, seed)
    chosen = call.choose(wrt, everything=True)
    results = call.run(autodiff.jvp_graph(call.graph, chosen.names), chosen.unpack(tangents, _TANGENT))
    return call.result(results), call.tangents(results)


def hvp(
    fn: Callable[..., Any] | Graph,
    primals: Sequence[Any] = (),
    tangents: Any = None,
    *,
    wrt: Wrt = None,
    mode: Mode = "training",
    seed: int = 0,
) -> Any:
    """The Hessian of a scalar function times a direction: H v, without making H.

    Args:
        fn: see value_and_grad; a graph gives the graph with inputs "tangent.<name>" and
            outputs "hvp.<name>".
        primals: see jvp.
        tangents: see jvp.
        wrt: see jvp.
        mode: see jvp.
        seed: see jvp.

    Returns:
        H v, in the form of v.

    Source: Pearlmutter 1994, here as the gradient of (gradient · v).
    """
    if isinstance(fn, Graph):
        return autodiff.hvp_graph(fn, None, _names(fn, wrt))
    call = _Call(fn, primals, mode, seed)
    chosen = call.choose(wrt, everything=True)
    made = autodiff.hvp_graph(call.graph, call.first, chosen.names)
    return chosen.pack(call.run(made, chosen.unpack(tangents, _TANGENT)), "hvp.")


def checkpoint(fn: Any) -> Any:
    """Makes a module or function keep nothing for the backward pass but its inputs.

    What it computes on the way is computed once more when the gradient needs it: less memory for
    more work. The numbers are the same bit for bit, dropout and BatchNorm included.

    Args:
        fn: a module, which is marked and given back; or a function, which is wrapped.

    Source: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost.
    """
    if is_module(fn):
        fn._recomputed = True
        return fn

    def wrapped(*args: Any) -> Any:
        trace = current()
        if trace is None:
            return fn(*args)
        with trace.checkpoint():
            return fn(*args)

    return wrapped


def _names(graph: Graph, wrt: Wrt, everything: bool = False) -> list[str]:
    """Names of values of a graph; positions are those of its inputs."""
    if wrt is None:
        params = [v.name for v in graph.data if v.kind == "param"]
        inputs = [v.name for v in graph.inputs if v.type.dtype.kind == "f"]
        return params or (inputs if everything else inputs[:1])
    listed = [wrt] if isinstance(wrt, (str, int)) else wrt
    return [w if isinstance(w, str) else _at(graph.inputs, w).name for w in listed]


def _at(inputs: Sequence[Value], position: int) -> Value:
    try:
        return inputs[position]
    except IndexError:
        raise UsageError(f"wrt={position}: there are {len(inputs)} arrays among the arguments") from None


class _Chosen:
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


class _Call:
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

    def choose(self, wrt: Wrt, everything: bool = False) -> _Chosen:
        """What to differentiate by; `everything` takes all arrays by default instead of the first."""
        types = {v.name: v.type for v in self.graph.values()}
        if wrt is None and self._params:
            return _Chosen(self._params, "dict", types)
        if wrt is None and not self._arguments:
            raise UsageError("there is nothing to differentiate by: no array and no parameter among the arguments")
        if wrt is None:
            several = everything and len(self._arguments) > 1
            return _Chosen(self._arguments if several else self._arguments[:1], "tuple" if several else "one", types)
        listed = [wrt] if isinstance(wrt, (str, int)) else wrt
        arguments = self.graph.inputs[: len(self._arguments)]
        names = list(dict.fromkeys(w if isinstance(w, str) else _at(arguments, w).name for w in listed))
        return _Chosen(names, "one" if isinstance(wrt, (str, int)) else "dict", types)

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
        names = [(name, _TANGENT + name) for name in self._outputs]
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

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

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tinygraph import autodiff
from tinygraph.calls import COTANGENT, GRAD, TANGENT, Call, Wrt, at
from tinygraph.errors import UsageError
from tinygraph.ir import Graph, Mode
from tinygraph.trace import current, is_module


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
        call = Call(fn, args, mode, seed)
        chosen = call.choose(wrt)
        results = call.run(autodiff.gradients(call.graph, call.first, chosen.names))
        value = call.result(results)
        if has_aux and not (isinstance(value, tuple) and len(value) == 2):
            raise UsageError("has_aux says that the function gives (scalar, aux), and it does not")
        return value, chosen.pack(results, GRAD)

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
    call = Call(fn, args, mode, seed)
    chosen = call.choose(wrt, everything=True)
    value = call.result(call.run(call.graph))

    def pull(cotangent: Any) -> Any:
        given = call.like_results(cotangent, COTANGENT)
        outputs = [name.removeprefix(COTANGENT) for name in given]
        return chosen.pack(call.run(autodiff.vjp_graph(call.graph, chosen.names, outputs), given), GRAD)

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
    call = Call(fn, primals, mode, seed)
    chosen = call.choose(wrt, everything=True)
    results = call.run(autodiff.jvp_graph(call.graph, chosen.names), chosen.unpack(tangents, TANGENT))
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
    call = Call(fn, primals, mode, seed)
    chosen = call.choose(wrt, everything=True)
    made = autodiff.hvp_graph(call.graph, call.first, chosen.names)
    return chosen.pack(call.run(made, chosen.unpack(tangents, TANGENT)), "hvp.")


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
    return [w if isinstance(w, str) else at(graph.inputs, w).name for w in listed]

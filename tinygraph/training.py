"""A training step as one compiled graph: forward, backward, BatchNorm's statistics and the update.

    step = tg.train_step(net, tg.optim.SGD(0.1, momentum=0.9), F.cross_entropy, inputs=[x_spec, y_spec])
    for x, y in batches:
        loss = step(x, y)

What changes from step to step (parameters, buffers, what the optimizer keeps, the count of steps)
belongs to the step, which rewrites it in place; the network always shows the newest numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

import tinygraph
from tinygraph import ops, optim
from tinygraph.autodiff import gradients
from tinygraph.errors import DivergenceError, UsageError
from tinygraph.ir import Array, Graph, TensorType, Value, array_of
from tinygraph.nn.init import ZEROS, Initializer, Seeded
from tinygraph.nn.module import Module, Variable
from tinygraph.optim.clipping import squared_norm
from tinygraph.runtime.diagnose import first_nonfinite
from tinygraph.runtime.plan import Memory
from tinygraph.runtime.session import Session
from tinygraph.tensor import Tensor
from tinygraph.trace import Spec, Trace, input_names

_SCALAR = TensorType((), np.dtype(np.float64))
_NORM = "squared_norm"  # of the gradients: an output that is finite exactly if all of them are
_OWN = "optimizer."  # begins the names of what a step keeps besides parameters and buffers
_COUNTS = ("steps", "calls", "seed")


def train_step(
    net: Module,
    optimizer: optim.Optimizer,
    loss: Callable[..., Any],
    inputs: Sequence[Spec | TensorType],
    *,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    accumulate: int = 1,
    frozen: Sequence[str] = (),
    no_decay: Sequence[str] = (),
    seed: int = 0,
    threads: int | None = None,
) -> TrainStep:
    """Compiles a training step of a network.

    Args:
        net: its trainable parameters are trained.
        optimizer: see tinygraph.optim.
        loss: loss(net, *inputs); or, if it wants no more arguments than there are inputs,
            loss(net(*inputs[:-1]), inputs[-1]), as F.cross_entropy does. It gives a floating
            scalar, or that and a dict of metrics.
        inputs: shape and dtype of each input; the batch may be open: Spec(("N", 3, 32, 32)).
        clip_norm: gradients are scaled down so that their common norm is at most this.
        clip_value: numbers of the gradients are brought into [-clip_value, clip_value].
        accumulate: the update comes with every so many-th call, from the mean of their gradients.
        frozen: patterns of the names of parameters that stay as they are: "features.*".
        no_decay: patterns of the names of parameters without weight decay: "*.bias".
        seed: of dropout.
        threads: that a step may use; by default as many as there are cores for this process.

    Raises:
        UsageError: the loss is no scalar, a pattern fits no parameter, or a number is out of range.
        NotDifferentiable: something between loss and parameters has no gradient.
    """
    if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
        raise UsageError(f"accumulate={accumulate!r}: give a whole number of at least 1")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 63:
        raise UsageError(f"seed={seed!r}: give a whole number from 0 on, below 2^63")
    recipe = _Recipe(optimizer, clip_norm, clip_value, accumulate, tuple(no_decay))
    return TrainStep(_backward(net, loss, inputs, frozen), recipe, seed, threads)


class TrainStep:
    """A compiled training step: `loss = step(x, y)`. Made by train_step.

    One thread at a time may call it.

    Attributes:
        graph: what runs, optimized.
        steps: updates made so far.
        gradient_norm: Euclidean norm of the last gradient, before clipping; NaN at first.
    """

    def __init__(self, backward: _Backward, recipe: _Recipe, seed: int, threads: int | None) -> None:
        self.gradient_norm = float("nan")
        self.steps = 0
        self._calls = 0
        self._seed = seed
        self._recipe = recipe
        self._backward = backward
        kinds = (False, True) if recipe.accumulate > 1 else (True,)
        graphs = [tinygraph.optimize(recipe.graph(backward, last), "training") for last in kinds]
        self.graph: Graph = graphs[-1]
        named = {value.name: data for value, data in self.graph.data.items()}
        slots = [name for name, _ in self.graph.outputs if name in named and name not in backward.variables]
        self._slots = {name: np.array(array_of(named[name])) for name in slots}
        self._weights = {name: np.array(variable.array()) for name, variable in backward.variables.items()}
        self._written = [name for name, _ in self.graph.outputs if name in self._weights]
        state = {**self._weights, **self._slots}
        self._sessions = [
            Session(g, threads, {v: state[v.name] for v in g.data if v.name in state}, ("loss", _NORM)) for g in graphs
        ]

    @property
    def memory(self) -> Memory:
        """Bytes that a step needs, known without running; UsageError if the batch is open."""
        return self._sessions[-1].memory

    def __call__(self, *arrays: Any, lr: float | None = None, weight_decay: float | None = None) -> Any:
        """Makes a step.

        Args:
            arrays: one for each input.
            lr: learning rate of this step, in the place of the optimizer's own.
            weight_decay: the same; the optimizer must have one above 0.

        Returns:
            The loss as a float; or (loss, metrics) if there are metrics, floats where they are scalars.

        Raises:
            DivergenceError: the loss or a gradient is infinite or NaN. The message names the first
                node that made such a number; everything is as it was before the call.
            UsageError, ShapeError: the arrays do not fit.
        """
        self._take_over()
        last = (self._calls + 1) % self._recipe.accumulate == 0
        session = self._sessions[-1 if last else 0]
        given = (*arrays, *self._run_time_inputs(last, lr, weight_decay))
        try:
            results = session(*given)
        except DivergenceError as error:
            state = {**self._weights, **self._slots}
            found = first_nonfinite(session.graph, given, state) or str(error)
            raise DivergenceError(f"training diverged at step {self.steps + 1}: {found}") from None
        self._calls += 1
        self.steps += last
        self.gradient_norm = float(results[_NORM]) ** 0.5
        for name in self._written:
            self._backward.variables[name].follow(self._weights[name])
        loss = float(results["loss"])
        metrics = {name: results[name] for name in self._backward.metrics}
        return (loss, {k: v if v.shape else v.item() for k, v in metrics.items()}) if metrics else loss

    def state_dict(self) -> dict[str, Array]:
        """All that the next step depends on, as copies: weights and buffers by their names, slots, counts."""
        counts = {"steps": self.steps, "calls": self._calls, "seed": self._seed}
        state = {name: variable.array() for name, variable in self._backward.variables.items()}
        state |= {name: slot.copy() for name, slot in self._slots.items()}
        return state | {f"optimizer.{name}": np.array(count, np.int64) for name, count in counts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state_dict; all or nothing.

        Raises:
            UsageError: names are missing or left over, shapes differ, or something is no number.
        """
        own = self.state_dict()
        wrong = [name for name in own if name not in state or np.shape(state[name]) != own[name].shape]
        wrong += [name for name in state if name not in own]
        if wrong:
            raise UsageError(f"this state is of another training step; the first difference is {wrong[0]!r}")
        try:
            numbers = {name: np.asarray(state[name]).astype(array.dtype, copy=False) for name, array in own.items()}
        except (TypeError, ValueError) as error:
            raise UsageError(f"this state does not hold numbers alone: {error}") from None
        for name, variable in self._backward.variables.items():
            variable.set(numbers[name])
        for name, slot in self._slots.items():
            slot[...] = numbers[name]
        self.steps, self._calls, self._seed = (int(numbers[f"optimizer.{name}"]) for name in _COUNTS)

    def _take_over(self) -> None:
        """Weights that were set from outside since the last step are the step's from now on."""
        for name, variable in self._backward.variables.items():
            if not variable.follows(self._weights[name]):
                self._weights[name][...] = variable.array()
                variable.follow(self._weights[name])

    def _run_time_inputs(self, last: bool, lr: float | None, weight_decay: float | None) -> list[Any]:
        """What the graph takes besides the caller's arrays, in order."""
        optimizer = self._recipe.optimizer
        given: list[Any] = [np.array([self._seed, self._calls], np.uint64)] if self._backward.random else []
        if last:
            given.append(np.float64(optimizer.rate(self.steps) if lr is None else lr))
            if optimizer.weight_decay:
                given.append(np.float64(optimizer.weight_decay if weight_decay is None else weight_decay))
            given.append(np.float64(self.steps + 1))
        if weight_decay is not None and not optimizer.weight_decay:
            raise UsageError("weight_decay: the step was compiled without; give the optimizer one above 0")
        return given

    def __repr__(self) -> str:
        return f"TrainStep({self._recipe.optimizer!r}; {len(self.graph.nodes)} nodes, {self.steps} steps)"


@dataclass(frozen=True)
class _Backward:
    """The graph of a loss with its gradients.

    Attributes:
        graph: with outputs "loss", the metrics, the next values of buffers, and "grad.<name>".
        variables: parameters and buffers of the network by the names of their values.
        trained: names of the parameters that are differentiated by.
        metrics: their names.
        random: whether there is an input for the random key, behind those of the caller.
    """

    graph: Graph
    variables: dict[str, Variable]
    trained: tuple[str, ...]
    metrics: tuple[str, ...]
    random: bool


def _backward(
    net: Module, loss: Callable[..., Any], inputs: Sequence[Spec | TensorType], frozen: Sequence[str]
) -> _Backward:
    objective, specs = _objective(net, loss, inputs)
    trace = Trace("training")
    with trace.running():
        result = trace.call(objective, [net, *specs])
        value, metrics = result if isinstance(result, tuple) else (result, {})
        metrics = {str(name): metric for name, metric in metrics.items()}
        taken = sorted(set(metrics) & {"loss", _NORM, *trace.variables} | {m for m in metrics if m.startswith(_OWN)})
        if taken:
            raise UsageError(f"a metric cannot be named {taken[0]!r}: that name is taken")
        graph = trace.finish({"loss": value, **metrics})
    params = [v.name for v in graph.data if v.kind == "param"]
    still = _matching(frozen, params)
    trained = tuple(name for name in params if name not in still)
    if not trained:
        raise UsageError("there is nothing to train: the network has no parameters, or all of them are frozen")
    random = len(graph.inputs) > len(specs)
    return _Backward(gradients(graph, "loss", trained), trace.variables, trained, tuple(metrics), random)


def _objective(
    net: Module, loss: Callable[..., Any], inputs: Sequence[Spec | TensorType]
) -> tuple[Callable[..., Any], list[Spec | TensorType]]:
    """The loss as a function of the network and the inputs, whichever of its two forms it has."""
    specs = list(inputs)
    if _wanted(loss) != len(specs) or len(specs) < 2:
        return loss, specs
    names = [*input_names(net, specs[:-1]), input_names(loss, specs)[-1]]
    named = [
        Spec(spec.type.shape if isinstance(spec, Spec) else spec.shape, spec.dtype, name)
        for spec, name in zip(specs, names, strict=True)
    ]
    return lambda net, *args: loss(net(*args[:-1]), args[-1]), list(named)


def _wanted(loss: Callable[..., Any]) -> int | None:
    """How many arguments a function cannot do without; None if it does not say."""
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)


def _matching(patterns: Sequence[str], names: Sequence[str]) -> set[str]:
    """The names that fit a pattern; UsageError if a pattern fits none."""
    found: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        if not fitting:
            raise UsageError(f"no parameter fits {pattern!r}; they are {', '.join(names[:5])} ...")
        found.update(fitting)
    return found


@dataclass(frozen=True)
class _Recipe:
    """From gradients to the next values."""

    optimizer: optim.Optimizer
    clip_norm: float | None
    clip_value: float | None
    accumulate: int
    no_decay: tuple[str, ...]

    def graph(self, backward: _Backward, last: bool) -> Graph:
        """The whole step; one that only adds to the sums of gradients if it is not the last before an update."""
        trace = Trace.onto(backward.graph)
        values = {v.name: v for v in backward.graph.data}
        outputs = dict(backward.graph.outputs)
        params = {name: Tensor(values[name], trace) for name in backward.trained}
        grads = {name: Tensor(v, trace) for name, v in zip(params, [*outputs.values()][-len(params) :], strict=True)}
        outputs = dict([*outputs.items()][: -len(params)])
        if self.accumulate > 1:
            grads = self._accumulated(trace, grads, outputs, last)
        trace.follow("gradients")
        outputs[_NORM] = squared_norm(grads).value
        if last:
            self._update(trace, params, self._clipped(grads), outputs)
        return trace.builder.finish(outputs.items())

    def _accumulated(
        self, trace: Trace, grads: Mapping[str, Tensor], outputs: dict[str, Value], last: bool
    ) -> dict[str, Tensor]:
        """The gradients, or in the last call the mean of all; the sums are outputs."""
        found = {}
        for name, g in grads.items():
            kept = _slot(trace, f"optimizer.gradient.{name}", g.type, ZEROS)
            trace.follow(name)
            total = ops.add(kept, g)
            found[name] = ops.div(total, self.accumulate) if last else g
            zero = Tensor(trace.builder.const(g.dtype.type(0)), trace)
            outputs[kept.value.name] = (ops.broadcast_to(zero, g.shape) if last else total).value
        return found

    def _clipped(self, grads: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if self.clip_norm is not None:
            grads = optim.clip_norm(grads, self.clip_norm)
        if self.clip_value is not None:
            grads = optim.clip_value(grads, self.clip_value)
        return grads

    def _update(
        self, trace: Trace, params: Mapping[str, Tensor], grads: Mapping[str, Tensor], outputs: dict[str, Value]
    ) -> None:
        """Adds the next values of parameters and slots to the outputs."""
        spared = _matching(self.no_decay, list(params))
        trace.follow("optimizer")
        lr = trace.input("lr", _SCALAR)
        weight_decay = trace.input("weight_decay", _SCALAR) if self.optimizer.weight_decay else None
        scalars = self.optimizer.scalars(lr, weight_decay, trace.input("step", _SCALAR))
        for name, p in params.items():
            kept = {
                slot: _slot(trace, f"optimizer.{slot}.{name}", p.type, init)
                for slot, init in self.optimizer.slots.items()
            }
            trace.follow(name)
            new, slots = self.optimizer.update(p, grads[name], kept, scalars, name not in spared)
            outputs[name] = new.value
            outputs |= {kept[slot].value.name: tensor.value for slot, tensor in slots.items()}


def _slot(trace: Trace, name: str, type: TensorType, init: Initializer) -> Tensor:
    """An array of a parameter's type that is kept from step to step."""
    return Tensor(trace.builder.declare("buffer", name, Seeded(type, init, key=name)), trace)

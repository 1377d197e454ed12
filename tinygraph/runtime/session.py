"""A session: a graph made ready to run on arrays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

import tinygraph
from tinygraph.budget import DEFAULT, Budget, check_work
from tinygraph.errors import UsageError
from tinygraph.ir import Array, Graph, TensorType, Value
from tinygraph.ops.base import Precision
from tinygraph.runtime.frame import Arenas
from tinygraph.runtime.plan import Memory, Plan
from tinygraph.runtime.recording import Recording
from tinygraph.runtime.signature import Binding, Signature
from tinygraph.runtime.stages import Run, Staged, found_sizes
from tinygraph.runtime.state import check, guarded, next_values
from tinygraph.runtime.threads import Mutex
from tinygraph.runtime.threads import count as count_threads
from tinygraph.runtime.threads import limit as limit_threads
from tinygraph.runtime.tuning import tuned
from tinygraph.trace import Spec, trace

if TYPE_CHECKING:
    from tinygraph.runtime.profile import Profile

_MAX_PLANS = 8  # bindings of open dimensions whose plans are kept


def compile(
    source: Graph | Callable[..., Any],
    *specs: Spec | TensorType,
    passes: str | Sequence[Any] = "inference",
    threads: int | None = None,
    budget: Budget = DEFAULT,
    precision: Precision = "exact",
    tune: bool = False,
) -> Session:
    """Makes a graph, a module or a function ready to run.

    Args:
        source: a Graph; or a module or function, which is traced first.
        specs: of the inputs of a module or function.
        passes: what tinygraph.optimize takes: "inference", "none", or a list of passes.
        threads: that a call may use; by default as many as there are cores for this process.
        budget: memory and arithmetic operations that a call may take.
        precision: "fast" takes kernels that do less arithmetic and round more, at most 12 times as much (Winograd's
            convolutions: see kernels/channels_last/winograd.py), and in which an infinity or NaN may reach
            neighbouring results; "exact" never does.
        tune: where there are several kernels for a step, takes the one that is measured to be the fastest; by
            default, the one that should be. What was found is kept for the next time: see runtime/tuning.py.

    Raises:
        UsageError: specs beside a graph, fewer than one thread, or another precision.
        ShapeError, TraceError: the module cannot be traced.
        BudgetError: a call would take more than the budget. Where sizes are open, the call raises it.
    """
    if not isinstance(source, Graph):
        source = trace(source, *specs)
    elif specs:
        raise UsageError("a graph has its specs already: give them only with a module or function")
    graph = tinygraph.optimize(source, passes)
    del source  # with weights that the optimized graph does not have, unless the caller keeps them
    return Session(graph, threads, budget=budget, precision=precision, tune=tune)


class Session:
    """A graph made ready to run: `session(x)`.

    Arrays come in order, or by the name of the input. A single output is returned as an
    array, several as a dict by name. Arrays that come in are never written to; those that go
    out belong to the caller. A graph with open dimensions is planned anew for each set of
    sizes; the plans used last are kept. Several threads may call one session at once.

    A session may have state: arrays that take the place of parameters and buffers, are read
    anew at each call, and are rewritten by it. An output that bears the name of one is its next
    value; after the call the array holds it, and the output is not returned. Calls of a session
    with state wait for one another, and its arrays are to be left alone while one runs.

    Args:
        graph: run as it is; tinygraph.compile optimizes it first.
        threads: that a call may use; by default as many as there are cores for this process.
        state: a writable array, C-contiguous, for some of the graph's params and buffers.
        guard: names of outputs, or values of the graph, that must be finite before any state is
            written, such as the loss and the gradients.
        budget: memory and arithmetic operations that a call may take; None for any.
        precision, tune: see tinygraph.compile.

    Attributes:
        graph: the graph that runs.
        threads: that a call may use.

    Raises:
        UsageError: fewer than one thread, another precision, state that does not fit the graph, or nothing by the
            name of a guard.
        BudgetError: a call would take more than the budget.
    """

    def __init__(
        self,
        graph: Graph,
        threads: int | None = None,
        state: Mapping[Value, Array] | None = None,
        guard: Collection[str | Value] = (),
        budget: Budget | None = None,
        precision: Precision = "exact",
        tune: bool = False,
    ) -> None:
        if precision not in get_args(Precision):
            raise UsageError(f"precision={precision!r}: give {' or '.join(map(repr, get_args(Precision)))}")
        self.graph = graph
        self.threads = count_threads(threads)
        self._state = dict(state or {})
        self._guard = tuple(guard)
        self._budget = budget
        self._precision: Precision = precision
        self._tune = tune
        check(graph, self._state)
        guarded(graph, self._guard)
        renewed = {v.name for v in next_values(graph, self._state)}
        self._names = [name for name, _ in graph.outputs if name not in renewed]
        self._signature = Signature(graph.inputs)
        read = {v for node in graph.nodes for v in node.inputs} | {v for _, v in graph.outputs}
        weights = {v: self._state[v] if v in self._state else graph.array(v) for v in graph.data if v in read}
        self._loaded = replace(graph, data=MappingProxyType(weights))
        self._plans: OrderedDict[Binding, Plan] = OrderedDict()
        self._arenas = Arenas()
        self._lock = Mutex()
        self._turn: AbstractContextManager[Any] = Mutex() if self._state else nullcontext()
        self._staged = Staged(self._loaded, self._part, budget) if found_sizes(graph) else None
        if not graph.symbols and self._staged is None:
            self._plan(())

    def _part(self, graph: Graph) -> Run:
        return Session(graph, self.threads, budget=self._budget, precision=self._precision, tune=self._tune)._run

    @property
    def memory(self) -> Memory:
        """Bytes that a call needs, known without running.

        Raises:
            UsageError: dimensions are open, and with them the answer.
        """
        if self._staged is not None:
            raise UsageError("memory depends on sizes that are found only when the graph runs")
        if self.graph.symbols:
            names = ", ".join(self.graph.symbols)
            raise UsageError(f"memory depends on {names}: compile graph.bind({self.graph.symbols[0]}=...) instead")
        return self._plan(()).memory

    def __call__(self, /, *args: Any, **named: Any) -> Any:
        """Runs the graph.

        Raises:
            UsageError: arrays are missing, left over, or of another dtype.
            ShapeError: an array has another shape than declared.
            UsageError: a node cannot compute with its numbers, such as an index that is out of range.
            BudgetError: the sizes of these arrays, or what is found in them, would take more than the budget.
            DivergenceError: a guarded value is not finite; the state is as it was.
        """
        outputs = self._run(args, named)
        return outputs[0] if len(outputs) == 1 else dict(zip(self._names, outputs, strict=True))

    def profile(self, /, *args: Any, repeat: int = 10, **named: Any) -> Profile:
        """Runs the graph several times, and tells what each step takes; `print(session.profile(x))`.

        State stays as it is: the runs change a copy. Of a graph in stages, the steps of all stages are told.

        Args:
            args: as in a call.
            repeat: runs that are measured, after some that are not.
            named: as in a call; an input of the name `repeat` comes in order.

        Raises:
            UsageError: repeat is less than one; and all that a call raises.
        """
        from tinygraph.runtime.profile import profile

        session = self._copy() if self._state else self
        return profile(partial(session._run, args, named), self.threads, repeat)

    def _copy(self) -> Session:
        with self._turn:
            state = {value: array.copy() for value, array in self._state.items()}
        return Session(self.graph, self.threads, state, self._guard, self._budget, self._precision, self._tune)

    def _run(self, args: Sequence[Any], named: Mapping[str, Any], recording: Recording | None = None) -> list[Array]:
        arrays = self._signature.arrays(args, named)
        binding = self._signature.bind(arrays)
        # Kernels divide their work among threads themselves; BLAS would only get in their way.
        if self._staged is not None:
            with limit_threads(1), np.errstate(all="ignore"):
                return self._staged.run(arrays, dict(binding), recording)
        plan = self._plan(binding)
        with self._turn, limit_threads(1), np.errstate(all="ignore"):
            return plan.run(arrays, recording)

    def _plan(self, binding: Binding) -> Plan:
        with self._lock:
            plan = self._plans.get(binding)
            if plan is None:
                graph = self._loaded.bind(**dict(binding))
                weights = {v: graph.array(v) for v in graph.data if v not in self._state}
                if self._budget is not None:
                    check_work(graph, self._budget)
                state = self._state, self._guard, self._arenas
                with tuned() if self._tune else nullcontext():
                    plan = Plan(graph, weights, self.threads, *state, self._precision)
                if self._budget is not None:
                    self._budget.check_bytes(plan.memory.total, "a run takes")
                self._plans[binding] = plan
                if len(self._plans) > _MAX_PLANS:
                    self._plans.popitem(last=False)
                self._arenas.trim(max(each.arena for each in self._plans.values()))
            self._plans.move_to_end(binding)
            return plan

    def __repr__(self) -> str:
        inputs = ", ".join(map(repr, self.graph.inputs))
        return f"Session({inputs} -> {', '.join(self._names)}; {len(self.graph.nodes)} nodes)"

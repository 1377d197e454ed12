"""Module: a tree of parameters, buffers and submodules, with PyTorch's names.

A module holds no training state of its own: whether it trains is a property of the trace
that runs it (`self.training`).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

import tinygraph
from tinygraph import weights
from tinygraph.errors import ShapeError, TraceError, UsageError
from tinygraph.ir import Array, Data, Kind, TensorType, array_of, frozen
from tinygraph.nn.init import ZEROS, Initializer, Seeded
from tinygraph.ops.base import Symbolic
from tinygraph.trace import current
from tinygraph.weights.arrays import LIMIT
from tinygraph.weights.names import fitted

if TYPE_CHECKING:
    from tinygraph.runtime.session import Session

_sessions_lock = Lock()


class Variable:
    """A named array of a module: a Parameter or a Buffer.

    Attributes:
        type: shape and dtype.
    """

    kind: Kind
    _data: Data | None
    _keeper: Array | None

    def __init__(self, shape: Sequence[int], init: Initializer = ZEROS, dtype: Any = np.float32) -> None:
        self.data = Seeded(TensorType(tuple(shape), np.dtype(dtype)), init)

    @property
    def data(self) -> Data:
        """A read-only array, or the recipe that makes it when its numbers are needed."""
        if self._data is None:
            assert self._keeper is not None
            self._data = frozen(self._keeper.copy())
        return self._data

    @data.setter
    def data(self, data: Data) -> None:
        self._data, self._keeper = data, None
        self.type = TensorType.of(data)

    def follow(self, keeper: Array) -> None:
        """From now on the numbers are those of this array, which a training step writes to; until data is set.

        Who reads `data` gets a copy, and the same one until the next call of `follow`.
        """
        self._data, self._keeper = None, keeper

    def follows(self, keeper: Array) -> bool:
        """Whether the numbers are those of this array."""
        return self._keeper is keeper

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.type.dims

    def array(self) -> Array:
        """The numbers; read-only."""
        return array_of(self.data)

    def set(self, array: Any) -> None:
        """Replaces the numbers; ShapeError if the shape differs."""
        array = np.asarray(array)
        if array.shape != self.shape:
            raise ShapeError(f"got shape {array.shape}, want {self.shape}")
        self.data = frozen(array.astype(self.type.dtype, copy=False))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.type})"


class Parameter(Variable):
    """An array that training changes.

    Args:
        shape, init, dtype: as of the array.
        trainable: False for one that is counted, but that training leaves alone.
    """

    def __init__(
        self, shape: Sequence[int], init: Initializer = ZEROS, dtype: Any = np.float32, trainable: bool = True
    ) -> None:
        super().__init__(shape, init, dtype)
        self.trainable = trainable

    @property
    def kind(self) -> Kind:  # type: ignore[override]  # a property serves as the attribute
        """param, or frozen if it is not trainable."""
        return "param" if self.trainable else "frozen"


class Buffer(Variable):
    """An array that belongs to the module but is no parameter: BatchNorm statistics."""

    kind: Kind = "buffer"


class Module:
    """Base of all layers and networks: define `forward`, assign parts in `__init__`.

    Calling it with tensors runs `forward`; calling it with arrays traces, compiles and runs
    it in inference mode, and keeps the compiled session for the next call of that shape.
    """

    is_leaf: ClassVar[bool] = False  # a leaf is one layer: its node takes the module's name
    _max_sessions: ClassVar[int] = 8
    _recomputed = False  # see tinygraph.checkpoint

    def __init__(self) -> None:
        self.__dict__["_variables"] = {}
        self.__dict__["_modules"] = {}
        self.__dict__["_sessions"] = {}
        self.__dict__["_stamp"] = object()

    # ---- attributes ----

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            raise UsageError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
        self._variables.pop(name, None)
        self._modules.pop(name, None)
        self.__dict__.pop(name, None)
        self.__dict__["_stamp"] = object()
        if isinstance(value, Variable):
            self._variables[name] = value
        elif isinstance(value, Module):
            self._modules[name] = value
        else:
            self.__dict__[name] = value

    def __getattr__(self, name: str) -> Any:
        variables = self.__dict__.get("_variables", {})
        if name in variables:
            trace = current()
            return trace.variable(variables[name]) if trace else variables[name]
        modules = self.__dict__.get("_modules", {})
        if name in modules:
            return modules[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for table in (self._variables, self._modules, self.__dict__):
            if name in table:
                del table[name]
                self.__dict__["_stamp"] = object()
                return
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    @property
    def training(self) -> bool:
        """Whether the running trace is of training mode; False outside of traces."""
        trace = current()
        return trace is not None and trace.mode == "training"

    def update(self, name: str, tensor: Any) -> None:
        """In a trace: makes the tensor the next value of the buffer of that name."""
        trace = current()
        if trace is None:
            raise TraceError("a buffer can be updated only while a trace runs")
        trace.update(self._variables[name], tensor)

    # ---- the tree ----

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module, path "", and of all below it, depth first, each once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            prefix = f"{path}." if path else ""
            stack += [(prefix + name, child) for name, child in reversed(module._modules.items())]

    def named_variables(self) -> Iterator[tuple[str, Variable]]:
        """(name, parameter or buffer) of the whole tree; a tied one under each of its names."""
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            prefix, module = stack.pop()
            for name, variable in module._variables.items():
                yield prefix + name, variable
            stack += [(f"{prefix}{name}.", child) for name, child in reversed(module._modules.items())]

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter), each parameter once, under its first name."""
        seen: set[int] = set()
        for name, variable in self.named_variables():
            if isinstance(variable, Parameter) and id(variable) not in seen:
                seen.add(id(variable))
                yield name, variable

    def reseed(self, seed: int) -> None:
        """Gives every parameter that has no numbers yet the recipe of this seed and its own name."""
        done: set[int] = set()
        for name, variable in self.named_variables():
            if isinstance(variable.data, Seeded) and id(variable) not in done:
                done.add(id(variable))
                variable.data = replace(variable.data, seed=seed, key=name)

    # ---- weights ----

    def state_dict(self) -> dict[str, Array]:
        """All parameters and buffers by name, as read-only arrays."""
        return {name: variable.array() for name, variable in self.named_variables()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes parameters and buffers by name; all or nothing.

        A prefix `module.` or `_orig_mod.` on every key is stripped, and names that torchvision's files
        have from older versions are understood (`tinygraph.weights.names`); missing
        `num_batches_tracked` are left as they are; a tied one need be there under one of its names only.

        Raises:
            UsageError: names are missing or left over, or shapes differ; lists them all.
        """
        own = dict(self.named_variables())
        state = fitted(state, own)
        given = {id(variable) for name, variable in own.items() if name in state}
        missing = [k for k, v in own.items() if id(v) not in given and not k.endswith("num_batches_tracked")]
        extra = [k for k in state if k not in own]
        wrong = [
            f"{k} is {tuple(np.shape(state[k]))}, want {own[k].shape}"
            for k in own
            if k in state and tuple(np.shape(state[k])) != own[k].shape
        ]
        problems = [
            f"{label} {_some(names)}"
            for label, names in (("missing:", missing), ("unexpected:", extra), ("of another shape:", wrong))
            if names
        ]
        if problems:
            raise UsageError(f"these weights do not fit {type(self).__name__}: {'; '.join(problems)}")
        numbers = {k: np.asarray(state[k]).astype(v.type.dtype, copy=False) for k, v in own.items() if k in state}
        for key, array in numbers.items():
            own[key].set(array)

    def save(self, path: Any) -> None:
        """Writes state_dict() to a file: .npz, or safetensors under any other name; see `tinygraph.weights`."""
        weights.save(self.state_dict(), path)

    def load(self, path: Any, limit: int = LIMIT) -> None:
        """Loads a file into the module: .safetensors, .npz, or what torch.save wrote (.pt, .pth, .bin).

        See `tinygraph.weights.load` and `load_state_dict`.
        """
        self.load_state_dict(weights.load(path, limit))

    # ---- running ----

    def forward(self, *args: Any) -> Any:
        """What the module computes; every module defines it."""
        raise UsageError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any) -> Any:
        trace = current()
        if trace is not None:
            with trace.inside(self), trace.checkpoint(self._recomputed):
                return self.forward(*args)
        if any(isinstance(a, Symbolic) for a in args):
            raise TraceError(
                "a tensor was used after its trace had ended; keep what the traced function returns instead"
            )
        arrays = [np.asarray(a) for a in args]
        return self._session(arrays)(*arrays)

    def _session(self, arrays: Sequence[Array]) -> Session:
        types = tuple(map(TensorType.of, arrays))
        state = self._state()
        with _sessions_lock:
            known = self._sessions.get(types)
        if known is not None and len(known[1]) == len(state) and all(map(operator.is_, known[1], state)):
            return cast("Session", known[0])
        session = cast("Session", tinygraph.compile(self, *types))
        with _sessions_lock:
            self._sessions.pop(types, None)
            while len(self._sessions) >= self._max_sessions:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[types] = (session, state)
        return session

    def _state(self) -> list[Any]:
        """What a compiled session depends on: no attribute was assigned since, and no array replaced."""
        state = []
        for _, module in self.named_modules():
            state.append(module._stamp)
            state += [variable.data for variable in module._variables.values()]
        return state

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: everything but the compiled sessions."""
        return {**self.__dict__, "_sessions": {}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={m!r}' for n, m in self._modules.items())})"


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

"""The backend interface of the onnx package: `prepare(model).run(inputs)`.

A graph of tinygraph is static, but an ONNX model may take a shape as an input. Such inputs are found
when the model is loaded, and a session is made for each set of their numbers; those used last are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from tinygraph.budget import DEFAULT, Budget
from tinygraph.errors import ModelFormatError, UnsupportedOp, UsageError
from tinygraph.ir import Array, Shape, Symbol
from tinygraph.onnx.inputs import Inputs
from tinygraph.onnx.load import from_proto
from tinygraph.onnx.names import free_inputs
from tinygraph.runtime.session import Session, compile

_MOST_SESSIONS = 8


class TinygraphBackend(Backend):
    """Runs ONNX models on the CPU with NumPy."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> PreparedModel:
        """Makes a model ready to run.

        Args:
            model: as onnx has loaded it, with its numbers inside.
            device: "CPU".
            options: `passes`, `threads` and `budget`, as tinygraph.compile takes them.

        Raises:
            UsageError: another device.
            ModelFormatError, UnsupportedOp, BudgetError: see tinygraph.load.
        """
        if not cls.supports_device(device):
            raise UsageError(f"there is no device {device!r}; there is CPU")
        return PreparedModel(model, **options)

    @classmethod
    def run_node(cls, node: Any, inputs: Any, device: str = "CPU", outputs_info: Any = None, **options: Any) -> Any:
        """Runs a single node, as a model of the newest opset."""
        arrays = [np.asarray(a) for a in inputs]
        names = [name for name in node.input if name]
        infos = [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in zip(names, arrays, strict=True)
        ]
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", infos, outputs)
        return cls.run_model(onnx.helper.make_model(graph), arrays, device, **options)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether the device is the CPU."""
        return device == "CPU"


class PreparedModel(BackendRep):
    """A model that is ready to run.

    Args:
        model: as onnx has loaded it.
        passes, threads, budget: as tinygraph.compile takes them.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        passes: str | Sequence[Any] = "inference",
        threads: int | None = None,
        budget: Budget = DEFAULT,
    ) -> None:
        self._model = model
        self._options: dict[str, Any] = {"passes": passes, "threads": threads, "budget": budget}
        self._every = [info.name for info in model.graph.input]
        self._inputs = [info.name for info in free_inputs(model.graph)]
        self._outputs = [info.name for info in model.graph.output]
        self._deciding: list[str] = []  # inputs that decide shapes
        self._sizes = False  # whether all open dimensions have to get numbers
        self._sessions: OrderedDict[Any, Session] = OrderedDict()
        try:
            self._sessions[()] = self._session({})
        except (UnsupportedOp, ModelFormatError) as error:
            if not self._specialize(error):
                raise

    def run(self, inputs: Any, **options: Any) -> Any:
        """The outputs, in order and by name, for arrays in order or by name.

        Raises:
            UsageError, ShapeError: the arrays do not fit.
            UnsupportedOp: the model cannot run with them.
        """
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if not isinstance(inputs, Mapping):
            names = self._inputs if len(inputs) == len(self._inputs) else self._every
            if len(inputs) != len(names):
                raise UsageError(f"got {len(inputs)} arrays; the inputs are {', '.join(self._inputs)}")
            inputs = dict(zip(names, inputs, strict=True))
        arrays = {name: np.asarray(a) for name, a in inputs.items()}
        session = self._fitting(arrays)
        made = session(**{v.name: arrays[v.name] for v in session.graph.inputs})
        outputs = list(made.values()) if isinstance(made, dict) else [made]
        return namedtupledict("Outputs", self._outputs)(*outputs)

    def _specialize(self, error: UnsupportedOp | ModelFormatError) -> bool:
        """Learns from an error what has to be bound; whether there was anything to learn."""
        if not all(info.type.HasField("tensor_type") for info in self._model.graph.input):
            return False
        new = [name for name in getattr(error, "inputs", ()) if name not in self._deciding]
        self._deciding += new
        if new or self._sizes:
            return bool(new)
        dims = [d for info in self._model.graph.input for d in info.type.tensor_type.shape.dim]
        self._sizes = not all(d.HasField("dim_value") for d in dims)
        return self._sizes

    def _fitting(self, arrays: Mapping[str, Array]) -> Session:
        """The session for these numbers of the inputs that decide shapes."""
        given = [name for name in arrays if name not in self._inputs]  # they take the place of initializers
        while True:
            missing = [name for name in self._deciding if name not in arrays]
            if missing:
                raise UsageError(f"missing: {', '.join(missing)}; the inputs are {', '.join(self._inputs)}")
            bind: dict[str, Any] = {name: arrays[name] for name in (*self._deciding, *given)}
            if self._sizes:
                bind = {**self._dims(arrays), **bind}
            key = tuple((name, np.asarray(a).tobytes(), np.shape(a)) for name, a in bind.items())
            if key in self._sessions:
                self._sessions.move_to_end(key)
                return self._sessions[key]
            try:
                self._sessions[key] = self._session(bind)
            except (UnsupportedOp, ModelFormatError) as error:
                if not self._specialize(error):
                    raise
                continue
            if len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)

    def _dims(self, arrays: Mapping[str, Array]) -> dict[str, int]:
        """The numbers of the open dimensions."""
        found: dict[str, int] = {}
        for name, shape in self._shapes.items():
            for dim, size in zip(shape, np.shape(arrays.get(name, ())), strict=False):
                if isinstance(dim, Symbol):
                    found.setdefault(str(dim), size)
        return found

    @cached_property
    def _shapes(self) -> dict[str, Shape]:
        """The shapes of all inputs, with the symbols of open dimensions."""
        types = Inputs(self._model.graph.input, {})
        return {info.name: types.type(info).shape for info in self._model.graph.input}

    def _session(self, bind: Mapping[str, Any]) -> Session:
        graph = from_proto(self._model, bind, self._options["budget"])
        return compile(graph, **self._options)


is_compatible = TinygraphBackend.is_compatible
prepare = TinygraphBackend.prepare
run_model = TinygraphBackend.run_model
run_node = TinygraphBackend.run_node
supports_device = TinygraphBackend.supports_device

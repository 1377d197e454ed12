"""ONNX models made by hand, and what every saved graph is checked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tinygraph.ir import Graph
from tinygraph.onnx.load import from_proto
from tinygraph.onnx.save import to_proto
from tinygraph.runtime.evaluate import evaluate

FLOAT = onnx.TensorProto.FLOAT

Shape = Sequence[int | str | None]


def info(name: str, shape: Shape | None, elem_type: int = FLOAT) -> onnx.ValueInfoProto:
    """An input or output of a model."""
    return helper.make_tensor_value_info(name, elem_type, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape] | Sequence[onnx.ValueInfoProto],
    outputs: Mapping[str, Shape | None] | Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, Any] | Sequence[onnx.TensorProto] = (),
    opset: int = 20,
    domains: Mapping[str, int] | None = None,
    ir_version: int = 10,
) -> onnx.ModelProto:
    """A model; inputs and outputs by name and shape are float32, weights by name are arrays."""
    ins = [info(n, s) for n, s in inputs.items()] if isinstance(inputs, Mapping) else list(inputs)
    outs = [info(n, s) for n, s in outputs.items()] if isinstance(outputs, Mapping) else list(outputs)
    if isinstance(weights, Mapping):
        weights = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()]
    return helper.make_model(
        helper.make_graph(nodes, "made_by_hand", ins, outs, list(weights)),
        opset_imports=[helper.make_opsetid(d, v) for d, v in {"": opset, **(domains or {})}.items()],
        ir_version=ir_version,
    )


def node(op_type: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    """A node; inputs and outputs are separated by blanks, `-` is one that is left out."""
    ins, outs = (["" if n == "-" else n for n in names.split()] for names in (inputs, outputs))
    return helper.make_node(op_type, ins, outs, name=name, **attributes)


def example(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Some numbers for each input; open dimensions are 2."""
    rng = np.random.default_rng(seed)
    types = {v.name: v.type.bind(dict.fromkeys(graph.symbols, 2)) for v in graph.inputs}
    return {n: (rng.standard_normal(t.dims) * 3).astype(t.dtype) for n, t in types.items()}


def reference(proto: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the ONNX standard says that the model computes."""
    session = ReferenceEvaluator(proto)
    return dict(zip(session.output_names, session.run(None, dict(inputs)), strict=True))


def same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> None:
    """The same names in the same order, dtypes, shapes, and numbers up to rounding."""
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert a[name].shape == b[name].shape
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-5)


def check_saved(graph: Graph) -> tuple[onnx.ModelProto, Graph]:
    """Saves a graph, has the model checked and run by others, reads it, and gives back both."""
    proto = to_proto(graph)
    onnx.checker.check_model(proto, full_check=True)
    inputs = example(graph)
    expected = evaluate(graph, inputs)
    same(expected, reference(proto, inputs))
    loaded = tg.verify(from_proto(proto))
    same(expected, evaluate(loaded, inputs))
    return proto, loaded


def check_loaded(proto: onnx.ModelProto, **inputs: Any) -> Graph:
    """Reads a model that the standard allows, and compares it with the standard's own evaluation."""
    onnx.checker.check_model(proto, full_check=True)
    graph = tg.verify(tg.load(proto.SerializeToString()))
    arrays = {name: np.asarray(a) for name, a in inputs.items()} or example(graph)
    same(reference(proto, arrays), evaluate(graph, arrays))
    return graph

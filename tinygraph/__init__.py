"""tinygraph: a computational-graph compiler and autograd for convolutional networks, on NumPy.

In short:

    import tinygraph as tg
    net = tg.models.create("resnet50")
    graph = tg.trace(net, tg.Spec((1, 3, 224, 224)))
    print(tg.analyze(graph).totals.macs)
    session = tg.compile(graph)
    y = session(x)
"""

from __future__ import annotations

import importlib
from typing import Any

from tinygraph.errors import (
    BudgetError,
    DivergenceError,
    ModelFormatError,
    NotDifferentiable,
    ShapeError,
    TinygraphError,
    TraceError,
    UnsupportedOp,
    UsageError,
    VerifyError,
)
from tinygraph.ir import Graph, Node, Symbol, TensorType, Value
from tinygraph.trace import Spec, trace
from tinygraph.verify import verify

__version__ = "0.1.0"

# Names that need an upper layer or a heavy import; found on first use.
_LAZY = {
    "Budget": "tinygraph.budget:Budget",
    "Session": "tinygraph.runtime.session:Session",
    "TrainStep": "tinygraph.training:TrainStep",
    "analyze": "tinygraph.passes.analyze:analyze",
    "analyze_training": "tinygraph.passes.analyze_training:analyze_training",
    "checkpoint": "tinygraph.transforms:checkpoint",
    "compile": "tinygraph.runtime.session:compile",
    "data": "tinygraph.data",
    "grad": "tinygraph.transforms:grad",
    "hvp": "tinygraph.transforms:hvp",
    "jvp": "tinygraph.transforms:jvp",
    "load": "tinygraph.onnx.load:load",
    "models": "tinygraph.models",
    "nn": "tinygraph.nn",
    "optim": "tinygraph.optim",
    "optimize": "tinygraph.passes.pipeline:optimize",
    "parse": "tinygraph.text:parse",
    "passes": "tinygraph.passes",
    "render": "tinygraph.tools.render:render",
    "save": "tinygraph.onnx.save:save",
    "train_step": "tinygraph.training:train_step",
    "value_and_grad": "tinygraph.transforms:value_and_grad",
    "vjp": "tinygraph.transforms:vjp",
    "weights": "tinygraph.weights",
}

__all__ = [
    "BudgetError",
    "DivergenceError",
    "Graph",
    "ModelFormatError",
    "Node",
    "NotDifferentiable",
    "ShapeError",
    "Spec",
    "Symbol",
    "TensorType",
    "TinygraphError",
    "TraceError",
    "UnsupportedOp",
    "UsageError",
    "Value",
    "VerifyError",
    "trace",
    "verify",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tinygraph' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    found: Any = importlib.import_module(module)
    if attribute:
        found = getattr(found, attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})

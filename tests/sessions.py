"""What the tests of sessions share: networks, functions whose results are views, an op with scratch memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.ir import Array, Graph, TensorType
from tinygraph.ops.base import Op, Prepared, family, no_flops, no_macs, not_differentiable, not_in_onnx
from tinygraph.runtime.session import Session

F32 = np.float32


def session(fn: Callable[..., Any], *shapes: Any, dtype: Any = F32) -> Session:
    """A session of a function as it stands."""
    return tg.compile(fn, *(tg.Spec(shape, dtype) for shape in shapes), passes="none")


def arange(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=F32).reshape(shape)


class SmallNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.bn(self.conv1(x)))
        y = ops.max_pool(ops.relu(self.conv2(y) + y), 2)
        return self.fc(ops.mean(y, (2, 3)))


def small_net() -> Graph:
    """A SmallNet of fixed weights, with an open batch."""
    module = SmallNet()
    module.reseed(3)
    return tg.trace(module, tg.Spec(("N", 2, 8, 8)))


def refused(error: type[Exception], message: str, run: Callable[..., Any], *args: Any, **named: Any) -> None:
    with pytest.raises(error, match=message):
        run(*args, **named)


ALIASES: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "view of the input": lambda x: ops.reshape(x, (4,)),
    "transposed input": lambda x: ops.transpose(x),
    "broadcast input": lambda x: ops.broadcast_to(x, (3, 2, 2)),
    "slice of the input": lambda x: x[1:],
    "input twice": lambda x: {"a": x, "b": x},
    "computed twice": lambda x: twice(x + 1),
    "view and base": lambda x: view_and_base(x + 1),
    "two views": lambda x: two_views(x + 1),
    "broadcast result": lambda x: ops.broadcast_to(ops.sum(x), (2, 2)),
    "constant": lambda x: {"c": ops.relu(x * 0 + np.array([1, 2], F32)), "d": x + np.ones(2, F32)},
}


def twice(y: Any) -> Any:
    return {"a": y, "b": y}


def view_and_base(y: Any) -> Any:
    return {"a": y, "b": ops.reshape(y, (4,)), "c": ops.transpose(y)}


def two_views(y: Any) -> Any:
    return {"a": ops.reshape(y, (4,)), "b": ops.transpose(y), "c": y[0]}


def as_dict(result: Any) -> dict[str, Array]:
    return result if isinstance(result, dict) else {"output": result}


@family
class Scratchy(Op):
    """x + 1, by way of scratch memory."""

    name = "scratchy"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("it is a test")
    to_onnx = not_in_onnx("it is a test")
    nbytes: int = 0

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        return x + 1

    def lower(self, types: Any, constants: Any, workers: int) -> Prepared:
        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            assert workspace.nbytes >= self.nbytes
            assert workspace.ctypes.data % 64 == 0
            scratch = workspace[: inputs[0].nbytes].view(inputs[0].dtype).reshape(inputs[0].shape)
            scratch[...] = inputs[0]
            time.sleep(0.001)
            np.add(scratch, 1, outputs[0])

        return Prepared(run, self.nbytes, f"scratch of {workers}")

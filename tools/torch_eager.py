"""A graph as eager PyTorch runs it: node by node with torch.nn.functional, gradients by its autograd.

For comparisons only: PyTorch is no dependency, and is imported when it is needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tinygraph.errors import UnsupportedOp
from tinygraph.ir import Array, Graph, Node, Value
from tinygraph.rewrite import Index

Rule = Callable[..., Any]


class Eager:
    """The nodes of a graph as PyTorch functions.

    Args:
        graph: of inference or of training; its batch is that of the arrays. It is not kept, and
            what is trained is a copy of its numbers.

    Attributes:
        parameters: by name, ready for a torch optimizer.

    Raises:
        UnsupportedOp: an op has no counterpart here; lists them all.
    """

    def __init__(self, graph: Graph) -> None:
        import torch  # type: ignore[import-not-found, unused-ignore]

        self._inputs = graph.inputs
        self._rules = _rules()
        unknown = sorted({node.op.name for node in graph.nodes} - set(self._rules) - {"batch_norm_train"})
        if unknown:
            raise UnsupportedOp(f"not written for PyTorch: {', '.join(unknown)}")
        self.parameters: dict[str, Any] = {}
        self._fixed: dict[Value, Any] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # arrays are read-only; nobody writes to those that are shared
            for value in graph.data:
                array = graph.array(value)
                tensor = torch.from_numpy(array if graph.mode == "inference" else array.copy())
                if value.kind == "param":
                    tensor = self.parameters[value.name] = torch.nn.Parameter(tensor)
                self._fixed[value] = tensor
        self._named = {v.name: tensor for v, tensor in self._fixed.items()}
        index = Index(graph)
        # As torchvision's networks do: an activation overwrites what nobody else reads.
        self._over = {n for n in graph.nodes if n.op.name in _OVER and index.sole_reader(n.inputs[0]) is n}
        self._over = {n for n in self._over if (maker := index.maker(n.inputs[0])) and maker.op.name in _MAKERS}
        statistics = {v for name, v in graph.outputs if name in self._named}
        wanted = {v for _, v in graph.outputs} - statistics
        self._results = [v for _, v in graph.outputs if v not in statistics]
        self._steps: list[tuple[Node, list[Value]]] = []  # with what nobody reads afterwards
        for node in reversed(graph.nodes):
            if not wanted.isdisjoint(node.outputs):
                self._steps.append((node, [v for v in {*node.inputs, *node.outputs} if v not in wanted]))
                wanted.update(node.inputs)
        self._steps.reverse()

    def __call__(self, *inputs: Any) -> list[Any]:
        """The outputs, next values of statistics aside; those move in place, as PyTorch's do."""
        live: dict[Value, Any] = {**self._fixed, **dict(zip(self._inputs, inputs, strict=True))}
        for node, dead in self._steps:
            live[node.outputs[0]] = self._result(node, [live[v] for v in node.inputs])
            for value in dead:
                live.pop(value, None)
        return [live[v] for v in self._results]

    def _result(self, node: Node, args: Sequence[Any]) -> Any:
        if node.op.name == "batch_norm_train":
            return self._batch_norm(node, *args)
        rule = _OVER[node.op.name] if node in self._over else self._rules[node.op.name]
        return rule(node.op, *args)

    def _batch_norm(self, node: Node, x: Any, gamma: Any, beta: Any) -> Any:
        import torch.nn.functional as F  # type: ignore[import-not-found, unused-ignore]

        running = [self._named.get(f"{node.where.module}.{name}") for name in ("running_mean", "running_var")]
        tracked = self._named.get(f"{node.where.module}.num_batches_tracked")
        if tracked is not None:
            tracked += 1
        eps = node.op.eps  # type: ignore[attr-defined]  # of BatchNormTrain
        return F.batch_norm(x, *running, gamma, beta, training=True, eps=eps)


def trainer(eager: Eager, lr: float, momentum: float) -> Callable[[Array, Array], float]:
    """A training step by cross-entropy and torch.optim.SGD: step(x, labels) -> loss."""
    import torch
    import torch.nn.functional as F

    optimizer = torch.optim.SGD(eager.parameters.values(), lr, momentum=momentum)

    def step(x: Array, labels: Array) -> float:
        optimizer.zero_grad(set_to_none=True)
        (logits,) = eager(torch.from_numpy(x))
        loss = F.cross_entropy(logits, torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


_MAKERS = {"conv", "batch_norm", "batch_norm_train", "linear", "add"}
_OVER: dict[str, Rule] = {
    "relu": lambda op, x: x.relu_(),
    "clip": lambda op, x: x.clamp_(op.low, op.high),
}


def _rules() -> dict[str, Rule]:
    """For each op that is known here: rule(op, *tensors) -> tensor."""
    import torch
    import torch.nn.functional as F

    def padded(op: Any, x: Any, value: float = 0.0) -> tuple[Any, Sequence[int]]:
        """x and the padding that PyTorch's function is given; uneven padding is done beforehand."""
        if all(front == behind for front, behind in op.padding):
            return x, [front for front, _ in op.padding]
        return F.pad(x, [n for pair in reversed(op.padding) for n in pair], value=value), [0] * len(op.padding)

    def conv(op: Any, x: Any, w: Any, b: Any = None) -> Any:
        x, padding = padded(op, x)
        function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(padding)]
        return function(x, w, b, op.stride, padding, op.dilation, op.groups)

    def conv_transpose(op: Any, x: Any, w: Any, b: Any = None) -> Any:
        fronts = [front for front, _ in op.padding]
        least = [
            (n - 1) * stride - 2 * front + dilation * (taps - 1) + 1
            for n, stride, front, dilation, taps in zip(
                x.shape[2:], op.stride, fronts, op.dilation, w.shape[2:], strict=True
            )
        ]
        more = [int(size) - size_of for size, size_of in zip(op.output_size, least, strict=True)]
        function = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[len(fronts)]
        return function(x, w, b, op.stride, fronts, more, op.groups, op.dilation)

    def max_pool(op: Any, x: Any) -> Any:
        x, padding = padded(op, x, -float("inf"))
        function = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(padding)]
        return function(x, op.kernel_size, op.stride, padding, op.dilation, op.ceil_mode)

    def avg_pool(op: Any, x: Any) -> Any:
        padding = [front for front, _ in op.padding]
        return F.avg_pool2d(x, op.kernel_size, op.stride, padding, op.ceil_mode, op.count_include_pad)

    def cut(op: Any, x: Any) -> Any:
        return x[tuple(map(slice, op.starts, op.stops, op.steps))]

    def pad(op: Any, x: Any) -> Any:
        mode = {"edge": "replicate"}.get(op.mode, op.mode)
        value = op.value if mode == "constant" else None
        return F.pad(x, [n for pair in reversed(op.pads) for n in pair], mode, value)

    return {
        "conv": conv,
        "conv_transpose": conv_transpose,
        "linear": lambda op, x, w, b=None: F.linear(x, w, b),
        "matmul": lambda op, a, b: torch.matmul(a, b),
        "batch_norm": lambda op, x, g, b, m, v: F.batch_norm(x, m, v, g, b, eps=op.eps),
        "relu": lambda op, x: torch.relu(x),
        "clip": lambda op, x: torch.clamp(x, op.low, op.high),
        "leaky_relu": lambda op, x: F.leaky_relu(x, op.slope),
        "elu": lambda op, x: F.elu(x, op.alpha),
        "sigmoid": lambda op, x: torch.sigmoid(x),
        "tanh": lambda op, x: torch.tanh(x),
        "prelu": lambda op, x, w: F.prelu(x, w),
        "softmax": lambda op, x: torch.softmax(x, op.axis),
        "log_softmax": lambda op, x: torch.log_softmax(x, op.axis),
        "add": lambda op, a, b: a + b,
        "sub": lambda op, a, b: a - b,
        "mul": lambda op, a, b: a * b,
        "div": lambda op, a, b: a / b,
        "max": lambda op, x: torch.amax(x, op.axes, op.keepdims),
        "mean": lambda op, x: x.mean(op.axes, op.keepdims),
        "sum": lambda op, x: x.sum(op.axes, op.keepdims),
        "max_pool": max_pool,
        "avg_pool": avg_pool,
        "adaptive_avg_pool": lambda op, x: F.adaptive_avg_pool2d(x, op.output_size),
        "reshape": lambda op, x: x.reshape(op.shape),
        "transpose": lambda op, x: x.permute(op.axes),
        "concat": lambda op, *xs: torch.cat(xs, op.axis),
        "slice": cut,
        "pad": pad,
    }

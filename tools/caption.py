"""What stands in the box of a node: `conv 3x3 s2 p1`, and the family that gives its colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from tinygraph.ir import Graph, Node
from tinygraph.tools.table import show_shape

_LONGEST = 40  # characters of one attribute
_WINDOW = {"kernel_size", "stride", "padding", "dilation", "groups"}
_REDUNDANT = {"shape", "output_size", "stops"}  # the shape of the output tells as much
_PLAIN = {"starts": {0}, "steps": {1}}

# The colour of a family goes with the room (file) of the op, so that no op is named here.
_FAMILIES = {
    "conv": ("conv", "conv_transpose"),
    "linear": ("matmul",),
    "norm": ("norm", "lrn"),
    "activation": ("elementwise", "prelu"),
    "pool": ("pool", "pool_average", "pool_adaptive", "pool_grad"),
    "softmax": ("softmax", "reduce"),
    "arithmetic": ("arithmetic",),
    "movement": ("shape", "index", "pad"),
}
_FAMILY = {room: family for family, rooms in _FAMILIES.items() for room in rooms}


def family(node: Node) -> str:
    """conv, linear, norm, activation, pool, softmax, arithmetic, movement or other."""
    return _FAMILY.get(type(node.op).__module__.rpartition(".")[2], "other")


def caption(node: Node, graph: Graph) -> str:
    """The op, its attributes in short, and scalar constants that it reads."""
    return " ".join((node.op.name, *_window(node), *_others(node), *_scalars(node, graph)))


def _window(node: Node) -> list[str]:
    """Kernel, stride, padding, dilation and groups, as far as they are not plain."""
    op: Any = node.op
    if not hasattr(op, "stride"):
        return []
    kernel = getattr(op, "kernel_size", None) or (node.inputs[1].type.shape[2:] if len(node.inputs) > 1 else ())
    parts = [show_shape(kernel)] if kernel else []
    for letter, numbers, plain in (
        ("s", op.stride, 1),
        ("p", tuple(n for pair in op.padding for n in pair), 0),
        ("d", getattr(op, "dilation", (1,)), 1),
        ("g", (getattr(op, "groups", 1),), 1),
    ):
        if set(numbers) != {plain}:
            parts.append(letter + _same(numbers))
    return parts


def _same(numbers: Sequence[Any]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else ",".join(map(str, numbers))


def _others(node: Node) -> list[str]:
    """The remaining attributes that are single values or short tuples, and not at their default."""
    shown = []
    for f in fields(node.op):  # type: ignore[arg-type]  # every registered op is a dataclass
        value = getattr(node.op, f.name)
        if f.name in _WINDOW | _REDUNDANT or (f.default is not MISSING and value == f.default):
            continue
        if _is_plain_list(value) and set(value) != _PLAIN.get(f.name):
            shown.append(f"{f.name}={_same(value)}")
        elif isinstance(value, (bool, int, float, str)):
            shown.append(f"{f.name}={value}"[:_LONGEST])
    return shown


def _is_plain_list(value: Any) -> bool:
    return isinstance(value, tuple) and 0 < len(value) <= 4 and not any(isinstance(v, tuple) for v in value)


def _scalars(node: Node, graph: Graph) -> list[str]:
    return [
        f"{graph.array(v).item():g}" for v in node.inputs if v.kind == "const" and v.type.is_static and v.type.size == 1
    ]

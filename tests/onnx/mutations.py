"""Random changes of ONNX models: of their messages field by field, and of their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor

_WHOLE = (0, 1, -1, 2, 3, 5, 7, 16, 63, 64, 100, 1000, 2**16, 2**20, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
_REAL = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    1e-30,
    3.5,
    1e6,
    1e30,
    3.4e38,
    -1e30,
    float("inf"),
    float("-inf"),
    float("nan"),
)
_TEXTS = ("", "x", "y", "N", "None", "a b", 'a"b\n\x1b[31m<b>&', "é", "%x", "a.1", "../x", "A" * 300, "\0", "lambda")
_WORDS = (  # of attributes
    *(
        "SAME_UPPER",
        "SAME_LOWER",
        "VALID",
        "NOTSET",
        "reflect",
        "edge",
        "wrap",
        "constant",
        "linear",
        "cubic",
        "nearest",
    ),
    *("align_corners", "half_pixel", "tf_crop_and_resize", "asymmetric", "bilinear", "border", "zeros", "add", "mul"),
    *(
        "min",
        "max",
        "forward",
        "reverse",
        "bidirectional",
        "Tanh",
        "Relu",
        "DCR",
        "CRD",
        "ij,jk->ik",
        "ii->i",
        "...i->i",
    ),
)
_OPSETS = (6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25)
_LONGEST = 64  # elements of a list after a change that inserts

_INTS = {FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1), FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1)}
_UINTS = {FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1), FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1)}
_LIMITS = _INTS | _UINTS


def messages(root: Any) -> list[Any]:
    """A message and all those within it."""
    found = [root]
    for message in found:  # grows as it goes
        for field, value in message.ListFields():
            if field.message_type is not None:
                found += value if field.is_repeated else [value]
    return found


@cache
def _operators() -> list[str]:
    return sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})


class Mutator:
    """Changes models.

    Args:
        random: where chance comes from.
        donors: models whose nodes, attributes and tensors are put into others.
    """

    def __init__(self, random: Random, donors: Sequence[bytes]) -> None:
        self._random = random
        self._donors = donors

    def mutate(self, content: bytes) -> bytes:
        """Another file; now and then one that is no model at all."""
        if self._random.random() < 0.1:
            return self._bytewise(content)
        model = onnx.ModelProto.FromString(content)
        for _ in range(self._random.choice((1, 1, 1, 1, 1, 2, 2, 4))):
            self._change(model)
        try:
            return model.SerializeToString()
        except Exception:  # what was changed can no longer be written, such as a cycle of too deep messages
            return content

    def _bytewise(self, content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(self._random.choice((1, 1, 2, 4))):
            place = self._random.randrange(len(changed)) if changed else 0
            match self._random.randrange(4):
                case 0:
                    changed[place : place + 1] = bytes([self._random.randrange(256)])
                case 1:
                    del changed[place : place + self._random.choice((1, 2, 8, 64))]
                case 2:
                    changed[place:place] = self._random.randbytes(self._random.choice((1, 2, 8)))
                case _:
                    changed[place:place] = changed[place : place + self._random.choice((1, 8, 64))]
        return bytes(changed)

    # ---- changes of a model ----

    def _change(self, model: onnx.ModelProto) -> None:
        parts = messages(model.graph)
        nodes = [part for part in parts if isinstance(part, onnx.NodeProto)]
        chance = self._random.random()
        if chance < 0.08 and nodes:
            self._random.choice(nodes).op_type = self._random.choice(_operators())
        elif chance < 0.22 and nodes:
            self._rewire(model.graph, self._random.choice(nodes))
        elif chance < 0.3 and model.opset_import:
            self._random.choice(model.opset_import).version = self._random.choice(_OPSETS)
        elif chance < 0.45:
            self._known_numbers(model.graph)
        elif chance < 0.55:
            self._transplant(model)
        elif chance < 0.6:
            self._field(self._random.choice(messages(model)))
        else:
            interesting = (onnx.AttributeProto, onnx.TensorProto, onnx.TensorShapeProto.Dimension, onnx.NodeProto)
            chosen = [part for part in parts if isinstance(part, interesting)]
            self._field(self._random.choice(chosen or parts))

    def _rewire(self, graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
        """Another edge: a name that is there already in the place of one that a node reads."""
        made = [name for other in graph.node for name in other.output]
        names = [*made, *(t.name for t in graph.initializer), *(i.name for i in graph.input), ""]
        name = self._random.choice(names)
        if node.input and self._random.random() < 0.8:
            node.input[self._random.randrange(len(node.input))] = name
        else:
            node.input.append(name)

    def _known_numbers(self, graph: onnx.GraphProto) -> None:
        """Other numbers in a weight."""
        tensors = [t for t in messages(graph) if isinstance(t, onnx.TensorProto) and t.data_type in _PACKED]
        if not tensors:
            return
        tensor = self._random.choice(tensors)
        try:
            array = onnx.numpy_helper.to_array(tensor).copy()
        except Exception:  # it is damaged already
            return
        flat = array.reshape(-1)
        for _ in range(self._random.choice((1, 1, 2, 3))):
            if not flat.size:
                break
            number = self._random.choice(_REAL if array.dtype.kind == "f" else _WHOLE)
            if array.dtype.kind in "iu":
                sign = -1 if array.dtype.kind == "i" and self._random.random() < 0.25 else 1
                number = int(number) * sign % 2 ** (8 * array.itemsize - (array.dtype.kind == "i"))
            with np.errstate(all="ignore"):
                flat[self._random.randrange(flat.size)] = number
        if self._random.random() < 0.2:
            array = flat[: self._random.randrange(flat.size + 1)]
        changed = onnx.numpy_helper.from_array(array, tensor.name)
        tensor.CopyFrom(changed)

    def _transplant(self, model: onnx.ModelProto) -> None:
        """A part of another model, or of this one, in the place of one of the same sort."""
        donor = onnx.ModelProto.FromString(self._random.choice(self._donors))
        place = self._random.choice(messages(model.graph))
        kin = [part for part in messages(donor) if type(part) is type(place)]
        if self._random.random() < 0.3:
            for node in donor.graph.node[:3]:
                model.graph.node.insert(self._random.randrange(len(model.graph.node) + 1), node)
        elif kin:
            given = self._random.choice(kin)
            name = getattr(place, "name", None)
            place.CopyFrom(given)
            if name and self._random.random() < 0.7:
                place.name = name

    def _field(self, message: Any) -> None:
        """Another value of a field; mostly of one that is there."""
        there = [field for field, _ in message.ListFields()]
        every = list(message.DESCRIPTOR.fields)
        field = self._random.choice(there if there and self._random.random() < 0.85 else every)
        try:
            if field.is_repeated:
                self._list(field, getattr(message, field.name))
            elif field.message_type is not None:
                if self._random.random() < 0.5:
                    message.ClearField(field.name)
                else:
                    getattr(message, field.name).SetInParent()
            elif self._random.random() < 0.1:
                message.ClearField(field.name)
            else:
                setattr(message, field.name, self._value(field, getattr(message, field.name)))
        except (ValueError, TypeError):  # a value that the field cannot hold
            return

    def _list(self, field: FieldDescriptor, values: Any) -> None:
        place = self._random.randrange(len(values)) if len(values) else 0
        match self._random.randrange(5):
            case 0 if len(values):
                del values[place]
            case 1 if len(values) > 1:
                other = self._random.randrange(len(values))
                moved = list(values)
                moved[place], moved[other] = moved[other], moved[place]
                del values[:]
                values.extend(moved)
            case 2 if field.message_type is not None:
                values.add() if not len(values) else values.append(values[place])
            case _ if field.message_type is not None:
                return
            case 2 | 3 if len(values) < _LONGEST:
                values.append(self._value(field, values[place] if len(values) else None))
            case _ if len(values):
                values[place] = self._value(field, values[place])

    def _value(self, field: FieldDescriptor, old: Any) -> Any:
        if field.cpp_type in _LIMITS:
            low, high = _LIMITS[field.cpp_type]
            near = (old or 0) + self._random.choice((-1, 1))
            number = near if self._random.random() < 0.3 else self._random.choice(_WHOLE)
            return min(max(-number if self._random.random() < 0.2 else number, low), high)
        if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
            return self._random.choice([value.number for value in field.enum_type.values])
        if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return self._random.choice(_REAL)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._random.choice((b"", bytes(8), b"\xff", *(word.encode() for word in _WORDS)))
        return self._random.choice(_TEXTS)


_PACKED = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13})  # element types of arrays of NumPy


def smaller(content: bytes, still: Any, rounds: int = 400) -> bytes:
    """A smaller file that still shows what the first one shows.

    Args:
        content: of a file.
        still: says whether another content shows the same.
        rounds: how often it is asked at most.
    """
    try:
        onnx.ModelProto.FromString(content)
    except Exception:
        return content  # no model, but bytes
    progress = True
    while progress and rounds > 0:
        progress = False
        for number in range(len(messages(onnx.ModelProto.FromString(content)))):
            for place in range(100):
                model = onnx.ModelProto.FromString(content)
                parts = messages(model)
                fields = [f for f, _ in parts[number].ListFields()] if number < len(parts) else []
                cuts = [
                    (f, i)
                    for f in fields
                    for i in (range(len(getattr(parts[number], f.name))) if f.is_repeated else [None])
                ]
                if place >= len(cuts) or rounds <= 0:
                    break
                field, index = cuts[place]
                if index is None:
                    parts[number].ClearField(field.name)
                else:
                    del getattr(parts[number], field.name)[index]
                rounds -= 1
                shorter = model.SerializeToString()
                if len(shorter) < len(content) and still(shorter):
                    content, progress = shorter, True
    return content

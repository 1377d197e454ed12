"""The pickle inside a PyTorch file, read by a machine that can do nothing but describe tensors.

Unpickling runs what the file names. This machine runs nothing: it knows the few opcodes that
put plain values together, and the few names that stand for tensors, which become descriptions.
Any other opcode or name is refused, and told.

Opcodes: https://github.com/python/cpython/blob/3.11/Lib/pickletools.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pickletools import genops
from typing import Any, NoReturn

from tinygraph.errors import ModelFormatError
from tinygraph.weights.archive import brief

_MOST_DIMS = 64  # NumPy has no more, and neither has PyTorch

# Storages by the name that a file gives them; bf16 is no dtype of NumPy's.
_STORAGES = {
    "torch.DoubleStorage": "f8",
    "torch.FloatStorage": "f4",
    "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": "bf16",
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "bool",
}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = {"PROTO", "FRAME"}


@dataclass(frozen=True, slots=True)
class Name:
    """A name of something in Python, such as torch.FloatStorage; nothing is looked up."""

    text: str


class Pairs(list[tuple[Any, Any]]):
    """A dict, as its pairs in order: keys are not hashed, because a file may choose ones that collide."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers in the file that tensors are views of.

    Attributes:
        dtype: a dtype of NumPy's, or bf16.
        key: name of the member that holds them.
        size: how many there are.
    """

    dtype: str
    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(data: bytes) -> Any:
    """What the pickle describes: plain values, lists, tuples, Pairs, Tensors.

    Raises:
        ModelFormatError: it is damaged, or uses anything else.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in genops(data):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.do(opcode.name, argument)
    except ModelFormatError:
        raise
    except (ValueError, IndexError, OverflowError, DeprecationWarning) as error:  # the last: of odd escapes in names
        raise ModelFormatError(f"its pickle is damaged: {brief(str(error))}") from error
    raise ModelFormatError("its pickle has no end")


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: list[Any] = []

    def do(self, opcode: str, argument: Any) -> None:
        """Carries out one opcode."""
        if opcode in _LITERALS:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in _RULES:
            _RULES[opcode](self, argument)
        elif opcode in ("GLOBAL", "INST"):
            self.name(*argument.split(" ", 1))
            if opcode == "INST":
                _refuse("INST")
        elif opcode not in _IGNORED:
            _refuse(opcode)

    def pop(self, count: int) -> list[Any]:
        """The last values of the stack, in order."""
        if len(self.stack) < count:
            raise IndexError("too few values")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """The values since the last mark."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def put(self, index: int) -> None:
        # Who writes a pickle counts from 0; another order would only cost memory.
        if index > len(self.memo):
            raise IndexError("a memo out of order")
        self.memo[index : index + 1] = [self.stack[-1]]

    def memoize(self, _: Any) -> None:
        self.memo.append(self.stack[-1])

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def tuple_of(self, values: list[Any]) -> None:
        self.stack.append(tuple(values))

    def append(self, values: list[Any]) -> None:
        self.top(list, "list").extend(values)

    def set_items(self, values: list[Any]) -> None:
        self.top(Pairs, "dict").extend(zip(values[::2], values[1::2], strict=True))

    def top(self, kind: type, what: str) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"no {what} to add to")
        return self.stack[-1]

    def stack_name(self, _: Any) -> None:
        module, name = self.pop(2)
        if type(module) is not str or type(name) is not str:
            raise ValueError("a name that is no text")
        self.name(module, name)

    def name(self, module: str, name: str) -> None:
        text = f"{module}.{name}"
        if text not in _STORAGES and text not in _CALLS:
            _refuse_name(text)
        self.stack.append(Name(text))

    def reduce(self, _: Any) -> None:
        function, arguments = self.pop(2)
        if type(function) is not Name or type(arguments) is not tuple or function.text not in _CALLS:
            raise ValueError("a call of what is no function")
        self.stack.append(_CALLS[function.text](*arguments[:10]))

    def build(self, _: Any) -> None:
        # An OrderedDict's attributes: _metadata, which Module.state_dict leaves there.
        self.pop(1)
        self.top(Pairs, "dict")

    def storage(self, _: Any) -> None:
        (described,) = self.pop(1)
        if type(described) is not tuple or [*map(type, described)] != [str, Name, str, str, int]:
            raise ValueError("a storage that is none")
        what, kind, key, _place, size = described
        if what != "storage" or kind.text not in _STORAGES or size < 0:
            raise ValueError("a storage that is none")
        self.stack.append(Storage(_STORAGES[kind.text], key, size))


def _ordered_dict(*rest: Any) -> Pairs:
    if rest:
        raise ValueError("an OrderedDict that is made with arguments")
    return Pairs()


def _tensor(
    storage: Any = None,
    offset: Any = None,
    shape: Any = None,
    strides: Any = None,
    grad: Any = None,
    hooks: Any = None,
    bits: Any = None,
    *rest: Any,
) -> Tensor:
    # bits: conj or neg, which say that the numbers stand for others
    if type(storage) is not Storage or not (_whole((offset,)) and _whole(shape) and _whole(strides)) or bits or rest:
        raise ValueError("a tensor that is none")
    if len(shape) != len(strides) or len(shape) > _MOST_DIMS:
        raise ValueError("a tensor whose shape and strides do not fit")
    return Tensor(storage, offset, shape, strides)


def _whole(numbers: Any) -> bool:
    return type(numbers) is tuple and all(type(n) is int and n >= 0 for n in numbers)


def _parameter(tensor: Any = None, *rest: Any) -> Tensor:
    if type(tensor) is not Tensor:
        raise ValueError("a parameter that is no tensor")
    return tensor


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}
_RULES: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "EMPTY_DICT": lambda machine, _: machine.stack.append(Pairs()),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "TUPLE": lambda machine, _: machine.tuple_of(machine.marked()),
    "TUPLE1": lambda machine, _: machine.tuple_of(machine.pop(1)),
    "TUPLE2": lambda machine, _: machine.tuple_of(machine.pop(2)),
    "TUPLE3": lambda machine, _: machine.tuple_of(machine.pop(3)),
    "APPEND": lambda machine, _: machine.append(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.storage,
}


def _refuse(opcode: str) -> NoReturn:
    raise ModelFormatError(f"its pickle uses {opcode}, which no tensor needs; nothing was executed")


def _refuse_name(text: str) -> NoReturn:
    what = "a dtype that is not read" if text.endswith("Storage") or "_rebuild_tensor" in text else "no tensor"
    raise ModelFormatError(
        f"it holds {brief(text)}, which is {what}; nothing was executed; "
        "save a state_dict with nothing but tensors in it, or safetensors"
    )

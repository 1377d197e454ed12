"""The contract of an op, and the registry.

An op is one room: a frozen dataclass whose fields are its attributes, with every rule about
it in one place, in this order:

    infer      types of the inputs -> types of the outputs, or ShapeError
    macs       multiply-adds: convolutions, linear layers and matrix products only
    flops      arithmetic operations: 2 x macs plus every other one; data movement is free
    kernel     arrays -> arrays: plain, obviously right NumPy, for any float dtype
    vjp        cotangents of the outputs -> cotangents of the inputs, as new nodes
    to_onnx    the ONNX node or nodes that compute the same, of the operators named in `onnx`
    traits     what passes may assume, so that they need not know the op's name

The traits:

    elementwise   y[i] depends on the inputs at i only, after broadcasting
    commutative   the first two inputs may change places
    linear        y = J x + c in the first input x, the others held; c comes from the others
    view          moves numbers and computes none; the kernel may return a view of its input
    random        the numbers depend on a key: two nodes alike are not one, and none is folded

Behind it stands the public function, which works on symbolic tensors and on arrays alike,
and `@from_onnx(...)` readers of the ONNX operators that map to it.

No rule is optional. Absence is spoken: `macs = no_macs`, `vjp = not_differentiable("why")`,
`to_onnx = not_in_onnx("why")`. An incomplete op fails at import. What may be left out has a
default in `Op`: `lower`, the choice of a faster prepared kernel, and `lower_channels_last`, of one for
maps in another layout; `sizes`, results that the types tell; `work`, `scratch` and `at_most`, what a
Budget has to know beside the types.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from math import prod
from typing import Any, ClassVar, Literal, Protocol, TypeVar, dataclass_transform

import numpy as np

from tinygraph.build import infer
from tinygraph.errors import NotDifferentiable, ShapeError, UnsupportedOp
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.kernels.channels_last.epilogue import Epilogue

Types = Sequence[TensorType]
Tensor = Any  # a symbolic tensor or an array: public functions take either, and give it back
Cost = Callable[["Op", Types, Types], int]
Precision = Literal["exact", "fast"]

OPS: dict[str, type[Op]] = {}
IMPORTERS: dict[str, Callable[..., Any]] = {}

CALL = 10_000  # steps that a call of NumPy takes, however little it computes

RULES = ("infer", "macs", "flops", "kernel", "vjp", "to_onnx")


class Symbolic:
    """A stand-in for an array while a graph is being made. tinygraph.tensor has the real one."""

    type: TensorType

    def apply(self, op: Op, args: Sequence[Any]) -> Any:
        """Emits a node; one Tensor, or a tuple of them."""
        raise NotImplementedError


@dataclass(frozen=True)
class Prepared:
    """A kernel made ready for given types and constants.

    Attributes:
        run: run(inputs, outputs, workspace) computes into the given, uninitialised outputs.
            It never writes to inputs; nothing is carried from one call to the next. The output of
            an elementwise op may be given as the very array of an input of the same type.
        workspace: bytes of scratch memory that `run` needs.
        algorithm: a short name for profiles ("gemm", "im2col").
        held: bytes of what was made of the constants.
        bind: bind(inputs, outputs, workspace) makes a function that does what `run` does with these very arrays,
            as often as it is called; None if there is nothing to prepare.
        reads_slices: whether its inputs may be slices of the last axis of larger arrays: parts of their rows.
        slice_workspace: bytes of scratch memory that it needs where its output is one; None if that must not be.
    """

    run: Callable[[Sequence[Array], Sequence[Array], Array], None]
    workspace: int
    algorithm: str
    held: int = 0
    bind: Callable[[Sequence[Array], Sequence[Array], Array], Callable[[], None]] | None = None
    reads_slices: bool = False
    slice_workspace: int | None = None

    @classmethod
    def bound(
        cls,
        bind: Callable[[Sequence[Array], Sequence[Array], Array], Callable[[], None]],
        workspace: int,
        algorithm: str,
        **others: Any,
    ) -> Prepared:
        """One that binds its arrays for every run."""

        def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
            bind(inputs, outputs, workspace)()

        return cls(run, workspace, algorithm, bind=bind, **others)


class Op:
    """Base of all ops; see the module's docstring for the rules."""

    name: ClassVar[str]
    labels: ClassVar[tuple[str, ...]] = ("y",)
    arity: ClassVar[tuple[int, int | None]]
    onnx: ClassVar[tuple[str, ...]] = ()
    traits: ClassVar[frozenset[str]] = frozenset()
    anchors: ClassVar[bool] = False  # worth bringing maps into another layout; see runtime/channels_last.py
    finishes: ClassVar[bool] = False  # its kernels for that layout take an epilogue along

    # The rules every op must have; declared here for type checkers only.
    infer: Callable[..., TensorType | tuple[TensorType, ...]]
    kernel: Callable[..., Any]
    macs: Callable[[Types, Types], int]
    flops: Callable[[Types, Types], int]
    vjp: Callable[..., Any]
    to_onnx: Callable[..., Any]

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        """A faster kernel for these input types, or None to use `kernel`.

        Args:
            types: types of the inputs.
            constants: the array of each input that never changes, else None.
            workers: threads that the kernel may use.
        """
        return None

    def work(self, inputs: Types, outputs: Types) -> int:
        """Steps that a run takes at most, for a Budget: operations, and one for each element that is made.

        An op says more where its kernel does other work, or where the numbers decide how much: CALL for
        each turn of a loop. Axes of arrays without elements count too, as there may be loops along them.
        """
        made = sum(prod(max(d, 1) for d in t.dims) for t in (*outputs, *(i for i in inputs if not i.size)))
        return made + self.flops(inputs, outputs)

    def scratch(self, inputs: Types, outputs: Types) -> int:
        """Bytes that a run takes beside its inputs and outputs, for a Budget, if attributes can make them many."""
        return 0

    def at_most(self, types: Types) -> int:
        """The largest number that a size may have which comes out only when the op runs; see runtime/stages.py."""
        raise NotImplementedError(f"{self.name} finds no sizes")

    def fits_channels_last(self, types: Types, constants: Sequence[Array | None]) -> bool:
        """Whether `lower_channels_last` has a kernel for these inputs; see runtime/channels_last.py."""
        return False

    def lower_channels_last(
        self,
        types: Types,
        constants: Sequence[Array | None],
        workers: int,
        precision: Precision,
        epilogue: Epilogue,
    ) -> Prepared:
        """A kernel whose maps, all arrays that are no constants, come and go as [N, *spatial, C].

        Args:
            types: types of the inputs, channels first.
            constants: the array of each input that never changes, else None; such arrays come as they are.
            workers: threads that the kernel may use.
            precision: "fast" for kernels that round more, where there are any.
            epilogue: what is done to the result, if the op says that it `finishes`; a residual is the last input.
        """
        raise NotImplementedError(f"{self.name} has no kernel for channels last")

    def sizes(self, types: Types) -> tuple[Dim, ...] | None:
        """The numbers of the only output, row by row, if they are sizes that the input types alone tell."""
        return None

    def check_arity(self, count: int) -> None:
        """Raises ShapeError unless the op takes that many inputs."""
        low, high = self.arity
        if count < low or (high is not None and count > high):
            wanted = f"{low}" if low == high else f"{low} or more" if high is None else f"{low} to {high}"
            raise ShapeError(f"takes {wanted} inputs, got {count}")

    def bind(self, dims: Mapping[str, int]) -> Op:
        """The op with the symbols in its attributes replaced by their numbers."""
        new: dict[str, Any] = {}
        for f in fields(self):  # type: ignore[arg-type]  # every registered op is a dataclass
            value = getattr(self, f.name)
            if isinstance(value, Symbol) and value.base in dims:
                new[f.name] = value.bind(dims)
            elif isinstance(value, tuple) and any(isinstance(d, Symbol) for d in value):
                new[f.name] = tuple(d.bind(dims) if isinstance(d, Symbol) else d for d in value)
        return replace(self, **new) if new else self  # type: ignore[type-var]

    def __setattr__(self, name: str, value: Any) -> None:
        """Attributes are set once, by `__init__`."""
        if name in vars(self) or name not in self.__dataclass_fields__:  # type: ignore[attr-defined]  # see bind
            raise FrozenInstanceError(f"cannot assign to {name!r}: an op is frozen; make another with replace()")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete {name!r}: an op is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        """Name and the attributes that differ from their defaults, as dumps print them."""
        from tinygraph.text import attributes

        return f"{self.name}({attributes(self)})"


T = TypeVar("T", bound=Op)


@dataclass_transform(frozen_default=True, eq_default=False)
def family(cls: type[T]) -> type[T]:
    """Makes a dataclass of an op, or of what several ops share.

    Equality, hash, repr and being frozen are Op's own: made anew for every op, they would be most
    of the time that importing tinygraph takes.
    """
    return dataclass(repr=False, eq=False)(cls)


@dataclass_transform(frozen_default=True, eq_default=False)
def register(cls: type[T]) -> type[T]:
    """Makes a frozen dataclass of the op and files it under its name.

    Raises:
        TypeError: the op lacks a rule, a docstring or a unique name.
    """
    missing = [rule for rule in (*RULES, "name", "arity") if not hasattr(cls, rule)]
    if missing:
        raise TypeError(
            f"op {cls.__name__} lacks {', '.join(missing)}; say not_differentiable(...) and so on where there is none"
        )
    if bool(cls.onnx) == hasattr(cls.to_onnx, "refuses"):
        raise TypeError(f"op {cls.__name__} names the ONNX operators {cls.onnx}; name those that to_onnx writes")
    if not cls.__doc__ and sys.flags.optimize < 2:  # -OO strips docstrings
        raise TypeError(f"op {cls.__name__} lacks a docstring with its formula")
    made = family(cls)
    if made.name in OPS:
        raise TypeError(f"two ops are named {made.name}")
    OPS[made.name] = made
    return made


def from_onnx(*op_types: str, buffers: Sequence[int] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Files a reader of ONNX operators: reader(node, *tensors) -> tensor or tuple.

    `node` is a tinygraph.onnx.node.OnnxNode: its attributes, opset, and constant inputs.
    An absent optional input arrives as None. `buffers` are the positions of inputs that are
    statistics rather than parameters.
    """

    def file(reader: Callable[..., Any]) -> Callable[..., Any]:
        reader.buffers = tuple(buffers)  # type: ignore[attr-defined]  # read by tinygraph.onnx.importer
        for op_type in op_types:
            if op_type in IMPORTERS:
                raise TypeError(f"two readers for ONNX {op_type}")
            IMPORTERS[op_type] = reader
        return reader

    return file


class Exporter(Protocol):
    """What `to_onnx(self, export, inputs, types)` may call; see tinygraph.onnx.exporter.

    `inputs` are names, `types` the input types. It returns the name or names of the results.
    """

    def node(self, op_type: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        """Adds an ONNX node; the name of its output, or a list of names if several."""

    def const(self, array: Any) -> str:
        """Adds an initializer; its name."""

    def sizes(self, dims: Sequence[Dim]) -> str:
        """Adds an int64 vector of sizes, for open ones the nodes that ask what has them; its name."""


# ---- spoken absences and common rules ----------------------------------------------------


def no_macs(self: Op, inputs: Types, outputs: Types) -> int:
    """0."""
    return 0


def no_flops(self: Op, inputs: Types, outputs: Types) -> int:
    """0: data movement."""
    return 0


def per_output(count: int) -> Cost:
    """A flops rule: that many operations for each element of the first output."""

    def flops(self: Op, inputs: Types, outputs: Types) -> int:
        return count * outputs[0].size

    flops.__doc__ = f"{count} per output element"
    return flops


def per_input(count: int) -> Cost:
    """A flops rule: that many operations for each element of the first input."""

    def flops(self: Op, inputs: Types, outputs: Types) -> int:
        return count * inputs[0].size

    flops.__doc__ = f"{count} per input element"
    return flops


def not_differentiable(why: str) -> Callable[..., Any]:
    """A vjp rule that refuses."""

    def vjp(self: Op, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        raise NotDifferentiable(f"{self.name} has no gradient: {why}")

    vjp.refuses = why  # type: ignore[attr-defined]
    vjp.__doc__ = f"Refuses: {why}."
    return vjp


def not_in_onnx(why: str) -> Callable[..., Any]:
    """A to_onnx rule that refuses."""

    def to_onnx(self: Op, export: Exporter, inputs: Sequence[str], types: Types) -> Any:
        raise UnsupportedOp(f"{self.name} cannot be saved as ONNX: {why}")

    to_onnx.refuses = why  # type: ignore[attr-defined]
    to_onnx.__doc__ = f"Refuses: {why}."
    return to_onnx


def one_onnx_node(self: Op, export: Exporter, inputs: Sequence[str], types: Types) -> Any:
    """A to_onnx rule: the operator of `onnx` on the same inputs, without attributes."""
    return export.node(self.onnx[0], inputs)


gradient_not_in_onnx = not_in_onnx("ONNX has no gradient operators; save the graph before differentiating it")


def is_differentiable(op: type[Op]) -> bool:
    """Whether the op has a gradient."""
    return not hasattr(op.vjp, "refuses")


def formula(rule: Any) -> str:
    """The first line of a cost rule's docstring: what `tinygraph ops` prints."""
    return (inspect.getdoc(rule) or "").partition("\n")[0].rstrip(".")


# ---- application ---------------------------------------------------------------------------


def apply(op: Op, *args: Any) -> Any:
    """Emits the op if an argument is symbolic, else runs its kernel on the arrays.

    Raises:
        ShapeError: the op refuses these shapes or dtypes.
    """
    for arg in args:
        if isinstance(arg, Symbolic):
            return arg.apply(op, args)
    arrays = [np.asarray(a) for a in args]
    infer(op, [TensorType.of(a) for a in arrays])
    return op.kernel(*arrays)


def alike(*args: Any) -> list[Any]:
    """Brings numbers, and arrays beside symbolic tensors, to the dtype of the tensors.

    The first symbolic tensor gives the dtype, else the first array, else the first NumPy
    number. Python and NumPy numbers take it, and so do arrays that meet a symbolic tensor,
    unless that would lose the nature of the number (a float beside integers): then they stay,
    and the op refuses them.

    Raises:
        ShapeError: a whole number does not fit the integers it stands beside.
    """
    symbolic = [a.type.dtype for a in args if isinstance(a, Symbolic)]
    arrays = [a.dtype for a in args if isinstance(a, np.ndarray)]
    dtypes = symbolic or arrays or [a.dtype for a in args if isinstance(a, np.generic)]
    dtype = dtypes[0] if dtypes else None
    return [_cast(a, dtype, weak_arrays=bool(symbolic)) for a in args]


def _cast(arg: Any, dtype: np.dtype[Any] | None, weak_arrays: bool) -> Any:
    if isinstance(arg, Symbolic) or (isinstance(arg, np.ndarray) and not weak_arrays):
        return arg
    array = np.asarray(arg)
    ranks = "biuf"
    if array.dtype.kind not in ranks:
        raise ShapeError(f"{arg!r} is neither a tensor nor a number")
    if dtype is None or ranks.find(array.dtype.kind) > ranks.find(dtype.kind):
        return array
    cast = array.astype(dtype)
    if array.dtype.kind in "iu" and dtype.kind in "iu" and not np.array_equal(cast, array):
        raise ShapeError(f"{array[cast != array].flat[0]} does not fit {dtype.name}; cast the tensor to a wider dtype")
    return cast


def type_of(x: Any) -> TensorType:
    """Shape and dtype of a symbolic tensor or an array."""
    return x.type if isinstance(x, Symbolic) else TensorType.of(np.asarray(x))


def same_dtype(*types: TensorType) -> np.dtype[Any]:
    """The one dtype of all; ShapeError if they differ."""
    dtypes = dict.fromkeys(t.dtype for t in types)
    if len(dtypes) > 1:
        raise ShapeError(f"dtypes differ: {', '.join(d.name for d in dtypes)}; cast the inputs to one")
    return types[0].dtype


def floating(*types: TensorType) -> np.dtype[Any]:
    """The one floating dtype of all; ShapeError if they differ or are not floating."""
    dtype = same_dtype(*types)
    if dtype.kind != "f":
        raise ShapeError(f"wants floating-point inputs, got {dtype.name}")
    return dtype


def normal_axis(axis: int, ndim: int) -> int:
    """The axis counted from the front; ShapeError if there is no such axis."""
    if not -ndim <= axis < ndim:
        raise ShapeError(f"there is no axis {axis} in {ndim} dimensions")
    return axis % ndim

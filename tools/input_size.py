"""--input-size and --batch-size on the command line: the shapes that a network's inputs get."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence

from tinygraph.errors import UsageError
from tinygraph.ir import Graph, Shape, Symbol
from tinygraph.nn.module import Module
from tinygraph.tools.table import show_shape
from tinygraph.trace import Spec

Size = tuple[str | None, Shape]


def read_sizes(texts: Sequence[str]) -> list[Size]:
    """`1,3,224,224`, `1x3x224x224` or `name:1x3x224x224`, as (name or None, shape).

    Raises:
        UsageError: one is not a size, or two are of the same input.
    """
    sizes = [_size(text) for text in texts]
    names = [name for name, _ in sizes if name is not None]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--input-size is given {names.count(name)} times for the input {name}")
    return sizes


def _size(text: str) -> Size:
    name, colon, size = text.rpartition(":")
    parts = [part.strip() for part in re.split("[,xX]", size)]
    if not all(part.isascii() and part.isdecimal() and len(part) < 19 and int(part) for part in parts):
        raise UsageError(f"--input-size {text!r} is not a size: write 1,3,224,224 or name:1x3x224x224, each at least 1")
    return name if colon else None, tuple(map(int, parts))


def match(inputs: Mapping[str, Shape], sizes: Sequence[Size]) -> list[Shape]:
    """The shape of each input: what is given for it, else as it is.

    Args:
        inputs: name and shape of each.
        sizes: from read_sizes.

    Raises:
        UsageError: there is no such input, or it has another number of dimensions.
    """
    given = _assign(list(inputs), sizes)
    for name, shape in given.items():
        if len(shape) != len(inputs[name]):
            wanted = show_shape(inputs[name])
            raise UsageError(f"--input-size {show_shape(shape)} does not fit the input {name}, which is {wanted}")
    return list((dict(inputs) | given).values())


def own_specs(module: Module, sizes: Sequence[Size]) -> list[Spec]:
    """What a network takes that tells no more than the names of its arguments.

    Raises:
        UsageError: there is no such argument, or one has no size.
    """
    parameters = [p for p in inspect.signature(module.forward).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    if sizes and any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return [Spec(shape, name=name) for name, shape in sizes]
    names = [p.name for p in parameters]
    given = _assign(names, sizes)
    needed = max(len(given), sum(p.default is p.empty for p in parameters))
    missing = [name for name in names[:needed] if name not in given]
    if missing:
        label = f"{missing[0]}:" if len(names) > 1 else ""
        raise UsageError(
            f"no size is known of the input {', '.join(missing)}: give --input-size, such as {label}1,3,224,224"
        )
    return [Spec(given[name], name=name) for name in names[:needed]]


def _assign(names: Sequence[str], sizes: Sequence[Size]) -> dict[str, Shape]:
    """The sizes by the names of inputs; those without a name go to the inputs that are left, in order."""
    given = {name: shape for name, shape in sizes if name is not None}
    for name in given:
        if name not in names:
            raise UsageError(f"there is no input {name!r}; the inputs are {', '.join(names)}")
    left = [name for name in names if name not in given]
    unnamed = [shape for name, shape in sizes if name is None]
    if len(unnamed) > len(left):
        raise UsageError(f"--input-size is given {len(sizes)} times, the model has {len(names)} input(s)")
    return given | dict(zip(left, unnamed, strict=False))


def with_batch(shape: Shape, batch: int) -> Shape:
    """The shape with another first dimension."""
    if not shape:
        raise UsageError("-b: an input is a single number, it has no batch dimension")
    return (batch, *shape[1:])


def bind(graph: Graph, sizes: Sequence[Size], batch_size: int | None) -> Graph:
    """A finished graph, with the numbers that are given for its open dimensions."""
    found = numbers({v.name: v.type.shape for v in graph.inputs}, sizes, batch_size)
    return graph.bind(**found) if found else graph


def numbers(inputs: Mapping[str, Shape], sizes: Sequence[Size], batch_size: int | None) -> dict[str, int]:
    """The numbers that are given for open dimensions.

    Args:
        inputs: name and shape of each.
        sizes: from read_sizes.
        batch_size: of every input, or None.

    Raises:
        UsageError: a size does not fit an input, or a dimension would get two numbers.
    """
    wanted = match(inputs, sizes)
    if batch_size is not None:
        wanted = [with_batch(shape, batch_size) for shape in wanted]
    found: dict[str, int] = {}
    for (name, old), new in zip(inputs.items(), wanted, strict=True):
        for fixed, dim in zip(old, new, strict=True):
            if isinstance(dim, Symbol):
                continue
            if isinstance(fixed, Symbol):
                if found.setdefault(fixed, dim) != dim:
                    raise UsageError(f"the dimension {fixed} is to be {found[fixed]} and {dim} at once")
            elif fixed != dim:
                shape = show_shape(old)
                raise UsageError(f"the input {name} is {shape} in the file, {dim} in the place of {fixed} does not fit")
    return found


def refuse_open_sizes(graph: Graph) -> Graph:
    """The graph, if at most first dimensions of its inputs are open.

    Raises:
        UsageError: another dimension has no number.
    """
    open_sizes = {str(d): None for v in graph.inputs for d in v.type.shape[1:] if isinstance(d, Symbol)}
    if open_sizes:
        inputs = ", ".join(f"{v.name} {show_shape(v.type.shape)}" for v in graph.inputs)
        raise UsageError(f"no number is known for {', '.join(open_sizes)} of the input {inputs}: give --input-size")
    return graph

"""Kernels for maps whose channels come last, [N, *spatial, C].

There a block of positions is one piece of memory, as input and as result: it is read, computed and finished while it
is in the cache, and threads share the positions. The weight is brought into its best form beforehand.
"""

from __future__ import annotations

from functools import partial
from math import prod

import numpy as np

from tinygraph.kernels.channels_last import depthwise, winograd
from tinygraph.kernels.channels_last.depthwise import Depthwise
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.channels_last.im2col import Im2col
from tinygraph.kernels.channels_last.winograd import Winograd
from tinygraph.kernels.choice import Task, chosen
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.scratch import Array, allocate, carve, room

Routine = Depthwise | Im2col | Winograd

# Maps of more bytes are not made for measuring.
_MOST_BYTES = 1 << 30


def convolution(g: Geometry, workers: int, weight: Array, epilogue: Epilogue, fast: bool) -> Routine:
    """The routine with which a convolution is done fastest.

    Args:
        g: of float32 or float64.
        workers: threads that it may use.
        weight: [filters, channels / groups, *kernel], which never changes.
        epilogue: what is done to the results.
        fast: also with routines that round more.
    """
    names = candidates(g, workers, fast)
    if len(names) > 1 and _maps(g, epilogue) <= _MOST_BYTES:
        what = f"{describe(g)}{epilogue.suffix}, threads {workers}, {'fast' if fast else 'exact'}"
        names = [chosen(what, names, partial(_run, g, workers, weight, epilogue))]
    return make(names[0], g, workers, weight, epilogue)


def candidates(g: Geometry, workers: int, fast: bool) -> list[str]:
    """Names of the routines that do a convolution, the one that should be the fastest first."""
    if depthwise.pays(g):
        return ["depthwise", "im2col"]
    if not (fast and winograd.applies(g)):
        return ["im2col"]
    tile = winograd.pays(g, workers)
    first = f"winograd{tile}" if tile else "im2col"
    return [first, *(name for name in ("winograd4", "winograd2", "im2col") if name != first)]


def make(name: str, g: Geometry, workers: int, weight: Array, epilogue: Epilogue) -> Routine:
    """The routine of a name; the other arguments are those of `convolution`."""
    if name == "depthwise":
        return Depthwise(g, workers, weight, epilogue)
    if name == "im2col":
        return Im2col(g, workers, weight, epilogue)
    return Winograd(g, workers, weight, int(name.removeprefix("winograd")), epilogue)


def describe(g: Geometry) -> str:
    """All numbers of a convolution."""

    def times(numbers: tuple[int, ...]) -> str:
        return "x".join(map(str, numbers))

    padding = ",".join(f"{front}+{behind}" for front, behind in g.padding)
    return (
        f"conv {g.dtype} {g.batch}x{g.channels}x{times(g.sizes)} to {g.filters}x{times(g.out)}, kernel "
        f"{times(g.kernel)}, stride {times(g.stride)}, padding {padding}, dilation {times(g.dilation)}, "
        f"groups {g.groups}"
    )


def _shapes(g: Geometry, epilogue: Epilogue) -> list[tuple[int, ...]]:
    result = g.batch, *g.out, g.filters
    return [(g.batch, *g.sizes, g.channels), result, *[result] * epilogue.residual]


def _maps(g: Geometry, epilogue: Epilogue) -> int:
    return sum(prod(shape) for shape in _shapes(g, epilogue)) * g.dtype.itemsize


def _run(g: Geometry, workers: int, weight: Array, epilogue: Epilogue, name: str) -> Task:
    """A run of a routine on random numbers."""
    routine, shapes = make(name, g, workers, weight, epilogue), _shapes(g, epilogue)
    x, y, *residual = carve(allocate(room(g.dtype, *shapes)), g.dtype, *shapes)
    rng = np.random.default_rng(0)
    for array in (x, *residual):
        array[...] = rng.random(array.shape, np.float32)
    bias = np.zeros(g.filters, g.dtype)
    return routine.program(x, bias, residual[0] if residual else None, y, allocate(routine.workspace))

"""Sessions whose memory is filled with rubbish between calls, and arrays that nobody may touch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.sessions import as_dict
from tinygraph.ir import Array, Graph
from tinygraph.runtime.session import Session

RUBBISH = (0xFF, 0x00)  # of floats NaN and zero; of integers -1 and zero


def fill(array: Array, byte: int) -> Array:
    """Writes a byte everywhere."""
    if array.dtype != object:
        array.reshape(-1).view(np.uint8)[...] = byte
    return array


@contextmanager
def fresh_memory(byte: int) -> Iterator[None]:
    """NumPy's new arrays hold this byte."""
    empty = np.empty

    def filled(*args: Any, **kwargs: Any) -> Array:
        return fill(empty(*args, **kwargs), byte)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "empty", filled)
        patch.setattr(np, "empty_like", lambda a, *args, **kwargs: filled(np.shape(a), *(args or (a.dtype,)), **kwargs))
        yield


def poison(run: Session, byte: int) -> None:
    """Fills the arenas of a session, and those of its stages."""
    for arena in run._arenas.spare:
        fill(arena.memory, byte)
    for part, _ in run._staged._stages if run._staged else ():
        poison(part.__self__, byte)


def call_poisoned(run: Session, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs, after it was made sure that calls hang on nothing but their inputs and leave nothing behind.

    They are the same bit for bit whatever memory held before; inputs are not written to, nor are arrays that
    an earlier call returned; and what the caller writes into those changes no later call.
    """
    given = {name: np.array(array) for name, array in inputs.items()}
    for array in given.values():
        array.flags.writeable = False
    with fresh_memory(RUBBISH[0]):
        first = as_dict(run(**given))
    kept = {name: y.copy() for name, y in first.items()}
    for byte in RUBBISH:
        poison(run, byte)
        with fresh_memory(byte):
            again = as_dict(run(**given))
        _assert_same(again, kept)
        for y in again.values():
            fill(y, RUBBISH[0])
    _assert_same(first, kept)
    _assert_same(given, inputs)
    return kept


def _assert_same(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    assert list(found) == list(wanted)
    for name, y in found.items():
        assert (y.shape, y.dtype) == (wanted[name].shape, wanted[name].dtype), name
        np.testing.assert_array_equal(y, wanted[name], name)
        if y.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(y[~np.isnan(y)]), np.signbit(wanted[name][~np.isnan(y)]), name)


def random_inputs(graph: Graph, seed: int = 0, **dims: int) -> dict[str, Array]:
    """Normally distributed numbers for inputs that are floating."""
    rng = np.random.default_rng(seed)
    return {v.name: rng.standard_normal(v.type.bind(dims).dims).astype(v.type.dtype) for v in graph.inputs}

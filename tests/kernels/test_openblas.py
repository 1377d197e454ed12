"""OpenBLAS's kernels, called directly: products exact in whole numbers, and when they are not called."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.array_utils import byte_bounds

from tinygraph.kernels import openblas
from tinygraph.kernels.openblas import Kernels, Matrix, kernels, matrix
from tinygraph.kernels.scratch import Array, allocate

needs_kernels = pytest.mark.skipif(kernels() is None, reason="this NumPy has no OpenBLAS whose kernels are known")

SIZES = st.integers(1, 70)
ORDERS = st.sampled_from(["rows", "columns", "backwards"])


@pytest.fixture
def asked_again() -> Iterator[None]:
    kernels.cache_clear()
    yield
    kernels.cache_clear()


def whole(rows: int, columns: int, seed: int, order: str) -> Array:
    """Small whole numbers in rows, or columns, that are parts of longer ones; or with gaps, of a byte in records."""
    values = np.random.default_rng(seed).integers(-8, 9, (rows, columns)).astype(np.float32)
    if order == "columns":
        return np.pad(values.T, ((0, 0), (1, 4)), constant_values=np.nan)[:, 1:-4].T
    if order == "gaps":
        return np.repeat(np.repeat(values, 2, 0), 3, 1)[::2, ::3]
    if order == "records":
        records = np.zeros(rows, [("label", "u1"), ("numbers", "<f4", columns)])
        records["label"] = 77
        records["numbers"] = values
        found: Array = records["numbers"]
        return found
    if order == "backwards":
        return np.ascontiguousarray(values[::-1])[::-1]
    return np.pad(values, ((0, 0), (1, 4)), constant_values=np.nan)[:, 1:-4]


def room(size: int) -> Array:
    return allocate(4 * size).view(np.float32)


@needs_kernels
@given(SIZES, SIZES, SIZES, ORDERS, ORDERS)
@settings(max_examples=300, deadline=None)
def test_products(rows: int, depth: int, filters: int, of_x: str, of_weight: str) -> None:
    found = kernels()
    assert found is not None
    x, weight = whole(rows, depth, 1, of_x), whole(filters, depth, 2, of_weight)
    y = whole(rows, filters + 3, 3, "rows")
    expected = y.copy()
    expected[:, :filters] += x @ weight.T
    left, right = (matrix(room(n * depth).reshape(n, depth)) for n in (rows, filters))
    found.weight(matrix(weight), right)()
    found.rows(matrix(x), left)()
    call = found.add(left, right, matrix(y[:, :filters]))
    call()
    np.testing.assert_array_equal(y, expected)
    call()
    np.testing.assert_array_equal(y[:, :filters], expected[:, :filters] + x @ weight.T)


@given(SIZES, SIZES, st.sampled_from(["rows", "columns", "backwards", "gaps", "records"]), st.data())
@settings(deadline=None)
def test_where_a_matrix_is(rows: int, columns: int, order: str, data: Any) -> None:
    array = whole(rows, columns, 1, order)
    found = Matrix.of(array)
    if found is None:
        assert order in ("gaps", "records")
        return
    down, across = (
        slice(*sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True)))) for n in array.shape
    )
    for part, expected in (found, array), (found.part(down, across), array[down, across]):
        assert (part.rows, part.columns) == expected.shape
        assert part.address == expected.ctypes.data
        assert part.span == byte_bounds(expected)
        assert part.array is array


@needs_kernels
def test_calls_tell_what_they_read_and_write() -> None:
    found = kernels()
    assert found is not None
    x, y, left = np.zeros((4, 8), np.float32), np.zeros((4, 16), np.float32), np.zeros((4, 8), np.float32)
    right = room(128)
    seen = matrix(x), matrix(y), matrix(left), matrix(right.reshape(16, 8))
    pack, call = found.rows(seen[0], seen[2]), found.add(seen[2], seen[3], seen[1])
    assert (pack.reads, pack.writes) == ((seen[0],), (seen[2],))
    assert (call.reads, call.writes) == ((seen[2], seen[3], seen[1]), (seen[1],))


@needs_kernels
@pytest.mark.parametrize("what", ["setting", "version", "processor", "library", "name"])
def test_where_anything_is_not_as_known_numpy_multiplies(
    what: str, asked_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernels() is not None
    kernels.cache_clear()
    (known,) = [library for library in openblas.libraries() if library.internal_api == "openblas"][:1]
    info, path = known.info(), known.filepath
    if what == "setting":
        monkeypatch.setenv("TINYGRAPH_OPENBLAS", "0")
    elif what == "version":
        info["version"] = "0.4.0"
    elif what == "processor":
        del info["architecture"]
    elif what == "library":
        path = "no such library"
    elif what == "name":
        path = ctypes.util.find_library("c") or "libc.so.6"
    monkeypatch.setattr(openblas, "libraries", lambda: [SimpleNamespace(info=lambda: info, filepath=path)])
    assert kernels() is None


@needs_kernels
@pytest.mark.parametrize("fault", ["none", "wrong", "beside", "packs beside"])
def test_the_trial_finds_faults(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add, rows = Kernels.add, Kernels.rows

    def bad_add(self: Kernels, left: Matrix, right: Matrix, y: Matrix) -> Any:
        def call() -> None:
            add(self, left, right, y)()
            if fault == "wrong":
                y.array[-1, -1] += 1
            if fault == "beside":
                assert y.array.base is not None
                y.array.base[-1, -1] += 1

        return call

    def bad_rows(self: Kernels, x: Matrix, packed: Matrix) -> Any:
        def call() -> None:
            rows(self, x, packed)()
            if fault == "packs beside":
                ctypes.memset(packed.span[1], 0, 4)

        return call

    found = kernels()
    assert found is not None
    monkeypatch.setattr(Kernels, "add", bad_add)
    monkeypatch.setattr(Kernels, "rows", bad_rows)
    assert openblas._works(found) == (fault == "none")


PROGRAM = """
import numpy as np

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.kernels import openblas
from tinygraph.runtime.evaluate import evaluate


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(40, 200, 1), nn.Conv2d(200, 210, 3), nn.Conv2d(210, 99, 1)

    def forward(self, x):
        return self.third(ops.relu(self.second(ops.relu(self.first(x)))))


called = 0


def count(self, *args, add=openblas.Kernels.add):
    global called
    called += 1
    return add(self, *args)


openblas.Kernels.add = count
x = np.random.default_rng(0).standard_normal((2, 40, 13, 15))
graph = tg.trace(Net(), tg.Spec(x.shape, np.float32))
wanted = evaluate(graph, {"x": x}, np.float64)["output"]
for precision in "exact", "fast":
    for threads in 1, 2:
        error = np.abs(tg.compile(graph, threads=threads, precision=precision)(x.astype(np.float32)) - wanted).max()
        assert error < 1e-5 * np.abs(wanted).max(), (precision, threads, error)
print("OpenBLAS" if called else "NumPy")
"""


@pytest.mark.parametrize(
    "setting", [{"TINYGRAPH_OPENBLAS": "0"}, *({"OPENBLAS_CORETYPE": name} for name in ("Haswell", "Nehalem"))]
)
def test_networks_with_and_without(setting: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **setting}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    if kernels() is not None:
        assert done.stdout.strip() == ("OpenBLAS" if "Haswell" in setting.values() else "NumPy")

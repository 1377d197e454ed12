"""Changed models, as many as there is time for: `python -m tests.onnx.fuzz --seconds 3600 --seed 1`.

Each is read, saved, optimized, compiled and run, with a small budget. What must not happen: an
exception that is none of tinygraph's, an answer of another type than was inferred, a warning, more than
ten seconds of work, more memory than the budget and what Python takes for itself, or the end of the process.
What is found is made smaller and written to a folder: the file, and what it led to.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from math import prod
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np

import tinygraph as tg
from tests.onnx.mutations import Mutator, smaller
from tests.onnx.seeds import handmade, suite
from tinygraph.ir import Graph, Symbol, TensorType
from tinygraph.onnx.load import load_partly

BUDGET = tg.Budget(bytes=64 * 2**20, operations=10**9)
SLACK = 64 * 2**20  # bytes that Python's own objects may take
SECONDS = 10  # of work for one step of one file
STALLED = 120  # seconds after which a process that has reported nothing is stopped
LONGEST = 10_000  # characters of a message
ROOM = 6 * 2**30  # bytes of address space


class FindingError(Exception):
    """Something that must not happen.

    Attributes:
        step: what was being done.
        what: happened; the same for files that show the same.
    """

    def __init__(self, step: str, what: str, details: str = "") -> None:
        super().__init__(f"{step}: {what}")
        self.step = step
        self.what = what
        self.details = details


class SlowError(BaseException):
    """A step has taken too long."""


# ---- what is done with one file ----


@contextmanager
def watched(step: str, allowed: type[Exception] | tuple[type[Exception], ...], memory: bool) -> Iterator[None]:
    """Turns what must not happen into a FindingError; errors that are allowed go through.

    Args:
        step: what is being done.
        allowed: errors of tinygraph that may come.
        memory: whether allocations are looked at, which takes its time.
    """
    if memory:
        tracemalloc.start(12)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    caught: list[Any] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    except SlowError as error:
        raise FindingError(step, "takes too long at " + _site(error), traceback.format_exc()) from None
    except allowed as error:
        if len(str(error)) > LONGEST:
            raise FindingError(step, "a message that is too long", str(error)) from None
        if isinstance(error, tg.VerifyError) or isinstance(error.__cause__, (AssertionError, MemoryError)):
            raise FindingError(step, f"{type(error).__name__} at {_site(error)}", traceback.format_exc()) from None
        raise
    except Exception as error:
        raise FindingError(step, f"{type(error).__name__} at {_site(error)}", traceback.format_exc()) from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        peak = tracemalloc.get_traced_memory()[1] if memory else 0
        tracemalloc.stop()
    if peak > BUDGET.bytes + SLACK:
        raise FindingError(step, "takes more memory than its budget", f"{peak:,} bytes")
    ours = [w for w in caught if not issubclass(w.category, DeprecationWarning) or "tinygraph" in w.filename]
    if ours:
        raise FindingError(step, f"a warning at {Path(ours[0].filename).name}", str(ours[0]))


def _site(error: BaseException) -> str:
    """The innermost place of tinygraph in a traceback."""
    while error.__cause__ is not None:
        error = error.__cause__
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "fuzz" not in f.filename]
    ours = [f for f in frames if "/onnx/" not in f.filename.rpartition("site-packages")[2] or "tinygraph" in f.filename]
    last = (ours or frames)[-1] if frames else None
    return f"{Path(last.filename).name} {last.name}" if last else "nowhere"


def attempt(content: bytes, seed: int) -> str:
    """Does everything with one file; says how far it came. Raises FindingError."""
    random = Random(seed)
    memory = random.random() < 0.3
    try:
        with watched("load", tg.TinygraphError, memory):
            graph = tg.load(content, budget=BUDGET)
    except tg.UnsupportedOp as error:
        _partly(content, memory)
        return type(error).__name__
    except tg.TinygraphError as error:
        if random.random() < 0.1:
            _partly(content, memory)
        return type(error).__name__
    with watched("verify", (), memory):
        tg.verify(graph)
    if random.random() < 0.3:
        _saved(graph, memory)
    if random.random() < 0.2:
        _shown(graph, memory)
    passes = random.choice(("none", "inference"))
    try:
        with watched("optimize", (), memory):
            optimized = tg.optimize(graph, passes)
        with watched("compile", (tg.BudgetError, tg.ShapeError, tg.UsageError), memory):
            session = tg.compile(optimized, passes="none", threads=1, budget=BUDGET)
        inputs = arrays(graph, random)
        if inputs is None:
            return "compiled"
        with watched("run", tg.TinygraphError, memory):
            outputs = session(**inputs) if all(name.isidentifier() for name in inputs) else session(*inputs.values())
    except tg.TinygraphError as error:
        return type(error).__name__
    _checked(optimized, inputs, outputs)
    return "ran"


def _partly(content: bytes, memory: bool) -> None:
    try:
        with watched("load partly", tg.TinygraphError, memory):
            graph, _ = load_partly(content, budget=BUDGET)
    except tg.TinygraphError:
        return
    with watched("analyze what is known", (), memory):
        tg.analyze(tg.verify(graph))


def _saved(graph: Graph, memory: bool) -> None:
    target = BytesIO()
    try:
        with watched("save", (tg.UnsupportedOp, tg.UsageError, tg.BudgetError), memory):
            tg.save(graph, target)
    except tg.TinygraphError:
        return
    with watched("load again", (), memory):
        again = tg.verify(tg.load(target.getvalue()))
    if [(n, v.type.dtype) for n, v in again.outputs] != [(n, v.type.dtype) for n, v in graph.outputs]:
        raise FindingError("load again", "other outputs", f"{graph}\n{again}")


def _shown(graph: Graph, memory: bool) -> None:
    from tinygraph.tools import dot

    with watched("show", (), memory):
        text = str(graph)
        source = dot.dot(graph, None)
        tg.analyze(graph)
    if "\x1b" in text + source or "\0" in text + source:
        raise FindingError("show", "control characters", text)
    with watched("parse", (), memory):
        tg.parse(text) if not graph.data else None


def arrays(graph: Graph, random: Random) -> dict[str, Any] | None:
    """Some numbers for each input; None if that would be too many, or more than NumPy counts up to."""
    rng = np.random.default_rng(random.randrange(2**32))
    dims = {symbol: random.choice((0, 1, 1, 2, 2, 3, 4)) for symbol in graph.symbols}
    types = {v.name: v.type.bind(dims) for v in graph.inputs}
    counted = max((prod(max(d, 1) for d in t.dims) for t in types.values()), default=0)  # NumPy leaves zeros out
    if sum(t.nbytes for t in types.values()) > BUDGET.bytes // 4 or counted >= 2**60:
        return None
    return {name: _numbers(type, rng, random) for name, type in types.items()}


def _numbers(type: TensorType, rng: np.random.Generator, random: Random) -> Any:
    if type.dtype.kind == "b":
        return rng.random(type.dims) < 0.5
    if type.dtype.kind in "iu":
        limits = np.iinfo(type.dtype)
        array = rng.integers(max(-3, limits.min), 6, type.dims).astype(type.dtype)
        rare: Sequence[Any] = (limits.min, limits.max, 0, 100)
    else:
        array = (rng.standard_normal(type.dims) * 3).astype(type.dtype)
        rare = (np.inf, -np.inf, np.nan, 0, 1e30)
    if random.random() < 0.3 and array.size:
        with np.errstate(all="ignore"):
            array.reshape(-1)[random.randrange(array.size)] = np.asarray(random.choice(rare)).astype(type.dtype)
    return array


def _checked(graph: Graph, inputs: dict[str, Any], outputs: Any) -> None:
    """The outputs are of the types that were inferred."""
    made = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
    dims = {
        d: n
        for v in graph.inputs
        for d, n in zip(v.type.shape, inputs[v.name].shape, strict=True)
        if isinstance(d, Symbol)
    }
    for (name, value), array in zip(graph.outputs, made, strict=True):
        wanted = value.type.bind(dims).shape
        same = len(wanted) == array.ndim and all(
            isinstance(w, Symbol) or w == n for w, n in zip(wanted, array.shape, strict=True)
        )
        if not same or array.dtype != value.type.dtype:
            makers = {v: node.op.name for node in graph.nodes for v in node.outputs}
            raise FindingError(
                "run",
                f"an answer of another type from {makers.get(value)}",
                f"{name}: {value}, got {TensorType.of(array)}",
            )


# ---- many files ----


def contents(seed: int, seeds: Sequence[bytes], first: int = 0) -> Iterator[tuple[int, bytes]]:
    """Changed models, each with its number."""
    number = first
    while True:
        random = Random(f"{seed}/{number}")
        yield number, Mutator(random, seeds).mutate(random.choice(seeds))
        number += 1


def shows(content: bytes, number: int) -> FindingError | None:
    """What is wrong with what becomes of a file."""
    try:
        attempt(content, number)
    except FindingError as finding:
        return finding
    except SlowError:  # the time was up at the very end of a step
        return None
    return None


def too_slow(*_: Any) -> None:
    """Of SIGPROF."""
    raise SlowError


def work(seed: int, first: int, out: Path) -> None:
    """What one process does until it is stopped."""
    faulthandler.enable()
    signal.signal(signal.SIGPROF, too_slow)
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    seeds = [*list(handmade()) * 20, *suite()]
    seen = {path.stem for path in out.glob("*.onnx")}
    ways: dict[str, int] = {}
    for number, content in contents(seed, seeds, first):
        (out / "last").write_bytes(content)
        click.echo(number)
        try:
            ending = attempt(content, number)
        except FindingError as finding:
            ending = "finding"
            _keep(finding, content, number, out, seen)
        except SlowError:
            ending = "slow"
        ways[ending] = ways.get(ending, 0) + 1
        if number % 2000 == 1999:
            click.echo(f"files up to {number}: {dict(sorted(ways.items()))}", err=True)


def _keep(finding: FindingError, content: bytes, number: int, out: Path, seen: set[str]) -> None:
    stem = "".join(c if c.isalnum() else "_" for c in str(finding))[:120]
    if stem in seen:
        return
    seen.add(stem)
    quick = "too long" not in finding.what

    def still(other: bytes) -> bool:
        found = shows(other, number)
        return found is not None and str(found) == str(finding)

    content = smaller(content, still) if quick else content
    (out / f"{stem}.onnx").write_bytes(content)
    (out / f"{stem}.txt").write_text(f"{finding}\nfile {number}, {len(content)} bytes\n{finding.details}\n")
    click.echo(f"FINDING in {number}: {finding}", err=True)


def supervise(seconds: float, seed: int, out: Path) -> int:
    """Starts processes one after another until the time is up; the number of findings."""
    out.mkdir(parents=True, exist_ok=True)
    end, first = time.monotonic() + seconds, 0
    before = set(out.glob("*.onnx"))
    while time.monotonic() < end:
        command = [
            sys.executable,
            "-m",
            "tests.onnx.fuzz",
            "--seed",
            str(seed),
            "--first",
            str(first),
            "--out",
            str(out),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            first, ended = _follow(process, end, first)
        if ended:
            click.echo(f"FINDING in {first}: {ended}", err=True)
            (out / f"process_{first}.onnx").write_bytes((out / "last").read_bytes())
        first += 1
    found = len(set(out.glob("*.onnx")) - before)
    click.echo(f"seed {seed}: {first} files in {seconds:.0f} seconds, {found} findings in {out}", err=True)
    return found


def _follow(process: subprocess.Popen[str], end: float, number: int) -> tuple[int, str]:
    """Reads what a process reports, till its end or ours; the last number, and what is wrong with its end."""
    assert process.stdout is not None
    stream = process.stdout.fileno()
    heard, rest = time.monotonic(), b""
    os.set_blocking(stream, False)
    while True:
        try:
            chunk = os.read(stream, 65536)
            if not chunk:
                return number, f"the process ended with {process.wait()}"
            *lines, rest = (rest + chunk).split(b"\n")
            number, heard = (int(lines[-1]), time.monotonic()) if lines else (number, heard)
        except BlockingIOError:
            time.sleep(0.05)
        if time.monotonic() > end or time.monotonic() - heard > STALLED:
            process.kill()
            process.wait()
            return number, "" if time.monotonic() > end else f"nothing happened for {STALLED} seconds"


def main(run: Callable[[float, int, Path], int] = supervise) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="folder of what is found")
    parser.add_argument("--first", type=int, help="be the process that does the work, from this file on")
    given = parser.parse_args()
    if given.first is not None:
        work(given.seed, given.first, given.out)
    else:
        sys.exit(1 if run(given.seconds, given.seed, given.out) else 0)


if __name__ == "__main__":
    main()

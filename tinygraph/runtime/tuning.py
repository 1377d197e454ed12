"""Routines chosen by measuring them, and what was found, kept for the next time.

What is the fastest depends on the processor, on BLAS and on the number of threads: what was measured is kept by
these, in $XDG_CACHE_HOME/tinygraph/tuning.json or ~/.cache/tinygraph/tuning.json. A file that cannot be read or
written is none: then this process remembers for itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np

import tinygraph
from tinygraph import config
from tinygraph.errors import UsageError
from tinygraph.files import regular, replacing
from tinygraph.kernels.choice import Task, choosing, fastest
from tinygraph.runtime.processor import model
from tinygraph.runtime.threads import Mutex, available, blas, limit

Found = dict[str, str]  # for what is to be done, the name of the fastest routine

_MOST = 10_000  # choices that are kept for a machine, those made last
_lock = Mutex()
_found: Found = {}  # by this process


@contextmanager
def tuned() -> Iterator[None]:
    """While the block runs, this thread chooses routines by measuring them, or by what was measured before."""
    with _lock:
        path = _path()
        known = {**_read(path).get(_machine(), {}), **_found}
        new: Found = {}

        def choose(what: str, names: Sequence[str], run: Callable[[str], Task]) -> str:
            if known.get(what) not in names:
                known[what] = new[what] = fastest(names, run)
            return known[what]

        try:
            with limit(1), np.errstate(all="ignore"), choosing(choose):
                yield
        finally:
            if new:
                _found.update(new)
                _write(path)


def _path() -> Path | None:
    folder = config.read().cache
    return None if folder is None else folder / "tinygraph" / "tuning.json"


@cache
def _machine() -> str:
    """What a measurement is true of."""
    return f"tinygraph {tinygraph.__version__}, {model()}, cores {available()}, NumPy {np.__version__}, {blas()}"


def _read(path: Path | None) -> dict[str, Found]:
    """What the file says of each machine; nothing of one that is damaged."""
    if path is None:
        return {}
    try:
        machines = json.loads(regular(path).read_text("utf-8"))
        return {
            machine: {what: name for what, name in found.items() if isinstance(name, str)}
            for machine, found in machines.items()
            if isinstance(found, dict)
        }
    except (UsageError, OSError, ValueError, AttributeError, RecursionError):
        return {}


def _write(path: Path | None) -> None:
    """Adds what this process found to the file: others may have written meanwhile."""
    if path is None:
        return
    with suppress(UsageError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        machines = _read(path)
        found = {**machines.get(_machine(), {}), **_found}
        machines[_machine()] = dict(list(found.items())[-_MOST:])
        with replacing(path) as part:
            part.write_text(json.dumps(machines, indent=1) + "\n", "utf-8")

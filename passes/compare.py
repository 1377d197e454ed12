"""Did a pass change the answers? Judged against a float64 run of the original graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygraph.errors import VerifyError
from tinygraph.ir import Array, Graph
from tinygraph.runtime.evaluate import evaluate

_OPEN = 2  # number that open dimensions get in random inputs
_SLACK = 4  # rounding may be that much worse after a pass than before it,
_ROUNDINGS = 256  # and that many units in the last place of the largest number are nothing


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """An array for each input: normal floats, zeros and ones for integers and booleans."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for value in graph.inputs:
        type = value.type.bind(dict.fromkeys(graph.symbols, _OPEN))
        numbers = rng.standard_normal(type.dims) if type.dtype.kind == "f" else rng.integers(0, 2, type.dims)
        arrays[value.name] = np.asarray(numbers).astype(type.dtype)
    return arrays


class Referee:
    """Compares graphs with the original's float64 answers.

    Args:
        graph: the original.
        inputs: arrays by input name; random ones by default.
    """

    def __init__(self, graph: Graph, inputs: Mapping[str, Any] | None = None) -> None:
        self.inputs = random_inputs(graph) if inputs is None else inputs
        self.exact = evaluate(graph, self.inputs, np.float64)

    def compare(self, name: str, before: Graph, after: Graph) -> None:
        """Raises VerifyError if the pass of that name made the answers worse.

        Floats may be off by four times what they were off before the pass, and by 256
        roundings of the largest number of the output; NaN and infinity must stay where they are
        in the float64 run or were before. Other numbers must be what they were before, or are
        in the float64 run.
        """
        old, new = evaluate(before, self.inputs), evaluate(after, self.inputs)
        for output, exact in self.exact.items():
            self._compare(f"the pass {name} changed the output {output!r}", exact, old[output], new[output])

    def _compare(self, message: str, exact: Array, old: Array, new: Array) -> None:
        special = ~(np.isfinite(exact) & np.isfinite(old)) if new.dtype.kind == "f" else np.ones(new.shape, bool)
        same = _equal(new, old) | _equal(new, exact.astype(new.dtype))
        if not np.all(same[special]):
            at = tuple(map(int, np.argwhere(special & ~same)[0]))
            raise VerifyError(f"{message}: at {at} it is {new[at]}, was {old[at]}, in float64 {exact[at]}")
        if np.all(special):
            return
        exact, old, new = exact[~special], old[~special], new[~special]
        worst, was = (float(np.max(np.abs(a.astype(np.float64) - exact), initial=0.0)) for a in (new, old))
        unit = float(np.finfo(new.dtype).eps) * float(np.max(np.abs(exact)))
        if not worst <= _SLACK * was + _ROUNDINGS * unit:
            raise VerifyError(
                f"{message}: it is off by {worst:.3g} from a float64 run of the original, and was by {was:.3g}"
            )


def _equal(a: Array, b: Array) -> Array:
    return np.asarray((a == b) | ((a != a) & (b != b)))

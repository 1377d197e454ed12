"""The test suite of the onnx package, as cases for pytest: what they are, and how they came out."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests

DATA = Path(__file__).parents[1] / "data"
KINDS = ("node", "real", "simple", "pytorch-converted", "pytorch-operator")
SUITE = Path(onnx.__file__).parent / "backend" / "test" / "data"


@dataclass(frozen=True)
class Sample:
    """One model with inputs and the outputs that they should give.

    Attributes:
        name: as the suite has it.
        kind: of the collection it is from.
        operator: what it is about, for the table.
        case: as the suite has it.
    """

    name: str
    kind: str
    operator: str
    case: Any

    def load(self) -> tuple[onnx.ModelProto, list[tuple[list[Any], list[Any]]]]:
        """The model, and pairs of inputs and outputs."""
        if self.case.model is not None:
            return self.case.model, [(_arrays(i), _arrays(o)) for i, o in self.case.data_sets]
        if self.kind == "real":
            path = SUITE / "light" / Path(self.case.url).name
            return onnx.load(path), [_light(path)]
        folder = Path(self.case.model_dir)
        sets = [(_stored(f, "input"), _stored(f, "output")) for f in sorted(folder.glob("test_data_set_*"))]
        return onnx.load(folder / "model.onnx"), sets


def _arrays(stored: Sequence[Any]) -> list[Any]:
    return [onnx.numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else a for a in stored]


def _stored(folder: Path, what: str) -> list[Any]:
    files = sorted(folder.glob(f"{what}_*.pb"), key=lambda path: int(path.stem.rpartition("_")[2]))
    return _arrays([onnx.load_tensor(path) for path in files])


def _light(path: Path) -> tuple[list[Any], list[Any]]:
    """The light models come with outputs only: their inputs are the numbers from 0 up, divided by their count."""
    model = onnx.load(path)
    initialized = {t.name for t in model.graph.initializer}
    inputs = []
    for info in model.graph.input:
        if info.name not in initialized:
            shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
            inputs.append((np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32))
    files = sorted(path.parent.glob(f"{path.stem}_output_*.pb"))
    return inputs, [onnx.numpy_helper.to_array(onnx.load_tensor(f)) for f in files]


@cache
def samples() -> list[Sample]:
    """Every case of the suite."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of the suite, while it makes its numbers
        return [Sample(c.name, kind, _operator(c, kind), c) for kind in KINDS for c in load_model_tests(kind=kind)]


@cache
def _operators() -> dict[str, str]:
    return {schema.name.lower(): schema.name for schema in onnx.defs.get_all_schemas()}


def _operator(case: Any, kind: str) -> str:
    """The operator that a case is about: its only one, or the one that its name begins with."""
    if kind != "node":
        return kind
    ops = {node.op_type for node in case.model.graph.node}
    if len(ops) == 1:
        return ops.pop()
    name = re.sub(r"^test_(ai_onnx_ml_|basic_|training_)?", "", case.name).replace("_", "").lower()
    name = re.sub(
        "^(sce|nllloss)", lambda m: {"sce": "softmaxcrossentropyloss"}.get(m[0], "negativeloglikelihoodloss"), name
    )
    fitting = [known for known in _operators() if name.startswith(known)]
    return _operators()[max(fitting, key=len)] if fitting else sorted(ops)[0]


def in_slice(sample: Sample, name: str) -> bool:
    """Whether a node test is about the operators of that slice alone."""
    slices = json.loads((DATA / "onnx_slices.json").read_text())
    nodes = sample.case.model.graph.node
    wanted = all(node.op_type in slices[name] and node.domain == "" for node in nodes)
    return wanted and not any(word in sample.name for word in slices["skip_names_with"])


@cache
def refused() -> dict[str, str]:
    """The cases that tinygraph refuses, by name, each with the reason."""
    reasons = json.loads((DATA / "onnx_refused.json").read_text())
    return {name: reason for reason, names in reasons.items() for name in names}


def table(outcomes: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Lines of a Markdown table: how many cases of each operator passed, failed, and are refused.

    Args:
        outcomes: (kind, operator, "passed", "failed" or "refused") of each case.
    """
    counts = Counter(outcomes)
    groups = sorted({(kind != "node", operator) for kind, operator, _ in counts})
    rows = [
        (operator, [_count(counts, operator, o) for o in ("passed", "failed", "refused")]) for _, operator in groups
    ]
    totals = [sum(numbers) for numbers in zip(*(numbers for _, numbers in rows), strict=True)]
    width = max(len("operator"), *(len(operator) for operator, _ in rows))
    yield f"| {'operator':{width}} | passed | failed | refused |"
    yield f"|{'-' * (width + 2)}|-------:|-------:|--------:|"
    for operator, (passed, failed, refusals) in [*rows, ("total", totals)]:
        yield f"| {operator:{width}} | {passed:6} | {failed:6} | {refusals:7} |"


def _count(counts: Counter[tuple[str, str, str]], operator: str, outcome: str) -> int:
    return sum(n for (_, about, how), n in counts.items() if (about, how) == (operator, outcome))


def document(outcomes: Sequence[tuple[str, str, str]]) -> str:
    """docs/conformance.md: the table, and why what is refused is refused."""
    reasons = json.loads((DATA / "onnx_refused.json").read_text())
    lines = [
        "# Conformance with ONNX",
        "",
        f"The test suite of onnx {onnx.__version__} (`onnx.backend.test`), run by",
        "`python -m pytest tests/onnx -k backend`; `--conformance docs/conformance.md` writes this page.",
        "A case that is refused raises an error that says why; none gives a wrong answer.",
        "",
        f"Of the node tests {_passing('node')} pass; of those about operators that inference of",
        f"convolutional networks needs, {_passing('node', 'cnn_inference')}.",
        "",
        *table(outcomes),
        "",
        "## What is refused",
        "",
        *(f"- {reason}: {len(names)} cases" for reason, names in reasons.items()),
    ]
    return "\n".join(lines) + "\n"


def _passing(kind: str, slice: str = "") -> str:
    cases = [sample for sample in samples() if sample.kind == kind and (not slice or in_slice(sample, slice))]
    return f"{sum(sample.name not in refused() for sample in cases):,} of {len(cases):,}"

"""`tinygraph convert`: networks and weights from one format to another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

import tinygraph
from tinygraph import weights as weight_files
from tinygraph.errors import UsageError
from tinygraph.ir import Array, Graph
from tinygraph.nn.init import Seeded
from tinygraph.tools.model_arg import Model, find
from tinygraph.tools.options import report_options, sizes_options, weights_option
from tinygraph.tools.output import note


@click.command("convert")
@click.argument("source", metavar="A")
@click.argument("target", metavar="B")
@sizes_options
@weights_option("for a network that has none of its own.")
@report_options
def command(
    source: str, target: str, input_sizes: tuple[str, ...], batch_size: int | None, weights: str | None
) -> None:
    """Write A, a MODEL or a file of weights, as the file B.

    \b
    tinygraph convert resnet18 --weights resnet18.pth resnet18.onnx
    tinygraph convert resnet18.onnx weights.safetensors
    tinygraph convert resnet18.pth resnet18.safetensors
    tinygraph convert old.onnx new.onnx

    B ends in .onnx for a network, or in .safetensors or .npz for its weights alone. An older
    file B is replaced. PyTorch's files are read without running what is in them.
    """  # noqa: D301  # click leaves lines after this character as they are
    suffix = Path(target).suffix.lower()
    if suffix not in (".onnx", *weight_files.WRITTEN):
        raise UsageError(f"{target}: cannot write {suffix or 'a file without a suffix'}; {_kinds()}")
    sized = bool(input_sizes) or batch_size is not None
    if Path(source).suffix.lower() in weight_files.READ:
        if suffix == ".onnx":
            raise UsageError(
                f"{source} holds weights and no network: name it, as in "
                f"tinygraph convert resnet18 --weights {source} {target}"
            )
        if weights is not None or sized:
            raise UsageError(f"--weights, --input-size and -b are for networks, and {source} holds weights alone")
        _write(weight_files.load(source), target)
        return
    if sized and suffix != ".onnx":
        raise UsageError(f"--input-size and -b are for networks, and {target} takes weights alone")
    found = find(source)
    _load(found, weights)
    if suffix == ".onnx":
        tinygraph.save(found.trace(input_sizes, batch_size), target)
        note(f"wrote {target}")
    elif found.module is not None:
        _write(found.module.state_dict(), target)
    else:
        assert found.graph is not None
        _write(_weights(found.graph, source), target)


def _kinds() -> str:
    return f"B is a network (.onnx) or weights ({', '.join(weight_files.WRITTEN)})"


def _load(found: Model, weights: str | None) -> None:
    if weights is not None:
        found.load(weights)
    elif found.module is not None and any(isinstance(p.data, Seeded) for _, p in found.module.named_parameters()):
        note("the weights are random: give --weights FILE for those of a file")


def _weights(graph: Graph, source: str) -> dict[str, Array]:
    """Parameters and buffers of a finished graph by name."""
    found = [value for value in graph.data if value.kind != "const"]
    state = {value.name: graph.array(value) for value in found}
    if len(state) < len(found):
        raise UsageError(f"{source}: several of its weights have one name, and cannot stand in one file")
    if not state:
        raise UsageError(f"{source} has no weights")
    return state


def _write(state: Mapping[str, Array], target: str) -> None:
    weight_files.save(state, target)
    note(f"wrote {target}: {len(state)} arrays, {sum(array.nbytes for array in state.values()):,} bytes")

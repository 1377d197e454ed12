"""`tinygraph run`: what a network answers to an image or an array."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import click
import numpy as np

import tinygraph
from tinygraph.errors import UsageError
from tinygraph.files import replacing
from tinygraph.ir import Array, Graph, TensorType
from tinygraph.nn.init import Seeded
from tinygraph.tools.image import preprocessing
from tinygraph.tools.input_size import refuse_open_sizes
from tinygraph.tools.model_arg import Model, find
from tinygraph.tools.options import answer_options, limits, model_options, report_options, weights_option
from tinygraph.tools.output import Output, note
from tinygraph.tools.table import Column, Format, as_text, show_shape
from tinygraph.weights import npz

SCHEMA = 1

_TOP = (
    Column("output", "output"),
    Column("image", "image", right=True),
    Column("rank", "rank", right=True),
    Column("class", "class", "{}".format, right=True),
    Column("probability", "probability", "{:.6f}".format, right=True),
)
_RANGES = (
    Column("output", "output"),
    Column("shape", "shape"),
    Column("min", "min", "{:.6g}".format, right=True),
    Column("max", "max", "{:.6g}".format, right=True),
    Column("mean", "mean", "{:.6g}".format, right=True),
)


class _Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(map(float, value.split(",")))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0.5,0.5,0.5", param, ctx)
        if not all(map(math.isfinite, numbers)):
            self.fail(f"{value!r} holds a number that is not finite", param, ctx)
        return numbers


@click.command("run")
@model_options
@click.option("--input", "files", multiple=True, required=True, metavar="FILE", help="Image or .npy; once an input.")
@weights_option("without it the weights are random.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes to show.")
@click.option("--resize", type=click.IntRange(min=1), help="Shorter side of the image [crop * 256/224; small: crop].")
@click.option("--crop", type=click.IntRange(min=1), help="Square cut out of the middle [what the model takes].")
@click.option("--mean", type=_Numbers(), default=(), help="One number, or one a channel [ImageNet's; grey: 0].")
@click.option("--std", type=_Numbers(), default=(), help="Likewise [ImageNet's; grey: 1].")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Value of white, before mean and std.")
@answer_options
@report_options
def command(
    model: str,
    input_sizes: tuple[str, ...],
    batch_size: int | None,
    files: tuple[str, ...],
    weights: str | None,
    top: int,
    style: Format,
    output: str | None,
    color: str,
    **pixels: Any,
) -> None:
    """Run MODEL on images or arrays.

    An image is turned upright (EXIF), resized, cropped and normalized. A .npy file must have the
    input's shape, or lack its first dimension of 1. With -o F.npy or F.npz the outputs are saved.
    """
    out = Output(output, color)
    found = find(model)
    random = _load_weights(found, weights)
    graph = _with_batch(refuse_open_sizes(found.trace(input_sizes, batch_size)))
    if len(files) != len(graph.inputs):
        raise UsageError(f"{model} has {len(graph.inputs)} input(s), --input is given {len(files)} time(s)")
    _refuse_unused(files, pixels)
    arrays = [_read(f, v.type, pixels) for f, v in zip(files, graph.inputs, strict=True)]
    answer = tinygraph.compile(graph, budget=limits().budget)(*arrays)
    answers = answer if isinstance(answer, dict) else {graph.outputs[0][0]: answer}
    if random:
        note("the weights are random: give --weights FILE.safetensors for answers that mean something")
    for name, array in answers.items():
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            note(f"the output {name} holds numbers that are not finite")
    if out.path and out.path.endswith((".npy", ".npz")):
        _save(answers, out.path)
        return
    out.write(_json(model, files, answers, top) if style == "json" else _tables(answers, top, style, out))


def _load_weights(found: Model, weights: str | None) -> bool:
    """Loads the file, if there is one; whether weights are random even so."""
    if weights is None:
        return found.module is not None and any(isinstance(p.data, Seeded) for _, p in found.module.named_parameters())
    found.load(weights)
    return False


def _with_batch(graph: Graph) -> Graph:
    return graph.bind(**dict.fromkeys(graph.symbols, 1))


# ---- inputs ----------------------------------------------------------------------------------


def _refuse_unused(files: Sequence[str], pixels: dict[str, Any]) -> None:
    """Arrays are taken as they are: what is said of images would be lost."""
    given = [f"--{name}" for name, value in pixels.items() if value not in (None, (), 1.0)]
    if given and all(f.endswith(".npy") for f in files):
        raise UsageError(f"{', '.join(given)}: only images are resized and normalized; {files[0]} is taken as it is")


def _read(path: str, type: TensorType, pixels: dict[str, Any]) -> Array:
    if not path.endswith(".npy"):
        return preprocessing(type.dims, **pixels)(path).astype(type.dtype)
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, EOFError, SyntaxError) as error:
        # NumPy takes what it does not know for a pickle, and advises to load that.
        reason = "it does not begin as a .npy file does" if "pickle" in str(error) else error
        raise UsageError(f"{path} is no array: {reason}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise UsageError(f"{path} holds several arrays: give one in a .npy file")
    if not np.can_cast(array.dtype, type.dtype, "same_kind"):
        raise UsageError(f"{path} holds {array.dtype}, the model takes {type.dtype}: cast it")
    if (1, *array.shape) == type.dims:
        array = array[None]
    if array.shape != type.dims:
        hint = "; -b gives another batch" if array.shape[1:] == type.dims[1:] else "; --input-size gives another"
        raise UsageError(f"{path} is {show_shape(array.shape)}, the model takes {show_shape(type.dims)}{hint}")
    try:
        with np.errstate(over="raise"):
            return np.array(array, type.dtype)
    except FloatingPointError as error:
        raise UsageError(f"{path} holds numbers that are too large for {type.dtype}") from error


# ---- outputs ---------------------------------------------------------------------------------


def _save(answers: dict[str, Array], path: str) -> None:
    if path.endswith(".npy") and len(answers) > 1:
        raise UsageError(f"there are {len(answers)} outputs ({', '.join(answers)}): save them to a .npz file")
    if path.endswith(".npy"):
        with replacing(path) as part, open(part, "wb") as file:
            np.save(file, next(iter(answers.values())), allow_pickle=False)
    else:
        npz.save(answers, path)
    note(f"wrote {path}")


def _tables(answers: dict[str, Array], top: int, style: Format, out: Output) -> str:
    scores = {name: array for name, array in answers.items() if _is_scores(array)}
    classes = [row for name, array in scores.items() for row in _top_rows(name, array, top)]
    columns: Sequence[Column] = _TOP
    if style != "csv" and sum(map(len, scores.values())) == 1:
        columns, classes = _TOP[2:], [row[2:] for row in classes]
    ranges = [_range_row(name, array) for name, array in answers.items() if not _is_scores(array)]
    return "\n".join(
        as_text(titles, rows, style, out) for titles, rows in ((columns, classes), (_RANGES, ranges)) if rows
    )


def _is_scores(array: Array) -> bool:
    """Whether it looks like scores of classes, [N, C]."""
    return array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind == "f"


def probabilities(scores: Array) -> Array:
    """Softmax over the last axis; scores that are probabilities already stay as they are."""
    scores = scores.astype(np.float64)
    if np.all(scores >= 0) and np.allclose(scores.sum(-1), 1, atol=1e-4):
        return scores
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares


def _top(array: Array, top: int) -> list[list[tuple[int, float]]]:
    """(class, probability) of the likeliest classes of each image."""
    shares = probabilities(array)
    order = np.argsort(-shares, axis=-1, kind="stable")[:, :top]
    return [[(int(c), float(row[c])) for c in best] for row, best in zip(shares, order, strict=True)]


def _top_rows(name: str, array: Array, top: int) -> list[tuple[str | int | float, ...]]:
    return [
        (name, image, rank, label, share)
        for image, best in enumerate(_top(array, top))
        for rank, (label, share) in enumerate(best, 1)
    ]


def _range_row(name: str, array: Array) -> tuple[str | float | None, ...]:
    numbers = [float(f(array)) for f in (np.min, np.max, np.mean)] if array.size else [None] * 3
    return (name, f"{array.dtype} {show_shape(array.shape)}", *numbers)


def _json(model: str, files: tuple[str, ...], answers: dict[str, Array], top: int) -> str:
    outputs: dict[str, dict[str, Any]] = {}
    for name, array in answers.items():
        outputs[name] = {"shape": array.shape, "dtype": array.dtype.name, "values": _plain(array)}
        if _is_scores(array):
            outputs[name]["top"] = [
                [{"class": c, "probability": p if math.isfinite(p) else None} for c, p in best]
                for best in _top(array, top)
            ]
    answer = {"schema": SCHEMA, "model": model, "inputs": files, "outputs": outputs}
    return json.dumps(answer, allow_nan=False) + "\n"


def _plain(array: Array) -> Any:
    """Nested lists; null stands for NaN and infinity, which JSON has not."""
    if array.dtype.kind != "f" or np.all(np.isfinite(array)):
        return array.tolist()
    plain = array.astype(object)
    plain[~np.isfinite(array)] = None
    return plain.tolist()

"""What `tinygraph train` is to learn: a network and images that fit each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import tinygraph
from tinygraph.data import Dataset
from tinygraph.errors import UsageError
from tinygraph.ir import Graph, array_of
from tinygraph.nn.module import Module
from tinygraph.text import attributes
from tinygraph.tools.model_arg import Model, find
from tinygraph.tools.table import show_shape

DIGITS = "digits"
_DIGITS_SIZE = "1x1x8x8"


@dataclass(frozen=True)
class Task:
    """A network, and images for it.

    Attributes:
        model: MODEL of the command line, with the number of classes where that has to be said.
        net: the network.
        own: the network is of somebody's own code.
        graph: what it computes of one image.
        data: all images.
        network, images: fingerprints.
    """

    model: str
    net: Module
    own: bool
    graph: Graph
    data: Dataset
    network: str
    images: str


def make(model: str, data: str, input_sizes: Sequence[str], seed: int) -> Task:
    """Finds the network, reads the images, and makes sure that they fit.

    Args:
        model: MODEL of the command line. A built-in network that takes num_classes and is not
            given it gets as many as there are classes.
        data: `digits`, or a folder with a folder of images for each class.
        input_sizes: as --input-size has them.
        seed: of the weights.

    Raises:
        UsageError: it is no network that can be trained, or does not fit the images.
    """
    found, sizes = _trainable(model, seed), tuple(input_sizes)
    if data == DIGITS and not found.specs and not sizes:
        sizes = (_DIGITS_SIZE,)
    graph = _classifier(found, sizes)
    shape = graph.inputs[0].type.dims[1:]
    images = _images(data, shape, model)
    classes = len(images.classes)
    if classes < 2:
        raise UsageError(f"--data {data} has {classes} class(es): there must be two to tell apart")
    if graph.outputs[0][1].type.dims[1] != classes:
        found = _trainable(_with_classes(model, classes), seed)
        graph = _classifier(found, sizes)
        scores = graph.outputs[0][1].type.dims[1]
        if scores != classes:
            raise UsageError(f"{model} gives {scores} scores, --data {data} has {classes} classes: make them equal")
    assert found.module is not None
    own = not found.specs
    return Task(found.name, found.module, own, graph, images, _of_network(graph), _of_images(images))


def _trainable(model: str, seed: int) -> Model:
    found = None if model.endswith(".onnx") else find(model, seed)
    if found is None or found.module is None:
        raise UsageError(f"{model} is a finished graph: what can be trained is a network of Python or a built-in one")
    return found


def _classifier(found: Model, sizes: Sequence[str]) -> Graph:
    """The network's graph for one image; UsageError unless it makes scores of an image."""
    graph = found.trace(sizes, batch_size=1)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        counts = f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs"
        raise UsageError(f"{found.name} has {counts}: what can be trained here takes an image and gives scores")
    taken, given = graph.inputs[0].type, graph.outputs[0][1].type
    if len(taken.shape) != 4 or taken.dtype != np.float32:
        raise UsageError(f"{found.name} takes {taken}, which is no image [N, C, H, W] in float32")
    if len(given.shape) != 2:
        raise UsageError(f"{found.name} gives {given}, which are no scores [N, classes]")
    return graph


def _with_classes(model: str, classes: int) -> str:
    """MODEL with that many classes, if it is a built-in network that takes them and says nothing of them."""
    name, colon, arguments = model.partition(":")
    built_in = name in tinygraph.models.names() and "num_classes" in tinygraph.models.arguments(name)
    if not built_in or "num_classes" in arguments:
        return model
    return f"{model}{',' if arguments else '' if colon else ':'}num_classes={classes}"


def _images(data: str, shape: Sequence[int], model: str) -> Dataset:
    channels, *size = shape
    if data != DIGITS:
        return tinygraph.data.image_folder(data, (size[0], size[1]), channels)
    digits = tinygraph.data.digits()
    if digits.images.shape[1:] != tuple(shape):
        raise UsageError(
            f"{model} takes images of {show_shape(tuple(shape))}, the digits are of "
            f"{show_shape(digits.images.shape[1:])}: train digits_cnn, or give --input-size {_DIGITS_SIZE}"
        )
    return digits


# ---- fingerprints ----------------------------------------------------------------------------


def _of_network(graph: Graph) -> str:
    """A hash of what the network computes and what its parameters are called; not of their numbers."""
    digest = hashlib.sha256()
    for value, data in graph.data.items():
        digest.update(f"{value.kind} {value.name} {value.type}\n".encode())
        if value.kind == "const":
            digest.update(np.ascontiguousarray(array_of(data)).tobytes())
    for node in graph.nodes:
        read, made = ([v.name for v in values] for values in (node.inputs, node.outputs))
        digest.update(f"{made} = {node.op.name} {read} {attributes(node.op)}\n".encode())
    return digest.hexdigest()


def _of_images(data: Dataset) -> str:
    """A hash of classes, labels and pixels; of images in files, their names and sizes stand for the pixels."""
    digest = hashlib.sha256(f"{data.classes} {data.images.shape}\n".encode())
    digest.update(data.labels.tobytes())
    if isinstance(data.images, np.ndarray):
        digest.update(data.images.tobytes())
    else:
        digest.update(f"{data.images.read}\n".encode())
        for path in data.images.paths:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()

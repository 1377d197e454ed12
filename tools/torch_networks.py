"""Torchvision's networks with numbers to be compared by, and the operators of torchvision in plain PyTorch.

PyTorch is no dependency of tinygraph: nothing but `torch_exports` and the makers of test data read this.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph
from torch import nn

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align": "(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
}
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")  # declarations end with it

# The smallest sides that the networks take well; 64 for all others.
_SIDES = {
    "alexnet": 224,
    "vgg": 224,
    "inception_v3": 96,
    "efficientnet_v2": 128,  # on smaller maps some statistics are next to nothing, and answers are nothing but rounding
    "maxvit_t": 224,
    "mvit": 224,
    "ssd300_vgg16": 300,
    "ssdlite320_mobilenet_v3_large": 320,
    "retinanet": 128,
    "fcos": 128,
    "fasterrcnn": 128,
    "maskrcnn": 128,
    "keypointrcnn": 128,
    "raft": 128,
}
_DETECTORS = ("ssd", "retinanet", "fcos", "fasterrcnn", "maskrcnn", "keypointrcnn")
_VIDEO = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "swin3d", "mvit")


def nms(boxes: Any, scores: Any, limit: float) -> Any:
    """Indices of the boxes that are left, best first, where no two overlap more than the limit."""
    order = scores.argsort(descending=True, stable=True).tolist()
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept: list[int] = []
    while order:
        best = order.pop(0)
        kept.append(best)
        others = boxes[order]
        shared = (torch.minimum(boxes[best, 2:], others[:, 2:]) - torch.maximum(boxes[best, :2], others[:, :2])).clamp(
            0
        )
        both = shared.prod(1)
        far = both / (areas[best] + areas[order] - both) <= limit
        order = [index for index, apart in zip(order, far.tolist(), strict=True) if apart]
    return torch.tensor(kept, dtype=torch.int64)


def roi_align(
    x: Any, rois: Any, spatial_scale: float, height: int, width: int, sampling_ratio: int, aligned: bool
) -> Any:
    """Zeros of the right shape: an export needs no more, its numbers are those of other runtimes."""
    return x.new_zeros((rois.shape[0], x.shape[1], height, width))


def torchvision() -> Any:
    """The package; its operators are declared first where its compiled ones do not fit the installed torch."""
    if importlib.util.find_spec("torchvision") is None:
        raise ModuleNotFoundError(
            "torchvision is missing: pip install torchvision==0.28.0 --no-deps", name="torchvision"
        )
    if not hasattr(torch.ops.torchvision, "nms"):
        for name, schema in _SCHEMAS.items():
            _LIBRARY.define(name + schema)
        _LIBRARY.impl("nms", nms, "CPU")
        _LIBRARY.impl("roi_align", roi_align, "CPU")
        _LIBRARY.impl("roi_align", roi_align, "Meta")
    import torchvision as package  # type: ignore[import-not-found,import-untyped,unused-ignore]

    for module in ("torchvision.extension", "torchvision.ops.roi_align"):
        sys.modules[module]._has_ops = has_operators  # type: ignore[attr-defined]
    return package


def has_operators() -> bool:
    """Says to torchvision that its operators are there."""
    return True


def create(name: str) -> nn.Module:
    """Torchvision's network of that name, without weights, for the size that `example` has."""
    options: dict[str, Any] = {"weights": None}
    if name.startswith(("vit_b_", "vit_l_")):
        options["image_size"] = 64
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "aux_logits": False}
    if name.startswith((*_DETECTORS, "fcn_", "deeplabv3_", "lraspp_")):
        options["weights_backbone"] = None
    if name.startswith(_DETECTORS) and not name.startswith("keypointrcnn"):
        options["num_classes"] = 8  # more make no other graph, but many more boxes
    if name.startswith(_DETECTORS) and not name.startswith("ssd"):
        options |= {"min_size": 128, "max_size": 128}
    package = torchvision()
    torch.manual_seed(0)
    network: nn.Module = package.models.get_model(name, **options)
    if name.startswith("retinanet"):  # without training, no score is above the limit, and all are nearly the same
        with torch.no_grad():
            network.head.classification_head.cls_logits.weight *= 30
    return network


def is_detector(name: str) -> bool:
    """Whether the network takes a list of images and answers boxes."""
    return name.startswith(_DETECTORS)


def example(name: str, batch: int) -> tuple[Any, ...]:
    """Arguments of a call of a network: images, clips of 16, two images to compare, or a list of images."""
    side = next((side for start, side in _SIDES.items() if name.startswith(start)), 64)
    clip = (16,) if name.startswith(_VIDEO) else ()
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn((batch, 3, *clip, side, side), generator=generator)
    if is_detector(name):
        return (list(x.sigmoid()),)
    return (x, x.roll(3, -1)) if name.startswith("raft") else (x,)


def settle(network: nn.Module, inputs: Sequence[Any]) -> nn.Module:
    """Gives a network numbers with which every part of it matters, and no answer grows out of bounds.

    What is the same number everywhere, as biases and scales are at first, is spread by up to 0.1;
    statistics of BatchNorm become those of the inputs.

    Args:
        network: as it was initialized.
        inputs: of one call; more than one image, for the statistics.

    Returns:
        The same network, ready to be exported.
    """
    network.eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter += torch.empty_like(parameter).uniform_(-0.1, 0.1)
        for norm in network.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.train()
                norm.momentum = None  # the mean of all batches, of which there is one
        network(*inputs)
    return network.eval()

"""Which boxes of a detector are kept: non-maximum suppression."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, TensorType
from tinygraph.kernels.boxes import best_boxes
from tinygraph.ops.base import (
    CALL,
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    no_macs,
    not_differentiable,
    register,
)
from tinygraph.ops.nonzero import check_count

__all__ = ["non_max_suppression"]

_PER_PAIR = 20  # operations that tell how much two boxes overlap


@register
class NonMaxSuppression(Op):
    """For each sample and class the boxes that overlap no better one, the best first: (sample, class, box) [count, 3].

    Inputs: boxes [N, boxes, 4], scores [N, classes, boxes].

    Attributes:
        count: how many there are: a symbol, unless it is known.
        most: how many are kept of a sample and class.
        overlap: boxes whose intersection over union with a better one is above it are left out.
        threshold: boxes whose score is not above it are left out; None for no such limit.
        centred: boxes are x and y of the centre, width and height; else y1, x1, y2, x2 of any two corners.
    """

    name = "non_max_suppression"
    onnx = ("NonMaxSuppression",)
    arity = (2, 2)
    macs = no_macs
    vjp = not_differentiable("its results are places")
    count: Dim
    most: int
    overlap: float = 0.0
    threshold: float | None = None
    centred: bool = False

    def infer(self, boxes: TensorType, scores: TensorType) -> TensorType:
        floating(boxes, scores)
        if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape[2] != 4:
            raise ShapeError(f"wants boxes [N, boxes, 4] and scores [N, classes, boxes], got {boxes} and {scores}")
        if (boxes.shape[0], boxes.shape[1]) != (scores.shape[0], scores.shape[2]):
            raise ShapeError(f"boxes {boxes} and scores {scores} are not of as many samples and boxes")
        return TensorType((self.count, 3), np.dtype(np.int64))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """1 per score, if there is a threshold; what follows depends on the numbers."""
        return 0 if self.threshold is None else inputs[1].size

    def at_most(self, types: Types) -> int:
        samples, classes, boxes = types[1].dims
        return samples * classes * min(self.most, boxes)

    def work(self, inputs: Types, outputs: Types) -> int:
        """Each box that is kept is compared with all others."""
        samples, classes, boxes = inputs[1].dims
        pairs = self.at_most(inputs) * boxes
        return super().work(inputs, outputs) + pairs * _PER_PAIR + CALL * (samples * classes + self.at_most(inputs))

    def kernel(self, boxes: Array, scores: Array) -> Array:
        kept = [
            (n, c, box)
            for n, c in np.ndindex(*scores.shape[:2])
            for box in best_boxes(boxes[n], scores[n, c], self.most, self.overlap, self.threshold, self.centred)
        ]
        check_count(self, len(kept), self.count)
        return np.array(kept, np.int64).reshape(-1, 3)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        limits = [
            export.const(np.array([self.most], np.int64)),
            export.const(np.array([self.overlap], np.float32)),
            *([] if self.threshold is None else [export.const(np.array([self.threshold], np.float32))]),
        ]
        return export.node("NonMaxSuppression", [*inputs, *limits], center_point_box=int(self.centred))


def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    count: Dim,
    most: int,
    overlap: float = 0.0,
    threshold: float | None = None,
    centred: bool = False,
) -> Tensor:
    """For each sample and class, the boxes that overlap no better one.

    Args:
        boxes: [N, boxes, 4], floating.
        scores: [N, classes, boxes], of the same dtype. Of equal ones, the first box is the better.
        count: how many there are: a Symbol that the run gives its number, or the number itself.
        most: how many are kept of a sample and class.
        overlap: boxes whose intersection over union with a better one is above it are left out.
        threshold: boxes whose score is not above it are left out; None for no such limit.
        centred: boxes are x and y of the centre, width and height; else y1, x1, y2, x2 of any two corners.

    Returns:
        [count, 3], int64: sample, class and box, ordered by sample and class, the best box first.

    Raises:
        ShapeError: boxes and scores do not fit together.
        UsageError: when it runs, there are not `count` of them.

    Source: ONNX NonMaxSuppression.
    """
    limit = None if threshold is None else float(threshold)
    return apply(NonMaxSuppression(count, max(0, int(most)), float(overlap), limit, bool(centred)), boxes, scores)


@from_onnx("NonMaxSuppression")
def _non_max_suppression(
    node: Any,
    boxes: Tensor,
    scores: Tensor,
    max_output_boxes_per_class: Tensor = None,
    iou_threshold: Tensor = None,
    score_threshold: Tensor = None,
) -> Tensor:
    most = 0 if max_output_boxes_per_class is None else _number(node, 2, "max_output_boxes_per_class")
    overlap = 0.0 if iou_threshold is None else _number(node, 3, "iou_threshold")
    threshold = None if score_threshold is None else _number(node, 4, "score_threshold")
    count = node.symbol("detections")
    return non_max_suppression(boxes, scores, count, most, overlap, threshold, bool(node.get("center_point_box", 0)))


def _number(node: Any, position: int, what: str) -> Any:
    given = np.ravel(node.demand(position, what))
    if given.size != 1:
        raise ShapeError(f"NonMaxSuppression: its {what} is {given.size} numbers, not 1")
    return given[0].item()

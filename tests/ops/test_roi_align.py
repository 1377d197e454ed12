"""RoiAlign beyond its rows: against onnx.reference, its gradient by the map, boxes that are hostile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tests.ops.checks import execute
from tinygraph.errors import BudgetError, NotDifferentiable, ShapeError
from tinygraph.ops.base import apply
from tinygraph.ops.roi_align import RoiAlignGrad, roi_align

Array = np.ndarray


def drawn(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """A map, boxes some of which reach beyond it, and which sample they are of."""
    x = rng.standard_normal((2, 2, *rng.integers(1, 9, 2))).astype(np.float32)
    corner = rng.uniform(-3, 8, (3, 2))
    rois = np.concatenate([corner, corner + rng.uniform(-0.5, 9, (3, 2))], 1).astype(np.float32)
    return x, rois, rng.integers(0, 2, 3)


@pytest.mark.parametrize("opset", [10, 16, 22])
def test_boxes_are_read_as_the_reference_does(opset: int) -> None:
    rng = np.random.default_rng(opset)
    for _ in range(40):
        x, rois, batch = drawn(rng)
        bins = [int(b) for b in rng.integers(1, 4, 2)]
        how: dict[str, Any] = {
            "output_height": bins[0],
            "output_width": bins[1],
            "sampling_ratio": int(rng.integers(0, 3)),
            "spatial_scale": float(rng.choice([1.0, 0.5])),
            "mode": str(rng.choice(["avg", "max"])),
        }
        coordinates = str(rng.choice(["half_pixel", "output_half_pixel"])) if opset > 10 else "output_half_pixel"
        if opset > 10:
            how["coordinate_transformation_mode"] = coordinates
        node = helper.make_node("RoiAlign", ["x", "rois", "batch"], ["y"], **how)
        types = {
            name: helper.np_dtype_to_tensor_dtype(a.dtype) for name, a in (("x", x), ("rois", rois), ("batch", batch))
        }
        inputs = [
            helper.make_tensor_value_info(name, types[name], a.shape)
            for name, a in (("x", x), ("rois", rois), ("batch", batch))
        ]
        graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", types["x"], None)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        got = execute(tg.load(model.SerializeToString()), [x, rois, batch])[0]
        if opset == 10:  # the reference knows the newer operator only
            node.attribute.append(helper.make_attribute("coordinate_transformation_mode", coordinates))
            graph = helper.make_graph([node], "g", inputs, list(graph.output))
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
        wanted = ReferenceEvaluator(model).run(None, {"x": x, "rois": rois, "batch": batch})[0]
        np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-4, err_msg=str(how))


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("seed", range(8))
def test_the_gradient_by_the_map_is_the_adjoint(samples: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, rois, batch = (a.astype(np.float64) if a.dtype.kind == "f" else a for a in drawn(rng))
    transpose = RoiAlignGrad((2, 3), samples, shape=(2, *x.shape[2:]))

    def read(x: Any) -> Any:
        return roi_align(x, rois, batch, (2, 3), samples)

    def write(c: Any) -> Any:
        return apply(transpose, c, rois, batch)

    y, pull = tg.vjp(read, x)
    c, v = rng.standard_normal(y.shape), rng.standard_normal(x.shape)
    np.testing.assert_array_equal(write(c), pull(c))
    assert np.sum(read(v) * c) == pytest.approx(np.sum(v * write(c)), rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(tg.vjp(write, c)[1](v), read(v), atol=1e-12)


def test_boxes_without_numbers_read_nothing_and_huge_ones_are_refused() -> None:
    x, batch = np.ones((1, 1, 4, 4)), np.zeros(1, np.int64)
    lost = np.array([[np.nan, 0, 1, 1]])
    np.testing.assert_array_equal(roi_align(x, lost, batch, 2), np.zeros((1, 1, 2, 2)))
    with pytest.raises(BudgetError, match="clip the boxes"):
        roi_align(x, np.array([[0.0, 0, 1e9, 1]]), batch, 2)
    with pytest.raises(ShapeError, match="out of range"):
        roi_align(x, np.array([[0.0, 0, 1, 1]]), batch + 1, 2)


def test_boxes_of_many_points_are_read_number_by_number() -> None:
    x, rois, batch = np.ones((1, 3, 4, 4)), np.array([[0.0, 0, 900, 900]]), np.zeros(1, np.int64)
    # Of 900 points along an axis 5 lie on the map or 1 behind it.
    np.testing.assert_allclose(roi_align(x, rois, batch, 1), np.full((1, 3, 1, 1), (5 / 900) ** 2))
    np.testing.assert_array_equal(roi_align(x, rois, batch, 1, mode="max"), np.ones((1, 3, 1, 1)))
    with pytest.raises(BudgetError, match="points; clip the boxes"):
        roi_align(x, np.array([[0.0, 0, 1200, 1200]]), batch, 1)


def test_the_maximum_has_no_gradient() -> None:
    x, rois, batch = np.ones((1, 1, 4, 4)), np.array([[0.0, 0, 1, 1]]), np.zeros(1, np.int64)
    with pytest.raises(NotDifferentiable, match="mode 'avg'"):
        tg.vjp(lambda x: roi_align(x, rois, batch, 2, mode="max"), x)[1](np.ones((1, 1, 2, 2)))


@pytest.mark.parametrize(
    ("rois", "batch", "bins", "message"),
    [
        ((3, 5), (3,), 2, "boxes"),
        ((3, 4), (2,), 2, "boxes"),
        ((3, 4), (3,), 0, "bins"),
    ],
)
def test_what_does_not_fit_is_refused(rois: Any, batch: Any, bins: int, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        roi_align(np.zeros((1, 1, 4, 4)), np.zeros(rois), np.zeros(batch, np.int64), bins)

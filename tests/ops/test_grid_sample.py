"""Grid sampling beyond its rows: points that are no numbers, old names of modes, open sizes, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import tinygraph as tg
from tests.ops.checks import execute
from tinygraph.errors import ShapeError
from tinygraph.ops.grid_sample import grid_sample
from tinygraph.ops.sampling import TapIndex


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.filterwarnings("error")
def test_points_far_away_read_within_the_array(mode: str, padding: str) -> None:
    x = np.ones((1, 1, 3, 4), np.float32)
    far = np.array([1e30, -1e30, 3e9, -3e9], np.float32)
    grid = np.stack([far, far[::-1]], -1)[None, None]
    wanted = 0 if padding == "zeros" else 1
    np.testing.assert_allclose(grid_sample(x, grid, mode, padding), np.full((1, 1, 1, 4), wanted), rtol=1e-6)
    with np.errstate(invalid="ignore"):
        lost = np.array([np.nan, np.inf, -np.inf])
        index = TapIndex((3,), mode, padding).kernel(lost[:, None])
    assert -1 <= index.min() <= index.max() < 3


def test_modes_have_other_names_before_opset_20() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2, 4, 5)).astype(np.float32)
    grid = rng.uniform(-1.2, 1.2, (1, 3, 2, 2)).astype(np.float32)
    for old, new in (("bilinear", "linear"), ("bicubic", "cubic"), ("nearest", "nearest")):
        node = helper.make_node("GridSample", ["x", "grid"], ["y"], mode=old, padding_mode="border", align_corners=1)
        values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in (("x", x), ("grid", grid))]
        made = helper.make_graph([node], "g", values, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
        got = execute(tg.load(model.SerializeToString()), [x, grid])[0]
        np.testing.assert_array_equal(got, grid_sample(x, grid, new, "border", True))


def test_the_array_may_have_open_sizes() -> None:
    specs = tg.Spec(("N", 3, "H", "W")), tg.Spec(("N", 7, 5, 2))
    graph = tg.trace(lambda x, grid: grid_sample(x, grid), *specs)
    assert graph.outputs[0][1].type.shape == ("N", 3, 7, 5)


@pytest.mark.parametrize(
    ("x", "grid", "how", "message"),
    [
        ((2, 3, 4, 4), (2, 5, 5, 3), {}, "as many axes"),
        ((2, 3, 4, 4), (1, 5, 5, 2), {}, "batches"),
        ((2, 3, 0, 4), (2, 5, 5, 2), {}, "nothing to read"),
        ((2, 3, 4, 4), (2, 5, 5, 2), {"mode": "bilinear"}, "'bilinear'"),
        ((2, 3, 4, 4), (2, 5, 5, 2), {"padding": "edge"}, "'edge'"),
    ],
)
def test_what_does_not_fit_is_refused(x: Any, grid: Any, how: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        grid_sample(np.zeros(x), np.zeros(grid), **how)

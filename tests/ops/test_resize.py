"""Resize beyond its rows: every combination of attributes against onnx.reference, older opsets, what is refused."""

from __future__ import annotations

from itertools import product
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tests.ops.checks import execute
from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ir import TensorType
from tinygraph.kernels.interpolation import COORDINATES, MODES, ROUNDINGS
from tinygraph.ops.resize import Resize, resize

Array = np.ndarray


def model(x: Array, opset: int, inputs: list[str], constants: dict[str, Array], **attributes: Any) -> onnx.ModelProto:
    """One Resize, or Upsample up to opset 9, of an input `x`."""
    operator = "Resize" if opset > 9 else "Upsample"
    dtype = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *inputs], ["y"], **attributes)],
        "resize",
        [helper.make_tensor_value_info("x", dtype, x.shape)],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def ours(proto: onnx.ModelProto, x: Array) -> Array:
    return execute(tg.load(proto.SerializeToString()), [x])[0]


def attributes(rng: np.random.Generator, mode: str, coordinates: str) -> dict[str, Any]:
    """Random values of the others."""
    chosen: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        return chosen | {"nearest_mode": str(rng.choice(ROUNDINGS))}
    chosen |= {"antialias": int(rng.integers(2)), "exclude_outside": int(rng.integers(2))}
    if mode == "cubic":
        chosen |= {"cubic_coeff_a": float(rng.choice([-0.5, -0.75]))}
    if coordinates == "tf_crop_and_resize":
        chosen |= {"extrapolation_value": 10.0}
    return chosen


@pytest.mark.parametrize(("mode", "coordinates"), product(MODES, COORDINATES))
def test_every_mode_is_that_of_the_reference(mode: str, coordinates: str) -> None:
    rng = np.random.default_rng([MODES.index(mode), COORDINATES.index(coordinates)])
    for _ in range(25):
        axes = [int(a) for a in rng.permutation([1, 2, 3])[: rng.integers(1, 4)]]
        before = rng.integers(2, 9, len(axes))
        shape = [2, 3, 4, 3]
        for axis, size in zip(axes, before, strict=True):
            shape[axis] = int(size)
        chosen = attributes(rng, mode, coordinates) | {"axes": axes}
        constants = {"roi": np.concatenate([rng.uniform(-0.2, 0.5, len(axes)), rng.uniform(0.5, 1.2, len(axes))])}
        if rng.integers(2):
            constants["scales"] = (rng.integers(8, 40, len(axes)) / 16).astype(np.float32)
            inputs = ["roi", "scales"]
        else:
            constants["sizes"] = rng.integers(2, 13, len(axes))
            inputs = ["roi", "", "sizes"]
            chosen["keep_aspect_ratio_policy"] = str(rng.choice(["stretch", "not_larger", "not_smaller"]))
        x = rng.standard_normal(shape).astype(np.float32)
        proto = model(x, 19, inputs, constants, **chosen)
        wanted = ReferenceEvaluator(proto).run(None, {"x": x})[0]
        if 0 in wanted.shape:
            with pytest.raises(ShapeError, match="on both sides"):
                ours(proto, x)
            continue
        if _differs(coordinates, shape, wanted.shape):
            continue
        np.testing.assert_allclose(ours(proto, x), wanted, rtol=0, atol=1e-5, err_msg=f"{chosen} {constants} {shape}")


def _differs(coordinates: str, before: list[int], after: tuple[int, ...]) -> bool:
    """Whether onnx.reference differs from the text of the standard, or from itself."""
    if coordinates == "half_pixel_symmetric":  # where the centres meet, but for rounding, it takes the number beside
        return any(old % 2 == new % 2 and old != new for old, new in zip(before, after, strict=True))
    return coordinates == "pytorch_half_pixel" and 1 in after  # at -1/2 where the text says 0


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.float16])
def test_integers_are_rounded_and_keep_within_their_limits(dtype: Any, mode: str) -> None:
    rng = np.random.default_rng(1)
    # Twice as large: weights are whole sixteenths, so float64 has no error that decides a half.
    limits = (0, 1) if dtype == np.float16 else (max(np.iinfo(dtype).min, -1000), min(np.iinfo(dtype).max, 1000))
    x = rng.choice(limits, (1, 2, 5, 4)).astype(dtype)
    proto = model(x, 19, ["", "", "sizes"], {"sizes": np.array([1, 2, 10, 8])}, mode=mode)
    wanted = ReferenceEvaluator(proto).run(None, {"x": x})[0]
    np.testing.assert_allclose(ours(proto, x), wanted, rtol=0, atol=1e-3 if dtype == np.float16 else 0)


def test_older_opsets_take_places_from_the_front_of_the_axis() -> None:
    x = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 2, 4)
    double = np.array([1, 1, 1, 2], np.float32)
    twice = np.repeat(x, 2, 3)
    np.testing.assert_array_equal(ours(model(x, 7, [], {}, scales=[1.0, 1, 1, 2], mode="nearest"), x), twice)
    np.testing.assert_array_equal(ours(model(x, 9, ["s"], {"s": double}, mode="nearest"), x), twice)
    np.testing.assert_array_equal(ours(model(x, 10, ["s"], {"s": double}, mode="nearest"), x), twice)
    smaller = ours(model(x, 10, ["s"], {"s": np.array([1, 1, 0.6, 0.6], np.float32)}, mode="nearest"), x)
    np.testing.assert_array_equal(smaller, [[[[1, 3]]]])
    linear = ours(model(x, 9, ["s"], {"s": double}, mode="linear"), x)
    np.testing.assert_array_equal(linear[0, 0, 0], [1, 1.5, 2, 2.5, 3, 3.5, 4, 4])


def test_coordinates_of_opset_11_for_nearest_numbers() -> None:
    x = np.arange(5, dtype=np.float32)
    none = np.zeros(0, np.float32)
    sizes = {"roi": none, "scales": none, "sizes": np.array([3])}
    how = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"}
    proto = model(x, 11, list(sizes), sizes, **how)
    np.testing.assert_array_equal(ours(proto, x), [np.floor((i + 0.5) * 5 / 3) for i in range(3)])
    with pytest.raises(UnsupportedOp, match="tf_half_pixel_for_nn"):
        ours(model(x, 11, list(sizes), sizes, **how | {"mode": "linear"}), x)


@pytest.mark.parametrize("block", [1, 300, 1 << 18])
@pytest.mark.parametrize("mode", MODES)
def test_prepared_kernels_go_block_by_block_and_with_threads(block: int, mode: str) -> None:
    rng = np.random.default_rng(block)
    for coordinates, dtype in product(COORDINATES[:5], (np.float32, np.float64)):
        x = rng.standard_normal((3, 5, *rng.integers(1, 7, 2))).astype(dtype)
        factors = (2, 3) if rng.integers(2) else rng.uniform(0.5, 3, 2)
        size = tuple(max(1, int(n * f)) for n, f in zip(x.shape[2:], factors, strict=True))
        op = Resize((2, 3), size, mode=mode, coordinates=coordinates)
        with patch.multiple("tinygraph.kernels.resize", _BLOCK=block, _WORTH_SHARING=1):
            prepared = op.lower([TensorType.of(x)], [None], 2)
        assert prepared is not None
        y = np.full((3, 5, *size), np.nan, dtype)
        prepared.run([x], [y], np.zeros(prepared.workspace + 64, np.uint8)[: prepared.workspace])
        np.testing.assert_allclose(y, op.kernel(x), rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)


def test_axes_that_keep_their_size_stay_open() -> None:
    x = tg.Spec(("N", "C", 4, 6))
    graph = tg.trace(lambda x: resize(x, scales=(1, 1, 2, 0.5)), x)
    assert graph.outputs[0][1].type.shape == ("N", "C", 8, 3)
    sized = tg.trace(lambda x: resize(x, sizes=(*x.shape[:2], 8, 3), mode="linear"), x)
    assert sized.outputs[0][1].type.shape == ("N", "C", 8, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either sizes or scales"),
        ({"sizes": (2, 3, 4, 4), "scales": (1, 1, 1, 1)}, "either sizes or scales"),
        ({"sizes": (4, 4)}, "2 sizes for 4 axes"),
        ({"scales": (2, 1, 1, 1)}, "open dimension N"),
        ({"sizes": (2, 3, 4, 4)}, "open dimension"),
        ({"scales": (1, 1, 0.1, 1)}, "on both sides"),
        ({"scales": (1, 1, -1, 1)}, "above 0"),
        ({"scales": (1, 1, 2, 1), "mode": "area"}, "does not know 'area'"),
        ({"scales": (1, 1, 2, 1), "antialias": True}, "linear and cubic"),
        ({"scales": (1, 1, 2, 1), "coordinates": "tf_crop_and_resize", "mode": "linear", "roi": ((0, 1),)}, "1 parts"),
        ({"sizes": (8, 8), "axes": (2, 3), "policy": "larger"}, "policy 'larger'"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        tg.trace(lambda x: resize(x, **arguments), tg.Spec(("N", 3, 4, 5)))


def test_sizes_that_onnx_would_round_down_are_not_saved() -> None:
    def rounded_up(x: Any) -> Any:
        return resize(x, sizes=(5, 5), axes=(1, 2), policy="not_larger", mode="linear")

    graph = tg.trace(rounded_up, tg.Spec((1, 8, 7)))
    assert graph.outputs[0][1].type.shape == (1, 5, 4)
    again = tg.load(onnx_bytes(graph))
    x = np.random.default_rng(0).standard_normal((1, 8, 7)).astype(np.float32)
    np.testing.assert_array_equal(execute(again, [x])[0], execute(graph, [x])[0])
    with pytest.raises(UnsupportedOp, match="rounds such sizes"):
        tg.save(tg.trace(lambda x: resize(x, scales=(1, 1.1), mode="linear"), tg.Spec((1, 8))), "/dev/null")


def onnx_bytes(graph: tg.Graph) -> bytes:
    from io import BytesIO

    file = BytesIO()
    tg.save(graph, file)
    return file.getvalue()

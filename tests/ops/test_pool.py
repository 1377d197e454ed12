"""Pools: what is refused, padding that never wins, windows that differ, ONNX's variants."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tests.ops.checks import close, execute
from tests.ops.test_onnx_forms import model
from tinygraph import ops
from tinygraph.autodiff import vjp_graph
from tinygraph.build import infer
from tinygraph.errors import ModelFormatError, ShapeError, UnsupportedOp
from tinygraph.ir import TensorType
from tinygraph.ops.lp_pool import LpPool
from tinygraph.ops.pool import MaxPool
from tinygraph.ops.pool_adaptive import AdaptiveAvgPool
from tinygraph.ops.pool_average import AvgPool, AvgPoolGrad
from tinygraph.ops.pool_grad import ExtremeGather, ExtremeGrad

X = np.random.default_rng(0).standard_normal((2, 3, 7, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.max_pool(X, 8), "a window of extent 8 is larger than 7 positions padded by 0 and 0"),
        (lambda: ops.max_pool(X, (3, 4), dilation=(1, 3)), "a window of extent 10 is larger than 6 positions"),
        (lambda: ops.max_pool(X, 3, padding=3), r"with padding \(3, 3\) a window of 3 on spatial axis 0 lies beside"),
        (lambda: ops.avg_pool(X, 2, padding=((0, 0), (0, 2))), r"with padding \(0, 2\) .* on spatial axis 1"),
        (lambda: ops.max_pool(X[:, :, :1], (2, 1), 1, ((3, 3), (0, 0)), (3, 1)), "beside all 1 positions"),
        (lambda: ops.max_pool(X, 2, stride=0), "stride must be a whole number >= 1, got 0"),
        (lambda: ops.max_pool(X, (2, 2, 2)), "has 3 entries for 2 spatial axes"),
        (lambda: ops.max_pool(X[0, 0], 2), "wants .N, C. and at least one spatial axis"),
        (lambda: ops.max_pool(X.astype(np.int32), 2), "wants floating-point inputs, got int32"),
        (lambda: ops.adaptive_avg_pool(X, 0), "output size must be a whole number >= 1, got 0"),
        (lambda: ops.adaptive_avg_pool(X[:, :, :0], 1), "there is nothing to average"),
        (lambda: ops.global_avg_pool(X[0, 0]), "at least one spatial axis"),
        (lambda: ops.lp_pool(X, 2, p=0), "p must be 1 or more, got 0"),
    ],
)
def test_windows_that_do_not_fit_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        (MaxPool((2, 2)), [(1, 1, 4)]),
        (ExtremeGrad((2, 2), (2, 2)), [(1, 1, 4, 4), (1, 1, 3, 2)]),
        (ExtremeGather((2, 2), (2, 2)), [(1, 1, 4, 4), (1, 1, 2, 2)]),
        (AvgPoolGrad((2, 2), (2, 2), size=(4, 4)), [(1, 1, 3, 2)]),
        (AdaptiveAvgPool((2,)), [(1, 1, 4, 4)]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_arrays_that_do_not_fit_the_windows_are_refused(op: Any, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ShapeError):
        infer(op, [TensorType(shape) for shape in shapes])


def test_checking_billions_of_windows_takes_no_time() -> None:
    huge = 10**9
    pool = MaxPool((2,), (1,), ((huge - 1, huge - 1),), (huge,))
    assert infer(pool, [TensorType((1, 1, huge - 2))])[0].dims == (1, 1, 2 * huge - 4)


def test_padding_never_wins() -> None:
    x = -100 - np.abs(X)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    np.testing.assert_array_equal(ops.max_pool(x, 3, 2, 1), ops.max_pool(padded, 3, 2))
    assert ops.max_pool(x, 3, 2, 1).max() <= -100
    np.testing.assert_array_equal(ops.min_pool(-x, 3, 2, 1), -ops.max_pool(x, 3, 2, 1))


def test_forms_of_padding() -> None:
    np.testing.assert_array_equal(ops.max_pool(X, 3, 2, "valid"), ops.max_pool(X, 3, 2))
    assert ops.max_pool(X, 3, 2, "same").shape == (2, 3, 4, 3)
    np.testing.assert_array_equal(ops.max_pool(X, 3, 2, "same"), ops.max_pool(X, 3, 2, ((1, 1), (0, 1))))
    np.testing.assert_array_equal(ops.max_pool(X, 3, 2, "same_lower"), ops.max_pool(X, 3, 2, ((1, 1), (1, 0))))


def test_the_gradient_goes_to_the_first_of_equal_elements() -> None:
    x = np.array([[[1.0, 1, 1, 1]]])
    graph = vjp_graph(tg.trace(lambda x: ops.max_pool(x, 2, 1), tg.Spec((1, 1, 4), np.float64)), ["x"])
    gradient = execute(graph, [x, np.array([[[1.0, 10, 100]]])])[-1]
    np.testing.assert_array_equal(gradient, [[[1, 10, 100, 0]]])


def test_a_global_pool_takes_all_there_is() -> None:
    np.testing.assert_array_equal(ops.global_max_pool(X)[:, :, 0, 0], X.max((2, 3)))
    close([ops.global_avg_pool(X)], [X.mean((2, 3), dtype=np.float64)[..., None, None]], 1e-6, "global average")
    graph = tg.trace(ops.global_avg_pool, tg.Spec(("N", 3, "H", "W")))
    assert str(graph.outputs[0][1].type) == "f32[N,3,1,1]"
    with pytest.raises(ShapeError, match="bind them first"):
        tg.trace(ops.global_max_pool, tg.Spec(("N", 3, "H", "W")))


@pytest.mark.parametrize("pool", [ops.global_avg_pool, lambda x: ops.avg_pool(x, 300)])
def test_means_in_half_precision_do_not_overflow(pool: Any) -> None:
    x = np.full((1, 1, 300, 300), 10, np.float16)
    graph = tg.trace(lambda x: pool(x), tg.Spec(x.shape, np.float16))
    for y in (pool(x), tg.compile(graph)(x)):
        assert (y.dtype, y.ravel().tolist()) == (np.float16, [10])
    slope = execute(vjp_graph(graph, ["x"]), [x, np.full((1, 1, 1, 1), 90, np.float16)])[-1]
    np.testing.assert_allclose(slope, 1e-3, rtol=1e-3)


def test_a_dilated_window_that_hangs_over_is_no_global_pool() -> None:
    x = np.array([[[1, 5, 2]]], np.float32)
    graph = tg.trace(lambda x: ops.max_pool(x, 3, 5, dilation=2, ceil_mode=True), tg.Spec(x.shape))
    assert execute(graph, [x])[0].tolist() == [[[2]]]
    file = io.BytesIO()
    tg.save(graph, file)
    assert [node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node] == ["MaxPool"]


def test_one_pixel_fills_a_larger_output() -> None:
    np.testing.assert_array_equal(ops.adaptive_avg_pool(X[:, :, :1, :1], 7), np.tile(X[:, :, :1, :1], (7, 7)))


def test_adaptive_windows_of_an_open_size_are_not_in_onnx() -> None:
    graph = tg.trace(lambda x: ops.adaptive_avg_pool(x, 4), tg.Spec((2, 3, "H", 6)))
    with pytest.raises(UnsupportedOp, match="the size H is open"):
        tg.save(graph, io.BytesIO())
    tg.save(graph.bind(H=7), io.BytesIO())


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_bytes_are_pooled(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(limits.min, limits.max, (2, 3, 7, 6), endpoint=True).astype(dtype)
    graph = tg.trace(
        lambda x: (ops.max_pool(x, 3, 2, 1), ops.global_max_pool(x)), tg.Spec(x.shape, np.dtype(dtype).name)
    )
    file = io.BytesIO()
    tg.save(graph, file)
    wide = x.astype(np.float64)
    wanted = [ops.max_pool(wide, 3, 2, 1).astype(dtype), ops.global_max_pool(wide).astype(dtype)]
    for results in (execute(graph, [x]), list(tg.compile(graph)(x).values()), execute(tg.load(file.getvalue()), [x])):
        close(results, wanted, 0, "bytes")
    np.testing.assert_array_equal(ops.min_pool(x, 2), ops.min_pool(wide, 2))
    with pytest.raises(UnsupportedOp, match="ONNX, which has no such pool"):
        tg.save(tg.trace(lambda x: ops.min_pool(x, 2), tg.Spec(x.shape, np.dtype(dtype).name)), io.BytesIO())
    for op in (AvgPool((2, 2)), ExtremeGrad((2, 2)), LpPool((2, 2))):
        with pytest.raises(ShapeError, match="floating-point"):
            infer(op, [TensorType(x.shape, x.dtype)] * op.arity[0])


def test_places_of_the_largest_elements_in_onnx() -> None:
    content = model("MaxPool", [X], 12, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0], storage_order=1)
    made = onnx.load_from_string(content)
    made.graph.node[0].output.append("places")
    made.graph.output.append(onnx.ValueInfoProto(name="places"))
    largest, places = execute(tg.load(made.SerializeToString()), [X])
    np.testing.assert_array_equal(X.transpose(0, 1, 3, 2).reshape(-1)[places], largest)
    with pytest.raises(ModelFormatError, match="storage_order is 2"):
        tg.load(model("MaxPool", [X], 12, kernel_shape=[3, 2], storage_order=2))


def test_norms_of_windows_in_onnx() -> None:
    wanted = np.cbrt((np.abs(X) ** 3).sum((2, 3), keepdims=True))
    close(execute(tg.load(model("GlobalLpPool", [X], 7, p=3)), [X]), [wanted], 1e-6, "GlobalLpPool")
    wanted = np.sqrt(6 * ops.avg_pool(X * X, (3, 2), 2, ((1, 1), (0, 0))))
    content = model("LpPool", [X], 11, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])
    close(execute(tg.load(content), [X]), [wanted], 1e-6, "LpPool")
    with pytest.raises(ModelFormatError, match="p must be 1 or more, got 0"):
        tg.load(model("GlobalLpPool", [X], 7, p=0))


FORMS = [
    ("MaxPool", 8, {"kernel_shape": [3, 2]}),
    ("MaxPool", 10, {"kernel_shape": [2, 3], "strides": [2, 1], "dilations": [2, 2], "pads": [1, 0, 0, 2]}),
    ("MaxPool", 12, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("MaxPool", 12, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"}),
    ("MaxPool", 20, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", 7, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", 11, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", 19, {"kernel_shape": [2, 2], "strides": [2, 2], "dilations": [2, 1], "ceil_mode": 1}),
    ("AveragePool", 20, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("AveragePool", 20, {"kernel_shape": [2, 3], "auto_pad": "SAME_UPPER", "count_include_pad": 1}),
    ("AveragePool", 20, {"kernel_shape": [3, 2], "strides": [2, 1], "auto_pad": "SAME_LOWER"}),
    ("AveragePool", 20, {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER", "count_include_pad": 1}),
    ("GlobalAveragePool", 8, {}),
    ("GlobalMaxPool", 8, {}),
]


@pytest.mark.parametrize(("op_type", "opset", "attributes"), FORMS)
def test_forms_of_onnx(op_type: str, opset: int, attributes: dict[str, Any]) -> None:
    content = model(op_type, [X], opset, **attributes)
    wanted = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x0": X})
    close(execute(tg.load(content), [X]), wanted, 1e-6, op_type)


def test_same_lower_pads_in_front() -> None:
    content = model("MaxPool", [X], 12, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER")
    close(execute(tg.load(content), [X]), [ops.max_pool(X, 2, 2, ((1, 0), (0, 0)))], 0, "SAME_LOWER")


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"kernel_shape": [3, 3], "pads": [1, 1]},
        {"kernel_shape": [3, 3], "pads": [-1, 0, 0, 0]},
        {"kernel_shape": [3, 3], "auto_pad": "SAME"},
        {"kernel_shape": [3, 3], "strides": [0, 1]},
        {"kernel_shape": [30, 3]},
        {"kernel_shape": [3]},
    ],
)
def test_damaged_onnx_pools_are_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(ModelFormatError):
        tg.load(model("MaxPool", [X], 12, **attributes))


def test_what_hangs_over_the_padding_does_not_count() -> None:
    x = np.arange(1.0, 7).reshape(1, 1, 6)  # the last window holds a 6, a padding, and nothing
    np.testing.assert_allclose(ops.avg_pool(x, 3, 2, 1, ceil_mode=True)[0, 0], [1, 3, 5, 3])
    np.testing.assert_allclose(ops.avg_pool(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)[0, 0], [1.5, 3, 5, 6])
    np.testing.assert_allclose(ops.avg_pool(x, 3, 2, 1)[0, 0], [1, 3, 5])


def test_a_window_that_would_start_in_the_padding_is_left_out() -> None:
    x = np.arange(1.0, 6).reshape(1, 1, 5)
    np.testing.assert_array_equal(ops.max_pool(x, 2, 3, 1, ceil_mode=True)[0, 0], [1, 4])
    np.testing.assert_array_equal(ops.max_pool(x, 2, 3, ((0, 1),), ceil_mode=True)[0, 0], [2, 5])


def test_large_arrays_are_pooled_a_block_at_a_time() -> None:
    x = np.random.default_rng(1).standard_normal((3, 40, 60, 70)).astype(np.float32)
    x[1, 7, 30, 30] = np.nan
    g = np.random.default_rng(2).standard_normal((3, 40, 30, 35)).astype(np.float32)
    geometry: dict[str, Any] = {"kernel_size": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1))}
    for op, arrays in [
        (MaxPool(**geometry), [x]),
        (AvgPool(**geometry), [x]),
        (ExtremeGrad(**geometry), [x, g]),
        (ExtremeGrad(**geometry), [np.nan_to_num(x), g]),
    ]:
        types = [TensorType(a.shape, a.dtype) for a in arrays]
        prepared = op.lower(types, [None] * len(arrays), 1)
        y = np.empty(infer(op, types)[0].dims, np.float32)
        prepared.run(arrays, [y], np.empty(prepared.workspace, np.uint8))
        close([y], [op.kernel(*arrays)], 1e-6, op.name)

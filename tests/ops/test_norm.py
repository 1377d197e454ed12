"""Normalizations: what is refused, means far from zero, gradients of single outputs, ONNX's variants."""

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
from tinygraph import nn, ops
from tinygraph.autodiff import vjp_graph
from tinygraph.build import infer
from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import Op
from tinygraph.ops.lrn import Lrn
from tinygraph.ops.norm import BatchNorm, BatchNormTrain, BatchNormTrainGrad
from tinygraph.ops.norm_layer import GroupNorm, LayerNorm

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3, 2, 2)).astype(np.float32)
V = np.array([0.5, 1.0, 2.0], np.float32)
FOUR = RNG.standard_normal((2, 4, 3)).astype(np.float32)
WEIGHTS = np.array([1.0, 2.0, 0.5, -1.0], np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.batch_norm(X, V[:2], V, V, V), r"f32\[2\] does not fit the 3 channels of f32\[4,3,2,2\]"),
        (lambda: ops.batch_norm(X, V, V, V, V[:, None]), r"f32\[3,1\] does not fit"),
        (lambda: ops.batch_norm(X, V, V, V.astype(np.float64), V), "dtypes differ: float32, float64"),
        (lambda: ops.batch_norm(V, V, V, V, V), r"wants \[N, C, ...\], got f32\[3\]"),
        (lambda: ops.batch_norm_train(X[:0], V, V), "there is nothing to average"),
        (lambda: ops.batch_norm_train(X[:1, :, 0, 0], V, V), r"more than one value per channel, got f32\[1,3\]"),
        (lambda: ops.layer_norm(X, V, V), r"f32\[3\] does not fit the last dimensions of .*; want \[2\]"),
        (lambda: ops.layer_norm(V, X, X), "none of 1 dimensions"),
        (lambda: ops.layer_norm(X[..., :0], V[:0], V[:0]), "there is nothing to average"),
        (lambda: ops.group_norm(X, 2, V, V), "3 channels do not fall into 2 groups"),
        (lambda: ops.group_norm(X, 0, V, V), "3 channels do not fall into 0 groups"),
        (lambda: ops.group_norm(X[..., :0], 1, V, V), "there is nothing to average"),
        (lambda: ops.group_norm(X, 1, V[:2], V), "does not fit the 3 channels"),
        (lambda: ops.instance_norm(X[:, :, :1, :1], V, V), "more than one value per channel of a sample"),
        (lambda: ops.count(X, (4,)), "there is no axis 4"),
        (lambda: ops.batch_norm_train(X.astype(np.int32), V, V), "dtypes differ"),
        (lambda: ops.rms_norm(X, V), r"f32\[3\] does not fit the last dimensions of .*; want \[2\]"),
        (lambda: ops.rms_norm(V, X), "none of 1 dimensions"),
        (lambda: ops.rms_norm(X[..., :0], V[:0]), "there is nothing to average"),
        (lambda: ops.lrn(X, 0), "the window must have at least 1 channel, got 0"),
        (lambda: ops.lrn(X, 5, alpha_over="two"), "alpha is over 'size' or 'one', got 'two'"),
        (lambda: ops.lrn(V, 5), r"wants \[N, C, ...\]"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


def prepared(mean: float, variance: float, eps: float) -> tuple[str, float]:
    """The algorithm for such statistics, and its error against float64 for inputs around that mean."""
    x = (mean + np.sqrt(variance + eps) * RNG.standard_normal((2, 3, 40, 30))).astype(np.float32)
    vectors = [V, V, np.full(3, mean, np.float32), np.full(3, variance, np.float32)]
    op = BatchNorm(eps)
    types = [TensorType(a.shape, a.dtype) for a in (x, *vectors)]
    assert op.lower(types, [None] * 5, 1) is None
    assert op.lower(types, [None, *vectors[:3], None], 1) is None
    kernel = op.lower(types, [None, *vectors], 1)
    y = np.empty_like(x)
    kernel.run([x, *vectors], [y], np.empty(kernel.workspace, np.uint8))
    wanted = op.kernel(*(a.astype(np.float64) for a in (x, *vectors)))
    return kernel.algorithm, float(np.abs(y - wanted).max())


def test_two_steps_where_they_are_exact() -> None:
    algorithm, error = prepared(mean=0.5, variance=1.0, eps=1e-5)
    assert algorithm == "scale_shift"
    assert error < 3e-6


@pytest.mark.parametrize("eps", [1e-5, 1e-8])
def test_a_mean_far_above_the_deviation_is_subtracted_first(eps: float) -> None:
    algorithm, error = prepared(mean=1000.0, variance=1e-12, eps=eps)
    assert algorithm == "center_scale_shift"
    assert error < 3e-6  # in two steps it would be more than 0.01


@pytest.mark.parametrize("output", ["output.0", "output.1", "output.2"])
def test_each_output_of_batch_normalization_has_its_own_gradient(output: str) -> None:
    x, gamma, beta = X.astype(np.float64), V.astype(np.float64), V.astype(np.float64)
    specs = [tg.Spec(a.shape, np.float64) for a in (x, gamma, beta)]
    graph = tg.trace(lambda x, gamma, beta: ops.batch_norm_train(x, gamma, beta), *specs)
    slopes = vjp_graph(graph, ["x", "gamma", "beta"], [output])
    position = [name for name, _ in graph.outputs].index(output)
    cotangent = RNG.standard_normal(graph.outputs[position][1].type.dims)
    gradients = execute(slopes, [x, gamma, beta, cotangent])[-3:]

    def weighted(*arrays: Array) -> float:
        return float(np.sum(ops.batch_norm_train(*arrays)[position] * cotangent))

    for i, gradient in enumerate(gradients):
        arrays = [x, gamma, beta]
        direction = RNG.standard_normal(arrays[i].shape)
        ahead, behind = ([*arrays[:i], arrays[i] + s * direction, *arrays[i + 1 :]] for s in (1e-6, -1e-6))
        measured = (weighted(*ahead) - weighted(*behind)) / 2e-6
        assert abs(measured - np.sum(gradient * direction)) < 1e-6


def double(*arrays: Array) -> list[Array]:
    """The same numbers in float64."""
    return [a.astype(np.float64) for a in arrays]


def fast(op: Op, arrays: list[Array], workers: int = 1) -> list[Array]:
    """What the prepared kernel computes."""
    types = [TensorType.of(a) for a in arrays]
    kernel = op.lower(types, [None] * len(arrays), workers)
    assert kernel is not None
    outputs = [np.empty(t.dims, t.dtype) for t in infer(op, types)]
    kernel.run(arrays, outputs, np.empty(kernel.workspace, np.uint8))
    return outputs


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shape", [(5, 3, 250, 200), (40, 3, 70, 50), (64, 80, 9, 9), (3000, 90)])
def test_large_batches_are_normalized_block_by_block(shape: tuple[int, ...], workers: int) -> None:
    x, gy = (RNG.standard_normal(shape).astype(np.float32) + shift for shift in (10, 0))
    gamma, beta = RNG.standard_normal((2, shape[1])).astype(np.float32)
    found = fast(BatchNormTrain(), [x, gamma, beta], workers)
    close(found, BatchNormTrain().kernel(*double(x, gamma, beta)), 2e-6, "forward")
    inputs = [x, gamma, *found[1:], gy]
    close(fast(BatchNormTrainGrad(), inputs, workers), BatchNormTrainGrad().kernel(*double(*inputs)), 2e-6, "backward")
    close(fast(GroupNorm(1), [x, gamma, beta], workers), [GroupNorm(1).kernel(*double(x, gamma, beta))], 2e-6, "group")


@pytest.mark.parametrize("first", [0.0, 1000.0, np.nan])
def test_the_variance_is_exact_whatever_the_first_sample_is_like(first: float) -> None:
    x = (1000 + 0.01 * RNG.standard_normal((200, 3, 5))).astype(np.float32)
    x[0, 1] = first
    gamma, beta = np.ones((2, 3), np.float32)
    wanted = BatchNormTrain().kernel(*double(x, gamma, beta))
    for found, exact in zip(fast(BatchNormTrain(), [x, gamma, beta]), wanted, strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-3)
    with np.errstate(invalid="ignore"):
        small = np.delete(fast(BatchNormTrain(), [x, gamma, beta])[2] / wanted[2], 1)
    np.testing.assert_allclose(small, 1, rtol=1e-5)


@pytest.mark.parametrize("op", [BatchNormTrain(), LayerNorm(2), GroupNorm(1)], ids=str)
def test_squares_that_half_precision_cannot_hold(op: Op) -> None:
    x = np.zeros((1, 1, 64), np.float16)
    x[0, 0, 0] = 400  # its square is 160000, the largest float16 is 65504
    vectors = [np.ones(64 if isinstance(op, LayerNorm) else 1, np.float16)] * 2
    found, wanted = (op.kernel(*arrays) for arrays in ([x, *vectors], double(x, *vectors)))
    y, exact = (result[0] if isinstance(result, tuple) else result for result in (found, wanted))
    np.testing.assert_allclose(y, exact, rtol=2e-3)


def test_one_value_per_channel_is_refused_once_the_batch_is_known() -> None:
    graph = tg.trace(nn.BatchNorm1d(3), tg.Spec(("N", 3)), mode="training")
    graph.bind(N=2)
    with pytest.raises(ShapeError, match="more than one value per channel"):
        graph.bind(N=1)


def test_batch_normalization_of_an_open_batch_trains() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3, momentum=0.5))
    opened, key = tg.trace(net, tg.Spec(("N", 3, 2, 2)), mode="training"), "grad.x"
    for batch in (1, 2, 4):
        known = tg.trace(net, tg.Spec((batch, 3, 2, 2)), mode="training")
        inputs = [X[:batch], RNG.standard_normal((batch, 3, 2, 2)).astype(np.float32)]
        results = [tg.compile(vjp_graph(graph, ["x"], ["output"]))(*inputs) for graph in (opened, known)]
        assert set(results[0]) == {"output", "0.running_mean", "0.running_var", "0.num_batches_tracked", key}
        assert np.abs(results[0][key]).max() > 0.1
        for name, array in results[0].items():
            np.testing.assert_allclose(array, results[1][name], rtol=1e-6, err_msg=name)


def test_the_gradient_of_a_mean_over_an_open_batch() -> None:
    graph = vjp_graph(tg.trace(lambda x: ops.mean(x, (0, 2)), tg.Spec(("N", 3, 2))), ["x"])
    assert [node.op.name for node in graph.nodes].count("count") == 1
    for batch in (1, 4):
        slope = tg.compile(graph)(X[:batch, :, 0], V)["grad.x"]
        np.testing.assert_array_equal(slope, np.broadcast_to((V / (2 * batch))[:, None], (batch, 3, 2)))


def test_statistics_of_an_open_batch() -> None:
    graph = tg.trace(lambda x: ops.batch_norm_train(x, V, V), tg.Spec(("N", 3, 2, 2)))
    slopes = vjp_graph(graph, ["x"], ["output.0", "output.1", "output.2"])
    given = [X, X, V, V]
    close(execute(slopes.bind(N=4), given), execute(vjp_graph(graph.bind(N=4), ["x"]), given), 1e-6, "bound later")


def test_large_maps_are_normalized_a_block_at_a_time() -> None:
    x = RNG.standard_normal((3, 8, 120, 50)).astype(np.float32)
    for op in (Lrn(5, alpha=0.5), Lrn(4, alpha=0.5, beta=0.6)):
        kernel = op.lower([TensorType(x.shape)], [None], 1)
        y = np.empty_like(x)
        kernel.run([x], [y], np.empty(kernel.workspace, np.uint8))
        close([y], [op.kernel(x.astype(np.float64))], 1e-6, "rows")


FORMS = [
    ("BatchNormalization", 14, [X, V, V, -V, V], {"epsilon": 0.1, "training_mode": 0}),
    ("BatchNormalization", 15, [X[:, :, 0, 0], V, V, -V, V], {"epsilon": 1e-3}),
    ("BatchNormalization", 15, [X.astype(np.float16), V, V, -V, V], {}),
    ("LRN", 13, [X[:3], None], {"size": 3, "alpha": 0.5, "beta": 0.6, "bias": 2.0}),
    ("LRN", 13, [X[:3], None], {"size": 2}),
    ("LayerNormalization", 17, [X, V[:2], -V[:2]], {"epsilon": 0.1}),
    ("LayerNormalization", 17, [X, X[0], None], {"axis": 1}),
    ("LayerNormalization", 17, [FOUR.astype(np.float16), FOUR[0].astype(np.float16)], {"axis": -2}),
    ("InstanceNormalization", 13, [X, V, -V], {"epsilon": 0.1}),
    ("GroupNormalization", 18, [FOUR, V[:2], -V[:2]], {"num_groups": 2, "epsilon": 0.1}),
    ("GroupNormalization", 21, [FOUR, WEIGHTS, -WEIGHTS], {"num_groups": 2, "epsilon": 0.1}),
]


@pytest.mark.parametrize(("op_type", "opset", "inputs", "attributes"), FORMS)
def test_forms_of_onnx(op_type: str, opset: int, inputs: list[Any], attributes: dict[str, Any]) -> None:
    inputs = [a for a in inputs if a is not None]
    content = model(op_type, inputs, opset, **attributes)
    wanted = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x0": inputs[0]})
    loaded = tg.load(content)
    assert loaded.outputs[0][1].type.dtype == inputs[0].dtype
    close(execute(loaded, inputs[:1]), wanted, 1e-5 if inputs[0].dtype == np.float32 else 2e-3, op_type)


def test_batch_normalization_before_opset_14() -> None:  # onnx.reference takes these for training
    for opset, attributes in ((7, {"spatial": 1}), (9, {"momentum": 0.9})):
        loaded = tg.load(model("BatchNormalization", [X, V, V, -V, V], opset, **attributes))
        close(execute(loaded, [X]), [ops.batch_norm(X, V, V, -V, V)], 0, f"opset {opset}")
    mean = RNG.standard_normal((3, 2, 2)).astype(np.float32)
    loaded = tg.load(model("BatchNormalization", [X, mean, -mean, mean, mean * mean], 7, spatial=0, epsilon=0.1))
    close(execute(loaded, [X]), [(X - mean) / np.sqrt(mean * mean + 0.1) * mean - mean], 1e-6, "spatial=0")


def test_statistics_from_a_file_are_buffers() -> None:
    loaded = tg.load(model("BatchNormalization", [X, V, V, -V, V], 15))
    assert [v.kind for v in loaded.data] == ["param", "param", "buffer", "buffer"]


def with_outputs(content: bytes, *names: str) -> bytes:
    """A model of one node whose further outputs are read too."""
    made = onnx.load_from_string(content)
    made.graph.node[0].output.extend(names)
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("x", [X, X[:, :, 0, 0], X.astype(np.float16)], ids=lambda x: f"{x.dtype}-{x.ndim}")
def test_batch_normalization_in_training_mode(x: Array) -> None:
    content = model("BatchNormalization", [x, V, V, -V, V], 15, training_mode=1, momentum=0.75, epsilon=0.1)
    content = with_outputs(content, "running_mean", "running_var")
    loaded = tg.load(content)
    wide = x.astype(np.float64)
    axes = (0, *range(2, x.ndim))
    mean, var = wide.mean(axes), wide.var(axes)
    y = ops.batch_norm(wide, *(v.astype(np.float64) for v in (V, V)), mean, var, 0.1)
    found = execute(loaded, [x])
    assert [a.dtype for a in found] == [x.dtype, np.float32, np.float32]
    close(found, [y, 0.75 * -V + 0.25 * mean, 0.75 * V + 0.25 * var], 1e-6 if x.dtype == np.float32 else 2e-3, "15")


def test_statistics_that_an_old_batch_normalization_gives_are_those_of_the_batch() -> None:
    content = with_outputs(model("BatchNormalization", [X, V, V, -V, V], 9), "m", "v", "saved_m", "saved_v")
    mean, var = X.mean((0, 2, 3)), X.var((0, 2, 3))
    wanted = [ops.batch_norm(X, V, V, mean, var), -V * 0.9 + mean * 0.1, V * 0.9 + var * 0.1, mean, var]
    close(execute(tg.load(content), [X]), wanted, 1e-6, "opset 9")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_mean_and_deviation_of_layer_normalization_are_single_or_wider(dtype: Any) -> None:
    x = (100 * FOUR + 300).astype(dtype)  # its squares overflow in half precision
    content = with_outputs(model("LayerNormalization", [x, x[0]], 17, axis=1, epsilon=0.1), "mean", "inverse")
    wide = x.astype(np.float64)
    mean, inverse = wide.mean((1, 2), keepdims=True), 1 / np.sqrt(wide.var((1, 2), keepdims=True) + 0.1)
    found = execute(tg.load(content), [x])
    assert [a.dtype for a in found] == [dtype, np.float32, np.float32]
    tolerance = 2e-3 if dtype == np.float16 else 1e-5
    close(found, [(wide - mean) * inverse * wide[0], mean, inverse], tolerance, "outputs")


@pytest.mark.parametrize("shape", [(3,), (1, 3), (4, 1), (2, 1, 3), (2, 4, 3), (1,)])
@pytest.mark.parametrize("op_type", ["LayerNormalization", "RMSNormalization"])
def test_scales_that_broadcast(op_type: str, shape: tuple[int, ...]) -> None:
    scale = RNG.standard_normal(shape).astype(np.float32)
    centred = FOUR - FOUR.mean((1, 2), keepdims=True) * (op_type == "LayerNormalization")
    wanted = centred / np.sqrt((centred * centred).mean((1, 2), keepdims=True) + 0.1) * scale
    loaded = tg.load(model(op_type, [FOUR, scale], 23, axis=1, epsilon=0.1))
    close(execute(loaded, [FOUR]), [wanted], 1e-6, op_type)


@pytest.mark.parametrize("axes", [None, [1], [-1, 0]])
def test_mean_variance_normalization(axes: Any) -> None:
    content = model("MeanVarianceNormalization", [X], 13, **({"axes": axes} if axes else {}))
    wanted = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x0": X})
    close(execute(tg.load(content), [X]), wanted, 1e-6, "onnx.reference")


def test_squares_of_half_precision_do_not_overflow_as_onnx_either() -> None:
    x, gamma = (1000 * FOUR).astype(np.float16), V.astype(np.float16)
    graph = tg.trace(lambda x, gamma: ops.rms_norm(x, gamma), tg.Spec(x.shape, "float16"), tg.Spec((3,), "float16"))
    file = io.BytesIO()
    tg.save(graph, file)
    wide = x.astype(np.float64)
    wanted = wide / np.sqrt((wide * wide).mean(-1, keepdims=True) + 1e-5) * V
    close([ops.rms_norm(x, gamma)], [wanted], 2e-3, "kernel")
    results = ReferenceEvaluator(onnx.load_from_string(file.getvalue())).run(None, {"x": x, "gamma": gamma})
    close([np.asarray(r) for r in results], [wanted], 2e-3, "as ONNX")

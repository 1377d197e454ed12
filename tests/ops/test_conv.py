"""Convolutions and matrix products: what is refused, forms of padding, open sizes, ONNX's variants."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tinygraph import ops
from tinygraph.autodiff import gradients
from tinygraph.build import infer
from tinygraph.ir import TensorType
from tinygraph.nn import functional as F
from tinygraph.ops.conv import Conv, ConvWeightGrad
from tinygraph.ops.conv_transpose import ConvTranspose


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


X, W, B = zeros(1, 4, 5, 6), zeros(8, 4, 3, 3), zeros(8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.conv2d(X, zeros(8, 3, 3, 3)), "the weight reads 3 channels in each of 1 groups, the input has 4"),
        (lambda: ops.conv2d(X, W, groups=3), "3 groups do not divide the input channels, 4"),
        (lambda: ops.conv2d(X, zeros(7, 2, 3, 3), groups=2), "2 groups do not divide the output channels, 7"),
        (lambda: ops.conv2d(X, W, groups=0), "groups must be a whole number >= 1, got 0"),
        (lambda: ops.conv2d(X, W, zeros(4)), r"the bias is f32\[4\], want one number for each of 8 output channels"),
        (lambda: ops.conv2d(X, W, zeros(8, 1)), r"the bias is f32\[8,1\]"),
        (lambda: ops.conv2d(X, W, stride=0), "stride must be a whole number >= 1, got 0"),
        (lambda: ops.conv2d(X, W, dilation=-1), "dilation must be a whole number >= 1, got -1"),
        (lambda: ops.conv2d(X, W, padding=-1), "padding must be a whole number >= 0, got -1"),
        (lambda: ops.conv2d(X, W, dilation=3), "a window of extent 7 is larger than 5 positions padded by 0 and 0"),
        (lambda: ops.conv2d(X, zeros(8, 4, 0, 3)), "kernel must be a whole number >= 1, got 0"),
        (lambda: ops.conv2d(X[0], W), "the input has 3 axes and the weight 4|a kernel with 2 spatial axes"),
        (lambda: ops.conv1d(X, W), r"1 spatial axes has 3 axes in all, got f32\[8,4,3,3\]"),
        (lambda: ops.conv(X[0, 0], zeros(8, 4)), "with 1 or more spatial axes"),
        (lambda: ops.conv2d(X.astype(int), W.astype(int)), "floating-point"),
        (lambda: ops.conv2d(X, W.astype(np.float64)), "dtypes differ: float32, float64"),
        (lambda: ops.conv_transpose(X, zeros(3, 4, 3, 3)), "the weight reads 3 channels, the input has 4"),
        (lambda: ops.conv_transpose(X, zeros(4, 2, 3, 3), groups=3), "3 groups do not divide"),
        (lambda: ops.conv_transpose(X, zeros(4, 2, 3, 3), zeros(3)), "each of 2 output channels"),
        (lambda: ops.conv_transpose(X, W[:4], stride=2, output_padding=2), "must be below the stride, 2"),
        (lambda: ops.conv_transpose(X, W[:4], padding="same"), "give numbers"),
        (lambda: ops.conv_transpose(X, W[:4], padding=4), "-1 is not a dimension|would not take output_size"),
        (lambda: F.conv_transpose3d(X, W), "3 spatial axes"),
        (lambda: ops.linear(X, zeros(2, 5)), "the weight reads 5 features, the input has 6"),
        (lambda: ops.linear(X, zeros(2, 6, 1)), r"a weight \[out, in\]"),
        (lambda: ops.linear(X, zeros(2, 6), zeros(6)), r"the bias is f32\[6\], want one number for each of 2 units"),
        (lambda: ops.matmul(zeros(2, 3), zeros(2, 3)), "rows of 3 meet columns of 2"),
        (lambda: ops.matmul(zeros(2, 1, 3), zeros(3, 3, 1)), "stacks of 2 and 3 matrices do not broadcast"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_numbers(call: Any, message: str) -> None:
    with pytest.raises(tg.ShapeError, match=message):
        call()


@pytest.mark.parametrize(
    ("op", "types", "message"),
    [
        (Conv(stride=(1,)), (X, W), "stride .* 1 entries for 2 spatial axes"),
        (Conv(padding=((1, 1),)), (X, W), "padding .* a .front, behind. pair for each of 2 spatial axes"),
        (Conv(padding=(1, 1)), (X, W), "padding 1 must have an entry for each axis"),  # type: ignore[arg-type]
        (Conv(stride=2), (X, W), "stride 2 must have an entry for each axis"),  # type: ignore[arg-type]
        (Conv(padding=((-1, 3), (0, 0))), (X, W), "padding must be a whole number >= 0, got -1"),
        (ConvTranspose(output_size=(6, 8)), (X, W[:4]), r"would not take output_size \(6, 8\) to the input's \(5, 6\)"),
        (ConvTranspose(output_size=(7,)), (X, W[:4]), "would not take output_size"),
        (
            ConvWeightGrad(kernel_size=(3, 3)),
            (X, zeros(1, 2, 3, 3)),
            r"makes \(3, 4\) positions, .* has others",
        ),
        (ConvWeightGrad(kernel_size=(3, 3)), (X, zeros(2, 2, 3, 4)), "has others"),
    ],
)
def test_attributes_that_come_from_a_text_or_file_are_checked_too(op: Any, types: Any, message: str) -> None:
    with pytest.raises(tg.ShapeError, match=message):
        infer(op, [TensorType(a.shape, a.dtype) for a in types])


def test_an_error_names_the_op_and_the_types() -> None:
    with pytest.raises(tg.ShapeError, match=r"^conv: .* \(inputs: f32\[1,4,5,6\], f32\[8,4,3,3\], f32\[3\]\)$"):
        ops.conv2d(X, W, zeros(3))


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_keeps_the_size_and_puts_the_odd_zero_behind(kernel: int, dilation: int) -> None:
    x, w = rng().standard_normal((1, 1, 9)), np.ones((1, 1, kernel))
    total = dilation * (kernel - 1)
    wide = np.pad(x[0, 0], (total // 2, total - total // 2))
    wanted = [sum(wide[i + t * dilation] for t in range(kernel)) for i in range(9)]
    np.testing.assert_allclose(ops.conv1d(x, w, padding="same", dilation=dilation)[0, 0], wanted, atol=1e-12)


def test_open_sizes_pass_where_they_are_kept() -> None:
    def forward(x: Any) -> Any:
        y = ops.conv2d(x, np.ones((4, 2, 3, 3), np.float32), padding="same", groups=2)
        return ops.conv_transpose(y, np.ones((4, 3, 3, 3), np.float32), padding=1)

    graph = tg.trace(forward, tg.Spec(("N", 4, "H", "W")))
    assert graph.outputs[0][1].type == TensorType(("N", 3, "H", "W"))  # type: ignore[arg-type]
    assert graph.bind(N=2, H=7, W=9).outputs[0][1].type.shape == (2, 3, 7, 9)
    with pytest.raises(tg.ShapeError, match="depends on H"):
        tg.trace(lambda x: ops.conv2d(x, np.ones((4, 4, 3, 3), np.float32), stride=2), tg.Spec(("N", 4, "H", 8)))
    with pytest.raises(tg.ShapeError, match="the input channels is the open C"):
        tg.trace(lambda x: ops.conv2d(x, np.ones((4, 4, 3, 3), np.float32)), tg.Spec((1, "C", 8, 8)))


def test_linear_and_matmul_of_open_sizes() -> None:
    graph = tg.trace(lambda x: ops.linear(x, zeros(5, 4), zeros(5)), tg.Spec(("N", "T", 4)))
    assert graph.outputs[0][1].type == TensorType(("N", "T", 5))  # type: ignore[arg-type]
    graph = tg.trace(ops.matmul, tg.Spec(("N", 1, "T", 4)), tg.Spec((3, 4, "S")))
    assert graph.outputs[0][1].type == TensorType(("N", 3, "T", "S"))  # type: ignore[arg-type]


def test_gradients_of_open_sizes_are_those_of_bound_ones() -> None:
    def loss(x: Any) -> Any:
        y = ops.conv1d(x, np.ones((4, 2, 3)), np.ones(4), padding=1)
        return ops.sum(ops.tanh(ops.linear(y, np.full((3, 5), 0.1), np.ones(3))))

    x = rng().standard_normal((2, 2, 5))
    opened = tg.trace(loss, tg.Spec(("N", 2, 5), np.float64, "x"))
    weights = ["x", *(v.name for v in opened.data)]
    graph = gradients(opened, wrt=weights)
    found = tg.compile(graph, passes="none")(x)
    wanted = tg.compile(gradients(opened.bind(N=2), wrt=weights), passes="none")(x)
    assert len(found) == 6
    for name, array in found.items():
        np.testing.assert_allclose(array, wanted[name], atol=1e-12)


def test_matmul_of_vectors_is_numpys() -> None:
    a, b = rng().standard_normal((2, 3, 4)), rng().standard_normal(4)
    np.testing.assert_allclose(ops.matmul(a, b), a @ b)
    np.testing.assert_allclose(ops.matmul(b, a.swapaxes(1, 2)), b @ a.swapaxes(1, 2))
    np.testing.assert_allclose(ops.matmul(b, b), b @ b)
    assert tg.trace(lambda x: np.ones(4) @ x, tg.Spec((4, 2), np.float64)).outputs[0][1].type.shape == (2,)


def test_transposed_convolution_counts_on_its_input_positions() -> None:
    types = [TensorType((1, 3, 2, 2)), TensorType((3, 1, 2, 2)), TensorType((1,))]
    op = ConvTranspose((2, 2), output_size=(4, 4))
    outputs = infer(op, types)
    assert op.macs(types, outputs) == 48
    assert op.flops(types, outputs) == 2 * 48 + 16


def test_costs_are_python_integers_beyond_32_bits() -> None:
    types = [TensorType((64, 512, 512, 512)), TensorType((512, 512, 3, 3))]
    op = Conv(padding=((1, 1), (1, 1)))
    macs = op.macs(types, infer(op, types))
    assert type(macs) is int
    assert macs == 64 * 512**4 * 9


# ---- ONNX --------------------------------------------------------------------------------------


def model(op_type: str, shapes: list[tuple[int, ...]], **attributes: Any) -> onnx.ModelProto:
    """One node between inputs and an output."""
    names = ["x", "w", "b"][: len(shapes)]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes, strict=True)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(op_type, names, ["y"], **attributes)], "g", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def agree(model: onnx.ModelProto, wanted: np.ndarray | None = None) -> None:
    """The loaded graph computes what onnx.reference does, or what is wanted."""
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    feeds = {name: rng().standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    graph = tg.load(model.SerializeToString())
    found = tg.compile(graph, passes="none")(**feeds)
    if wanted is None:
        wanted = ReferenceEvaluator(model).run(None, feeds)[0]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("automatic", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
def test_conv_with_auto_pad(automatic: str, strides: list[int]) -> None:
    agree(model("Conv", [(2, 3, 7, 8), (4, 3, 2, 3)], auto_pad=automatic, strides=strides))


def test_conv_of_onnx_with_everything() -> None:
    shapes = [(2, 4, 7, 8), (6, 2, 3, 2), (6,)]
    agree(model("Conv", shapes, pads=[1, 0, 2, 3], strides=[2, 1], dilations=[1, 2], group=2, kernel_shape=[3, 2]))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 3], "pads": [1, 0, 1, 2], "output_padding": [1, 2]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"strides": [2, 2], "auto_pad": "VALID"},
        {"dilations": [2, 1], "pads": [1, 1, 1, 1]},
    ],
    ids=str,
)
def test_conv_transpose_of_onnx(attributes: dict[str, Any]) -> None:
    agree(model("ConvTranspose", [(2, 3, 3, 4), (3, 2, 3, 3), (2,)], **attributes))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"output_shape": [9, 8]}, {"pads": [0, 1, 0, 0]}),
        ({"output_shape": [8, 7], "auto_pad": "SAME_LOWER"}, {"pads": [1, 1, 0, 1]}),
        ({"output_shape": [8, 7], "auto_pad": "SAME_UPPER"}, {"pads": [0, 1, 1, 1]}),
        ({"output_shape": [10, 9]}, {"output_padding": [1, 0]}),
        ({"output_shape": [1, 2, 9, 8]}, {"pads": [0, 1, 0, 0]}),
        ({"output_shape": [10, 8], "output_padding": [2, 0]}, {"pads": [1, 1, 0, 0], "output_padding": [2, 0]}),
    ],
    ids=str,
)
def test_conv_transpose_of_onnx_with_the_size_of_its_output(said: dict[str, Any], meant: dict[str, Any]) -> None:
    graphs = [
        tg.load(model("ConvTranspose", [(1, 3, 3, 4), (3, 2, 3, 3)], strides=[3, 2], **a).SerializeToString())
        for a in (said, meant)
    ]
    assert graphs[0].nodes[0].op == graphs[1].nodes[0].op


def test_conv_transpose_of_onnx_whose_output_is_larger_than_its_windows() -> None:
    found = tg.load(
        model("ConvTranspose", [(1, 1, 2, 2), (1, 1, 1, 1)], strides=[2, 2], output_shape=[4, 4]).SerializeToString()
    )
    assert found.outputs[0][1].type.shape == (1, 1, 4, 4)
    y = tg.compile(found, passes="none")(np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 1, 1), np.float32))
    np.testing.assert_array_equal(y[0, 0], [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("scales", [{}, {"alpha": 0.5}, {"beta": 2.0}, {"alpha": -1.0, "beta": 0.5}], ids=str)
@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (2, 1), (2, 5), (1,), ()], ids=str)
def test_gemm(scales: dict[str, float], transposed: tuple[int, int], bias: tuple[int, ...] | None) -> None:
    shapes: list[tuple[int, ...]] = [(3, 2) if transposed[0] else (2, 3), (5, 3) if transposed[1] else (3, 5)]
    shapes += [] if bias is None else [bias]
    agree(model("Gemm", shapes, transA=transposed[0], transB=transposed[1], **scales))


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_with_a_vector_is_a_linear_layer(transposed: int) -> None:
    graph = tg.load(
        model("Gemm", [(2, 3), (5, 3) if transposed else (3, 5), (5,)], transB=transposed).SerializeToString()
    )
    assert [n.op.name for n in graph.nodes] == ([] if transposed else ["transpose"]) + ["linear"]


@pytest.mark.parametrize("shapes", [[(2, 3), (3, 4)], [(2, 1, 2, 3), (4, 3, 2)], [(3,), (3, 2)], [(4, 2, 3), (3,)]])
def test_matmul_of_onnx(shapes: list[tuple[int, ...]]) -> None:
    agree(model("MatMul", shapes))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"auto_pad": "SAME"}, "auto_pad is 'SAME'"),
        ({"pads": [1, 1]}, "2 numbers for each of 2 spatial axes"),
        ({"kernel_shape": [5, 5]}, "kernel_shape"),
        ({"strides": [0, 1]}, "stride must be a whole number >= 1, got 0"),
        ({"dilations": [1, -1]}, "dilation must be a whole number >= 1, got -1"),
        ({"group": 0}, "groups must be a whole number >= 1, got 0"),
    ],
    ids=str,
)
def test_a_damaged_conv_is_a_model_format_error(attributes: dict[str, Any], message: str) -> None:
    for op_type in ("Conv", "ConvTranspose"):
        with pytest.raises(tg.ModelFormatError, match=message):
            tg.load(model(op_type, [(1, 2, 5, 5), (2, 2, 3, 3)], **attributes).SerializeToString())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ((1, 2, 2, 5), "a window of extent 3 is larger than 2 positions"),
        ((1, 4, 5, 5), "the weight reads 2 channels in each of 1 groups, the input has 4"),
        ((1, 2, 5), "the input has 3 axes and the weight 4|a kernel with 2 spatial axes"),
    ],
)
def test_a_conv_that_does_not_fit_its_input_is_a_model_format_error(x: tuple[int, ...], message: str) -> None:
    with pytest.raises(tg.ModelFormatError, match=message):
        tg.load(model("Conv", [x, (3, 2, 3, 3)]).SerializeToString())


def test_no_memory_is_reserved_for_the_padding_of_a_weight() -> None:
    """As the widely dilated convolutions of DeepLab have them: few places, many channels."""
    x, w = TensorType((1, 8, 4, 4)), TensorType((64, 8, 3, 3))
    graph = tg.trace(lambda x, w: ops.conv2d(x, w, padding=4, dilation=4), tg.Spec(x.shape), tg.Spec(w.shape))
    (node,) = graph.nodes
    side = 4 + 2 * 4 + 9  # with the padding and one window more
    assert node.op.scratch(node.input_types, node.output_types) == 4 * 64 * (side**2 - 4**2)

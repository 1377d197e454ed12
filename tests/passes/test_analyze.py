"""analyze: counted by hand, in Python integers, from types alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.build import Builder
from tinygraph.errors import ShapeError, UsageError
from tinygraph.ir import Graph, TensorType
from tinygraph.ops import avg_pool, batch_norm_train, conv, conv_transpose, linear, max_pool, pad, relu
from tinygraph.ops.arithmetic import Add
from tinygraph.passes.analyze import analyze
from tinygraph.passes.report import Report, Row
from tinygraph.text import parse
from tinygraph.trace import Spec, trace

NET = """
graph inference
input %x: f32[N,3,8,8]
param %conv.weight: f32[4,3,3,3] = kaiming_normal() seed=0 key="w"
frozen %conv.bias: f32[4] = {0, 0, 0, 0}
param %gamma: f32[4] = {1, 1, 1, 1}
param %spare: f32[5] = {1, 1, 1, 1, 1}
buffer %mean: f32[4] = {1, 1, 1, 1}
buffer %count: i64[] = {3}
const %two: f32[] = {2}
%conv: f32[N,4,8,8] = conv(%x, %conv.weight, %conv.bias, padding=((1, 1), (1, 1))) @ stem.conv net.py:1
%bn: f32[N,4,8,8] = batch_norm(%conv, %gamma, %gamma, %mean, %mean) @ stem.bn net.py:1
%flat: f32[N,256] = reshape(%bn, shape=(N, 256)) @ head net.py:2
%y: f32[N,256] = mul(%flat, %two) @ head net.py:3
output "y" = %y
"""


@pytest.fixture
def report() -> Report:
    return analyze(parse(NET), {"N": 7}, model="net")


def test_rows(report: Report) -> None:
    assert [row.name for row in report.rows] == ["conv", "bn", "flat", "y"]
    assert report.rows[0] == Row(
        name="conv",
        module="stem.conv",
        source="net.py:1",
        op="conv",
        input_shapes=((7, 3, 8, 8), (4, 3, 3, 3), (4,)),
        output_shape=(7, 4, 8, 8),
        params=112,
        trainable_params=108,
        macs=7 * 256 * 27,
        flops=7 * 256 * (54 + 1),
        activation_bytes=7 * 256 * 4,
    )
    assert [row.params for row in report.rows] == [112, 4, 0, 0]
    assert [row.flops for row in report.rows[1:]] == [7 * 256 * 2, 0, 7 * 256]
    assert [row.activation_bytes for row in report.rows[1:]] == [7 * 1024, 0, 7 * 1024]


def test_totals(report: Report) -> None:
    totals = report.totals
    assert (totals.params, totals.trainable_params, totals.buffers) == (121, 117, 5)
    assert totals.macs == 7 * 256 * 27
    assert totals.flops == 7 * 256 * (55 + 2 + 1)
    assert totals.activation_bytes == 3 * 7 * 1024
    assert totals.peak_bytes == 2 * 7 * 1024  # conv and bn; then flat, which is bn, and y


def test_json_has_the_published_schema(report: Report) -> None:
    told = json.loads(report.to_json())
    assert told == report.to_dict() | {"rows": told["rows"]}
    assert list(told) == ["schema", "model", "inputs", "totals", "rows", "diagnostics"]
    assert told["schema"] == 1
    assert told["model"] == "net"
    assert told["inputs"] == [{"name": "x", "shape": [7, 3, 8, 8], "dtype": "f32"}]
    assert list(told["totals"]) == [
        "params", "trainable_params", "buffers", "macs", "flops", "activation_bytes", "peak_bytes"
    ]  # fmt: skip
    assert told["rows"][0]["input_shapes"] == [[7, 3, 8, 8], [4, 3, 3, 3], [4]]
    assert all(type(n) is int for n in told["totals"].values())


def test_open_dimensions_count_as_one_and_the_report_says_so() -> None:
    report = analyze(parse(NET))
    assert report.totals.macs == 256 * 27
    assert report.inputs == (("x", TensorType((1, 3, 8, 8))),)
    assert [d for d in report.diagnostics if "N = 1" in d]
    assert not [d for d in analyze(parse(NET), {"N": 1}).diagnostics if "N = 1" in d]
    with pytest.raises(UsageError, match="no dimension is named M"):
        analyze(parse(NET), {"M": 1})
    with pytest.raises(ShapeError):
        analyze(parse(NET), {"N": -1})


def test_unread_parameters_are_counted_and_told(report: Report) -> None:
    assert report.diagnostics == ("1 parameters (5 numbers) are read by no node; the first is spare",)


def test_no_numbers_are_made() -> None:
    graph = parse(NET)
    analyze(graph)
    assert not [v for v, data in graph.data.items() if "_made" in getattr(data, "__dict__", {})]


# ---- counting -------------------------------------------------------------------------------


def totals(fn: Callable[..., Any], *shapes: tuple[int, ...]) -> Any:
    return analyze(trace(fn, *map(Spec, shapes))).totals


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_transposed_convolutions_count_at_their_input() -> None:
    assert totals(lambda x: conv_transpose(x, zeros(3, 1, 2, 2), stride=2), (1, 3, 2, 2)).macs == 48
    assert (
        totals(lambda x: conv_transpose(x, zeros(4, 3, 3, 3), stride=2, groups=2), (2, 4, 5, 5)).macs == 2 * 25 * 4 * 27
    )


def test_grouped_dilated_1d_and_3d_convolutions() -> None:
    assert totals(lambda x: conv(x, zeros(4, 1, 3, 3), groups=4), (1, 4, 5, 5)).macs == 4 * 9 * 9
    assert totals(lambda x: conv(x, zeros(6, 2, 3, 3), groups=2, dilation=2), (1, 4, 5, 5)).macs == 6 * 18
    assert totals(lambda x: conv(x, zeros(2, 3, 5)), (1, 3, 9)).macs == 5 * 2 * 15
    assert totals(lambda x: conv(x, zeros(2, 3, 2, 2, 2)), (1, 3, 4, 4, 4)).macs == 27 * 2 * 24


def test_padding_taps_are_counted() -> None:
    assert totals(lambda x: conv(x, zeros(1, 1, 3, 3), padding=1), (1, 1, 1, 1)).macs == 9


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_linear_at_any_batch_and_on_more_axes(batch: int) -> None:
    w, b = zeros(5, 3), zeros(5)
    assert totals(lambda x: linear(x, w, b), (batch, 3)).macs == batch * 15
    assert totals(lambda x: linear(x, w, b), (batch, 4, 3)).macs == batch * 60
    assert totals(lambda x: linear(x, w, b), (batch, 4, 3)).flops == batch * 4 * (30 + 5)


def test_shared_weights_count_once_and_their_macs_at_each_use() -> None:
    report = analyze(
        parse("""
        graph inference
        input %x: f32[1,2]
        param %w: f32[2,2] = {1, 2, 3, 4}
        %a: f32[1,2] = linear(%x, %w)
        %b: f32[1,2] = linear(%a, %w)
        %y: f32[2,2] = mul(%w, %w)
        output "b" = %b
        output "y" = %y
        """)
    )
    assert [row.params for row in report.rows] == [4, 0, 0]
    assert (report.totals.params, report.totals.macs) == (4, 8)
    assert report.totals.flops == 2 * 8 + 4


def test_a_module_called_twice_has_its_parameters_once_and_its_macs_twice() -> None:
    layer = nn.Conv2d(2, 2, 3, padding=1)
    counted = totals(lambda x: layer(relu(layer(x))), (1, 2, 5, 5))
    assert (counted.params, counted.macs) == (2 * (2 * 9 + 1), 2 * 25 * 2 * 18)


def test_a_square_is_one_operation_per_element() -> None:
    assert totals(lambda x: x * x, (3, 4)).flops == 12


def test_all_outputs_of_a_node_are_activations() -> None:
    graph = trace(batch_norm_train, Spec((4, 3)), Spec((3,)), Spec((3,)), mode="training")
    (row,) = analyze(graph).rows
    assert row.output_shape == (4, 3)
    assert row.activation_bytes == (12 + 3 + 3) * 4


def test_counts_are_python_integers_beyond_32_and_64_bits() -> None:
    build = Builder()
    x = build.input("x", TensorType((2**40, 2**40)))
    (y,) = build.emit(Add(), [x, x])
    counted = analyze(build.finish([("y", y)])).totals
    assert counted.flops == 2**80
    assert counted.peak_bytes == 2**83
    assert all(type(getattr(counted, name)) is int for name in counted.__slots__)


# ---- memory ----------------------------------------------------------------------------------


def peak(text: str) -> int:
    return analyze(parse("graph inference\n" + text)).totals.peak_bytes


def test_peak_frees_each_array_after_its_last_reader() -> None:
    chain = "input %x: f32[4]\n%a: f32[4] = relu(%x)\n%b: f32[4] = relu(%a)\n%c: f32[4] = relu(%b)\n"
    assert peak(chain + 'output "y" = %c') == 32
    assert peak(chain + 'output "y" = %c\noutput "a" = %a') == 48
    skip = "%d: f32[4] = add(%c, %x)\n"
    assert peak(chain + skip + 'output "y" = %d') == 48


def test_peak_counts_inputs_that_nobody_reads_before_the_first_node() -> None:
    text = "input %x: f32[4]\ninput %big: f32[100]\n%y: f32[4] = relu(%x)\n"
    assert peak(text + 'output "y" = %y') == 416
    assert peak(text + 'output "y" = %y\noutput "big" = %big') == 432


def test_a_view_keeps_its_array_alive_and_takes_nothing() -> None:
    text = """
    input %x: f32[4]
    %a: f32[4] = relu(%x)
    %v: f32[2,2] = reshape(%a, shape=(2, 2))
    %w: f32[2,2] = transpose(%v, axes=(1, 0))
    %b: f32[4] = exp(%x)
    %c: f32[4] = exp(%b)
    %d: f32[2,2] = relu(%w)
    output "c" = %c
    output "d" = %d
    """
    assert peak(text) == 48
    assert analyze(parse("graph inference\n" + text)).totals.activation_bytes == 64
    assert peak('input %x: f32[4]\n%v: f32[2,2] = reshape(%x, shape=(2, 2))\noutput "y" = %v') == 16


def test_a_graph_without_nodes() -> None:
    report = analyze(parse('graph inference\ninput %x: f32[4]\noutput "y" = %x'))
    assert report.rows == ()
    assert report.totals.peak_bytes == 16


# ---- diagnostics -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fn", "told"),
    [
        (lambda x: conv(x, zeros(1, 1, 5, 5), padding=2), True),
        (lambda x: conv(x, zeros(1, 1, 3, 3), padding=2, dilation=2), True),
        (lambda x: max_pool(x, 4, 1, padding=2), True),
        (lambda x: avg_pool(x, 4, 1, padding=2), True),
        (lambda x: conv(x, zeros(1, 1, 3, 3), padding=1), False),
        (lambda x: max_pool(x, 3, 1, padding=1), False),
        (lambda x: conv(pad(x, ((0, 0), (0, 0), (2, 2), (2, 2))), zeros(1, 1, 5, 5)), False),
    ],
)
def test_windows_larger_than_the_image_are_told(fn: Callable[[Any], Any], told: bool) -> None:
    diagnostics = analyze(trace(fn, Spec((1, 1, 3, 3)))).diagnostics
    assert len(diagnostics) == told
    assert not told or "window is larger than the input" in diagnostics[0]


def test_many_such_windows_make_one_line() -> None:
    w = zeros(1, 1, 3, 3)
    graph = trace(lambda x: max_pool(conv(conv(x, w, padding=1), w, padding=1), 3, padding=1), Spec((1, 1, 2, 2)))
    (line,) = analyze(graph).diagnostics
    assert line.startswith("2 conv, 1 max_pool: ")
    assert "conv on f32[1,1,2,2]" in line


# ---- groups ------------------------------------------------------------------------------------


def test_rows_add_up_by_module(report: Report) -> None:
    stem, head = report.by_module(1)
    assert (stem.name, stem.module, stem.op) == ("stem", "stem", "")
    assert stem.params == 116
    assert stem.flops == 7 * 256 * 57
    assert stem.output_shape == (7, 4, 8, 8)
    assert (head.output_shape, head.activation_bytes) == ((7, 256), 7 * 1024)
    assert [row.name for row in report.by_module(2)] == ["conv", "bn", "head"]
    (whole,) = report.by_module(0)
    assert whole.params == report.totals.params - 5
    for depth in range(4):
        rows = report.by_module(depth)
        for field in ("macs", "flops", "activation_bytes"):
            assert sum(getattr(row, field) for row in rows) == getattr(report.totals, field)


def test_nodes_outside_of_modules_keep_rows_of_their_own() -> None:
    report = analyze(trace(lambda x: relu(relu(x)), Spec((2,))))
    assert [row.name for row in report.by_module(1)] == ["relu", "relu.1"]


def test_a_thousand_nodes_take_milliseconds() -> None:
    def chain(x: Any) -> Any:
        for _ in range(500):
            x = relu(conv(x, w, padding=1))
        return x

    w = zeros(2, 2, 3, 3)
    graph: Graph = trace(chain, Spec((1, 2, 8, 8)))
    best = min(_seconds(lambda: analyze(graph)) for _ in range(3))
    assert best < 0.1
    assert tg.analyze is analyze


def _seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start

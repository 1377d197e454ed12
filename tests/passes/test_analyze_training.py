"""analyze_training: both passes counted by hand; the backward pass is no multiple of the forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import tinygraph as tg
from tests.growth import assert_linear
from tests.passes.random_graphs import graphs
from tests.test_autodiff import Opaque
from tinygraph import nn, ops
from tinygraph.autodiff import vjp_graph
from tinygraph.errors import NotDifferentiable, UsageError
from tinygraph.ir import Graph
from tinygraph.ops.base import apply
from tinygraph.passes.analyze import analyze
from tinygraph.passes.analyze_training import analyze_training
from tinygraph.passes.report import Report

SUMS = ("macs", "flops", "activation_bytes")


def traced(net: Any, *shape: int) -> Graph:
    return tg.trace(net, tg.Spec(shape), mode="training")


def split(report: Report) -> dict[str, tuple[int, int, int]]:
    """Forward MACs, those of the input gradient and those of the weight gradient, by rows that have any."""
    rows: Any = report.rows
    return {r.name: (r.forward_macs, r.input_gradient_macs, r.weight_gradient_macs) for r in rows if r.macs}


def model(name: str, frozen: tuple[str, ...] = ()) -> Report:
    net = tg.models.create(name)
    return analyze_training(tg.trace(net, *tg.models.inputs(name), mode="training"), frozen=frozen)


# ---- networks ----


def test_lenet_by_hand() -> None:
    report = model("lenet5")
    assert split(report) == {
        "features.0": (28 * 28 * 6 * 25, 0, 28 * 28 * 6 * 25),
        "features.3": (10 * 10 * 16 * 150,) * 3,
        "classifier.0": (400 * 120,) * 3,
        "classifier.2": (120 * 84,) * 3,
        "classifier.4": (84 * 10,) * 3,
    }
    totals: Any = report.totals
    assert totals.forward_macs == 416_520
    assert totals.weight_gradient_macs == 416_520
    assert totals.input_gradient_macs == 416_520 - 117_600
    assert totals.macs == totals.forward_macs + totals.backward_macs == 3 * 416_520 - 117_600


def test_resnet18_needs_no_gradient_by_the_image() -> None:
    report = model("resnet18")
    found = split(report)
    assert len(found) == 21
    assert found.pop("conv1") == (118_013_952, 0, 118_013_952)
    assert all(forward == inputs == weights for forward, inputs, weights in found.values())
    assert report.totals.macs == 3 * 1_814_073_344 - 118_013_952
    assert (report.totals.params, report.totals.trainable_params) == (11_689_512, 11_689_512)


def test_behind_a_frozen_backbone_only_the_head_is_trained() -> None:
    report = model("resnet18", ("conv1.*", "bn1.*", "layer*"))
    totals: Any = report.totals
    assert {name: s for name, s in split(report).items() if s[1:] != (0, 0)} == {"fc": (512_000, 0, 512_000)}
    assert totals.backward_macs == 512_000
    assert totals.backward_flops == 2 * 512_000  # the gradient of a bias at batch 1 sums nothing
    assert totals.trainable_params == 513_000
    assert totals.kept_bytes == 512 * 4
    assert totals.peak_bytes < model("resnet18").totals.peak_bytes / 4


def test_frozen_weights_behind_trained_ones_pass_the_gradient_on() -> None:
    found = split(model("lenet5", ("features.3.*", "classifier.0.weight")))
    assert found["features.0"] == (117_600, 0, 117_600)
    assert found["features.3"] == (240_000, 240_000, 0)
    assert found["classifier.0"] == (48_000, 48_000, 0)


# ---- layers ----


class Two(nn.Module):
    """A layer that the input gradient stops at, and one that it passes through."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x))


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 5, 5), 2 * 9 * 6 * 18),
        (lambda: nn.Conv2d(4, 4, 3, groups=4, dilation=2), (1, 4, 6, 6), 4 * 4 * 9),
        (lambda: nn.ConvTranspose2d(4, 2, 2, stride=2), (1, 4, 3, 3), 9 * 4 * 8),
        (lambda: nn.Conv1d(4, 3, 3), (2, 4, 7), 2 * 5 * 3 * 12),
        (lambda: nn.Linear(5, 3), (2, 4, 5), 8 * 15),
    ],
)
def test_each_gradient_of_a_product_costs_what_the_product_costs(
    layer: Callable[[], nn.Module], shape: tuple[int, ...], macs: int
) -> None:
    report = analyze_training(traced(Two(nn.PReLU(), layer()), *shape))
    assert split(report) == {"second": (macs, macs, macs)}
    assert split(analyze_training(traced(layer(), *shape))).popitem()[1] == (macs, 0, macs)


def test_a_shared_weight_has_its_gradient_at_each_use() -> None:
    layer = nn.Linear(3, 3)
    report = analyze_training(traced(Two(layer, layer), 2, 3))
    assert list(split(report).values()) == [(18, 0, 18), (18, 18, 18)]
    assert [row.params for row in report.rows] == [12, 0]


def test_flops_of_both_passes() -> None:
    report = analyze_training(traced(Two(nn.Linear(3, 4), nn.ReLU()), 2, 3))
    rows: Any = report.rows
    assert [(r.name, r.forward_flops, r.backward_flops) for r in rows] == [
        ("first", 2 * 24 + 8, 2 * 24 + 4),  # the bias gradient adds two rows
        ("second", 8, 8 + 8),  # a comparison and a choice
    ]


def test_statistics_belong_to_the_row_of_their_batch_norm() -> None:
    graph = traced(Two(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), 2, 1, 4, 4)
    assert len(graph.nodes) > 5
    report = analyze_training(graph)
    assert [row.name for row in report.rows] == ["first", "second"]
    assert [row.output_shape for row in report.by_module(1)] == [(2, 2, 2, 2)] * 2
    assert sum(row.flops for row in report.rows) == report.totals.flops


def test_outputs_of_whole_numbers_have_rows_and_no_backward_pass() -> None:
    layer = nn.Linear(3, 4)
    graph = traced(lambda x: {"scores": layer(x), "best": ops.argmax(layer(x), 1)}, 2, 3)
    rows: Any = analyze_training(graph).rows
    assert [(row.op, row.backward_flops > 0) for row in rows] == [
        ("linear", True),
        ("linear", False),
        ("argmax", False),
    ]


def test_what_a_checkpoint_computes_again_is_backward_and_not_kept() -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Conv2d(2, 2, 3), nn.Tanh(), nn.Flatten())

    plain, again = net(), net()
    kept = [analyze_training(traced(n, 1, 1, 8, 8)).totals for n in (plain, tg.checkpoint(again))]
    first, second = kept
    assert second.forward_macs == first.forward_macs
    assert second.backward_macs > first.backward_macs
    assert second.weight_gradient_macs == first.weight_gradient_macs
    assert second.kept_bytes < first.kept_bytes


# ---- memory ----

CHAIN = """
graph training
input %x: f32[4]
param %w: f32[4] = {1, 2, 3, 4}
%a: f32[4] = mul(%x, %w)
%b: f32[4] = tanh(%a)
%c: f32[4] = tanh(%b)
output "c" = %c
"""


def test_the_backward_pass_keeps_what_it_reads() -> None:
    report = analyze_training(tg.parse(CHAIN))
    rows: Any = report.rows
    assert [(r.name, r.kept_bytes) for r in rows] == [("a", 0), ("b", 16), ("c", 16)]
    # x, the cotangent, b, and c, which is an output; and while c is gone through, y * y and 1 - y * y.
    assert report.totals.peak_bytes == 6 * 16
    assert report.totals.kept_bytes == 32


# ---- the whole ----


def consistent(graph: Graph, report: Report) -> None:
    """The rows add up to the totals, and those are of the graph that autodiff makes."""
    buffers = {v.name for v in graph.data if v.kind == "buffer"}
    derived = analyze(vjp_graph(graph, outputs=[n for n, _ in graph.outputs if n not in buffers])).totals
    rows: Any = report.rows
    totals: Any = report.totals
    for name in (*SUMS, "params", "peak_bytes"):
        assert getattr(totals, name) == getattr(derived, name)
    for name in SUMS:
        assert sum(getattr(row, name) for row in rows) == getattr(totals, name)
    for part in (*rows, totals):
        assert part.macs == part.forward_macs + part.backward_macs
        assert part.backward_macs == part.input_gradient_macs + part.weight_gradient_macs
        assert part.flops == part.forward_flops + part.backward_flops


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "resnet18", "resnet20_cifar", "lenet5_1998", "mlp3"])
def test_rows_add_up_to_the_gradient_graph(name: str) -> None:
    net = tg.models.create(name)
    graph = tg.trace(net, *tg.models.inputs(name), mode="training")
    report = analyze_training(graph)
    consistent(graph, report)
    forward = analyze(graph).totals
    assert (report.totals.forward_macs, report.totals.forward_flops) == (forward.macs, forward.flops)
    for depth in range(3):
        assert sum(row.macs for row in report.by_module(depth)) == report.totals.macs


@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs("training"))
def test_rows_of_random_graphs_add_up(graph: Graph) -> None:
    graph = graph.bind(**dict.fromkeys(graph.symbols, 2))
    if any(v.kind == "param" for v in graph.data):
        consistent(graph, analyze_training(graph))


def test_parameters_that_nobody_reads_are_told_and_cost_nothing() -> None:
    graph = tg.parse(CHAIN.replace("%a:", "param %spare: f32[3] = {1, 2, 3}\n%a:", 1))
    report = analyze_training(graph)
    consistent(graph, report)
    assert report.totals.params == 7
    assert any("spare" in line for line in report.diagnostics)


def test_a_graph_of_inference_is_counted_and_remarked() -> None:
    graph = tg.parse(CHAIN.replace("training", "inference"))
    assert any("stored statistics" in line for line in analyze_training(graph).diagnostics)
    assert analyze_training(tg.parse(CHAIN)).diagnostics == ()


def test_open_dimensions_count_as_one_unless_bound() -> None:
    graph = tg.trace(nn.Linear(3, 4), tg.Spec(("N", 3)), mode="training")
    assert analyze_training(graph).totals.macs == 24
    assert analyze_training(graph, bind={"N": 5}).totals.macs == 120
    assert analyze_training(graph).diagnostics == ("N = 1: no number was given for this open dimension",)


def test_the_graph_that_comes_in_is_left_alone() -> None:
    graph = traced(Two(nn.Linear(3, 3), nn.Linear(3, 2)), 1, 3)
    before = str(graph)
    analyze_training(graph, frozen=["first.*"])
    assert str(graph) == before
    assert not [v for v, data in graph.data.items() if "_made" in getattr(data, "__dict__", {})]


class Classes(nn.Module):
    """Whole numbers."""

    def forward(self, x: Any) -> Any:
        return ops.argmax(x)


class Blind(nn.Module):
    """An op without a gradient."""

    def forward(self, x: Any) -> Any:
        return apply(Opaque(), x)


def test_errors() -> None:
    graph = traced(Two(nn.Linear(3, 3), nn.Linear(3, 2)), 1, 3)
    with pytest.raises(UsageError, match=r"no trainable parameter fits 'third\.\*'; they are first\.weight"):
        analyze_training(graph, frozen=["first.*", "third.*"])
    for everything in (["*"], "*"):
        with pytest.raises(UsageError, match="nothing to train: all parameters are frozen"):
            analyze_training(graph, frozen=everything)
    with pytest.raises(UsageError, match="nothing to train: the network has no trainable parameters"):
        analyze_training(tg.trace(lambda x: x * 2, tg.Spec((1,)), mode="training"))
    with pytest.raises(UsageError, match="no output holds floating-point numbers"):
        analyze_training(traced(Two(nn.Linear(3, 3), Classes()), 1, 3))
    with pytest.raises(NotDifferentiable, match=r"opaque has no gradient: .* at second "):
        analyze_training(traced(Two(nn.Linear(3, 3), Blind()), 1, 3))


def test_a_long_chain_takes_linear_time() -> None:
    def chain(length: int) -> Graph:
        layer = nn.Linear(2, 2)

        def net(x: Any) -> Any:
            for _ in range(length):
                x = ops.exp(x)
            return layer(x)

        return tg.trace(lambda x: net(layer(x)), tg.Spec((1, 2)), mode="training")

    assert_linear(analyze_training, chain(500), chain(2000))

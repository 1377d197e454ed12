"""The runner: order, fixed points, and that it catches passes that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.growth import assert_linear
from tests.passes.checks import leaves, ops
from tinygraph.build import Builder
from tinygraph.errors import UsageError, VerifyError
from tinygraph.ir import Graph, Node, TensorType
from tinygraph.ops.arithmetic import Add
from tinygraph.ops.conv import Conv
from tinygraph.ops.elementwise import Exp, Relu
from tinygraph.ops.norm import BatchNorm
from tinygraph.ops.shape import Reshape
from tinygraph.passes.analyze import analyze
from tinygraph.passes.compare import random_inputs
from tinygraph.passes.pipeline import PASSES, PIPELINES, explain, optimize, steps
from tinygraph.rewrite import Replacement, Rewriter, rewrite
from tinygraph.text import dump, parse

TEXT = """
graph inference
input %x: f32[N,1,2,2]
const %two: f32[] = {2}
param %w: f32[2,1,1,1] = {1, 2}
param %v: f32[2] = {1, 4}
%four: f32[] = mul(%two, %two)
%same: f32[N,1,2,2] = reshape(%x, shape=(N, 1, 2, 2))
%conv: f32[N,2,2,2] = conv(%same, %w)
%bn: f32[N,2,2,2] = batch_norm(%conv, %v, %v, %v, %v, eps=0.0)
%a: f32[N,2,2,2] = relu(%bn)
%b: f32[N,2,2,2] = relu(%bn)
%c: f32[N,2,2,2] = add(%a, %b)
%y: f32[N,2,2,2] = mul(%c, %four)
output "logits" = %y
"""


@pytest.fixture
def graph() -> Graph:
    return parse(TEXT)


def test_the_inference_pipeline(graph: Graph) -> None:
    after = optimize(graph, check=True)
    assert dump(after) == dump(
        parse("""
        graph inference
        input %x: f32[N,1,2,2]
        const %four.folded: f32[] = {4}
        frozen %w.folded: f32[2,1,1,1] = {1, 4}
        frozen %conv.bias.folded: f32[2] = {0, -4}
        %conv: f32[N,2,2,2] = conv(%x, %w.folded, %conv.bias.folded) from conv, bn
        %a: f32[N,2,2,2] = relu(%conv) from a, b
        %c: f32[N,2,2,2] = add(%a, %a)
        %y: f32[N,2,2,2] = mul(%c, %four.folded)
        output "logits" = %y
        """)
    )
    assert dump(graph) == dump(parse(TEXT))
    leaves(optimize, after)
    assert tg.optimize is optimize


def test_none_and_the_empty_list_do_nothing(graph: Graph) -> None:
    assert optimize(graph, "none") is graph
    assert optimize(graph, []) is graph


def test_passes_by_name_and_by_function(graph: Graph) -> None:
    after = optimize(graph, ["cse", PASSES["fold_batch_norm"]])
    assert ops(after) == ["mul", "reshape", "conv", "relu", "add", "mul"]


def test_every_pipeline_is_made_of_known_passes() -> None:
    assert {name for order in PIPELINES.values() for name in order} <= set(PASSES)


def test_unknown_names_are_refused_with_those_that_exist(graph: Graph) -> None:
    with pytest.raises(UsageError, match=r"no pass 'fold_batchnorm'; passes are .*fold_batch_norm"):
        optimize(graph, ["cse", "fold_batchnorm"])
    with pytest.raises(UsageError, match=r"no pipeline 'fast'; take one of none, inference.*cse"):
        optimize(graph, "fast")
    with pytest.raises(UsageError, match="no pass 3"):
        optimize(graph, [3])  # type: ignore[list-item]


def test_explain_tells_what_each_pass_did(graph: Graph) -> None:
    told = explain(graph)
    assert [step.name for step in told][:5] == list(PIPELINES["inference"])
    summaries = {step.name: step.summary for step in told}
    assert summaries["fold_constants"] == "-1 mul"
    assert summaries["simplify"] == "-1 reshape"
    assert summaries["cse"] == "-1 relu"
    assert summaries["fold_batch_norm"] == "-1 batch_norm, -2 param, +2 frozen"
    assert summaries["dead_code"] == "no change"
    assert told[0].before is graph
    assert all(a.after is b.before for a, b in pairwise(told))
    assert dump(told[-1].after) == dump(optimize(graph))
    fold = next(step for step in told if step.name == "fold_batch_norm")
    assert fold.before_totals.macs == fold.after_totals.macs == 8
    assert (fold.before_totals.flops, fold.after_totals.flops) == (16 + 16 + 24, 16 + 8 + 24)
    assert fold.before_totals.activation_bytes - fold.after_totals.activation_bytes == 8 * 4


def test_a_pass_without_work_says_so() -> None:
    (step,) = explain(parse('graph inference\ninput %x: f32[2]\noutput "y" = %x'), ["cse"])
    assert step.summary == "no change"
    assert step.after is step.before


def test_stop_after_bisects_the_pipeline(graph: Graph) -> None:
    told = explain(graph)
    for count in range(len(told) + 1):
        stopped = optimize(graph, stop_after=count)
        assert dump(stopped) == dump(told[count - 1].after if count else graph)


def test_steps_run_one_by_one(graph: Graph) -> None:
    def never(graph: Graph) -> Graph:
        raise AssertionError("the second pass ran though only the first was asked for")

    assert len(list(islice(steps(graph, ["cse", never]), 1))) == 1


def test_the_whole_pipeline_repeats_until_nothing_changes() -> None:
    text = """
    graph inference
    input %x: f32[2,3]
    %a: f32[3,2] = transpose(%x, axes=(1, 0))
    %b: f32[3,2] = transpose(%x, axes=(1, 0))
    %c: f32[2,3] = transpose(%b, axes=(1, 0))
    %d: f32[2,3] = exp(%x)
    %e: f32[2,3] = exp(%c)
    output "a" = %a
    output "d" = %d
    output "e" = %e
    """
    after = optimize(parse(text), ["cse", "simplify"], check=True)
    assert ops(after) == ["transpose", "exp"]


# ---- wrong passes are caught ------------------------------------------------------------


def swap(old: type, new: Callable[[], object]) -> Callable[[Graph], Graph]:
    """A wrong pass: it puts another op in the place of one."""

    def wrong(graph: Graph) -> Graph:
        def rule(node: Node, rw: Rewriter) -> Replacement:
            return rw.emit(new(), *node.inputs) if isinstance(node.op, old) else None  # type: ignore[arg-type]

        return rewrite(graph, rule)

    return wrong


def test_wrong_numbers_are_caught_and_the_pass_is_named(graph: Graph) -> None:
    wrong = swap(Relu, Exp)
    assert optimize(graph, ["cse", wrong]) is not None
    with pytest.raises(VerifyError, match=r"the pass wrong changed the output 'logits': it is off by"):
        optimize(graph, ["cse", wrong], check=True)
    with pytest.raises(VerifyError, match="the pass wrong"):
        optimize(graph, [wrong], check=random_inputs(graph, seed=7))


def test_slightly_wrong_numbers_are_caught() -> None:
    text = 'graph inference\ninput %x: f32[9]\nconst %c: f32[] = {0.1}\n%y: f32[9] = mul(%x, %c)\noutput "y" = %y'

    def inexact(graph: Graph) -> Graph:
        return graph if "0.1001" in dump(graph) else parse(text.replace("0.1", "0.1001"))

    with pytest.raises(VerifyError, match="inexact"):
        optimize(parse(text), [inexact], check=True)


@pytest.mark.parametrize(("old", "new"), [("exp", "relu"), ("log", "exp")])
def test_nan_and_infinity_are_compared_too(old: str, new: str) -> None:
    text = """
    graph inference
    input %x: f32[3]
    %a: f32[3] = log(%x)
    %b: f32[3] = exp(%x)
    output "a" = %a
    output "b" = %b
    """

    def wrong(graph: Graph) -> Graph:
        return graph if old not in dump(graph) else parse(text.replace(f"{old}(", f"{new}("))

    with pytest.raises(VerifyError, match="wrong"):
        optimize(parse(text), [wrong], check={"x": np.float32([np.inf, -1, np.nan])})


def test_other_integers_are_caught() -> None:
    text = 'graph inference\ninput %x: i64[3]\n%y: bool[3] = compare(%x, %x, relation="==")\noutput "y" = %y'

    def wrong(graph: Graph) -> Graph:
        return graph if "<" in dump(graph) else parse(text.replace("==", "<"))

    optimize(parse(text), check=True)
    with pytest.raises(VerifyError, match=r"the pass wrong changed the output 'y': at \(0,\) it is False"):
        optimize(parse(text), [wrong], check=True)


def test_a_broken_graph_is_caught_and_the_pass_is_named(graph: Graph) -> None:
    def breaks(graph: Graph) -> Graph:
        return replace(graph, nodes=graph.nodes[::-1])

    with pytest.raises(VerifyError, match=r"the pass breaks broke the graph: .*before it is defined"):
        optimize(graph, [breaks])


def test_a_replacement_of_another_type_is_caught(graph: Graph) -> None:
    def retypes(graph: Graph) -> Graph:
        return rewrite(graph, lambda node, rw: node.inputs[0] if node.op.name == "conv" else None)

    with pytest.raises(VerifyError, match="the pass retypes broke the graph"):
        optimize(graph, [retypes])


@pytest.mark.parametrize(
    ("old", "new"),
    [('"logits"', '"probabilities"'), ("%x", "%image"), ("graph inference", "graph training"), ("N", "M")],
)
def test_a_changed_interface_is_caught(graph: Graph, old: str, new: str) -> None:
    def renames(graph: Graph) -> Graph:
        return parse(TEXT.replace(old, new))

    with pytest.raises(VerifyError, match="the pass renames broke the graph: the interface was"):
        optimize(graph, [renames])


def test_a_pass_that_never_rests_is_named(graph: Graph) -> None:
    def restless(graph: Graph) -> Graph:
        return replace(graph)

    with pytest.raises(VerifyError, match=r"the pass restless still changes the graph after \d+ sweeps"):
        optimize(graph, [restless])


def test_passes_that_undo_each_other_are_named(graph: Graph) -> None:
    def there(graph: Graph) -> Graph:
        return graph if ops(graph)[-1] == "exp" else parse(CALM.replace("relu", "exp"))

    def back(graph: Graph) -> Graph:
        return graph if ops(graph)[-1] == "relu" else parse(CALM)

    with pytest.raises(VerifyError, match="the passes there, back undo each other's work"):
        optimize(parse(CALM), [there, back])


CALM = 'graph inference\ninput %x: f32[2]\n%y: f32[2] = relu(%x)\noutput "y" = %y'

# ---- the environment -----------------------------------------------------------------------


def test_debug_reports_on_stderr(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    optimize(graph)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TINYGRAPH_DEBUG", "1")
    optimize(graph)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()][:5] == list(PIPELINES["inference"])
    assert "8 -> 7 nodes" in err
    assert "--- before" not in err
    monkeypatch.setenv("TINYGRAPH_DEBUG", "2")
    optimize(graph)
    assert "\n-%bn: f32[N,2,2,2] = batch_norm(" in capsys.readouterr().err


def test_dumps_are_numbered(graph: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINYGRAPH_DUMP", str(tmp_path / "dumps"))
    after = optimize(graph, ["cse", "fold_batch_norm"])
    files = sorted((tmp_path / "dumps").iterdir())
    assert [f.name for f in files][:3] == ["00-before.txt", "01-cse.txt", "02-fold_batch_norm.txt"]
    assert files[0].read_text() == dump(graph)
    assert files[2].read_text() == dump(after)


# ---- long graphs ----------------------------------------------------------------------------


def long_chain(blocks: int) -> Graph:
    """conv, bn, relu, add of a constant sum, two reshapes; again and again."""
    build = Builder()
    x = build.input("x", TensorType((1, 1, 1, 2)))
    w = build.declare("param", "w", np.ones((1, 1, 1, 1), np.float32))
    v = [build.declare("param", name, np.ones(1, np.float32)) for name in ("gamma", "beta", "mean", "var")]
    total = build.const(np.zeros((), np.float32))
    for _ in range(blocks):
        (x,) = build.emit(Conv(), [x, w])
        (x,) = build.emit(BatchNorm(), [x, *v])
        (x,) = build.emit(Relu(), [x])
        (x,) = build.emit(Reshape((1, 1, 2, 1)), [x])
        (x,) = build.emit(Reshape((1, 1, 1, 2)), [x])
    (total,) = build.emit(Add(), [total, total])
    (x,) = build.emit(Add(), [x, total])
    return build.finish([("y", x)])


def chain_of(op: Callable[[int], object], length: int) -> Graph:
    build = Builder()
    x = build.input("x", TensorType((1, 2, 1, 3)))
    for i in range(length):
        (x,) = build.emit(op(i), [x])  # type: ignore[arg-type]
    return build.finish([("y", x)])


def test_twenty_thousand_nodes_take_linear_time() -> None:
    short, long = long_chain(1_000), long_chain(4_000)
    assert len(long.nodes) > 20_000
    for function in (optimize, analyze):
        assert_linear(function, short, long)


def test_long_chains_settle_in_few_sweeps() -> None:
    assert ops(optimize(long_chain(500))) == ["conv", "relu"] * 500 + ["add"]
    assert ops(optimize(chain_of(lambda i: Reshape((2, 3) if i % 2 else (3, 2)), 5_000))) == ["reshape"]
    build = Builder()
    x = build.input("x", TensorType((1, 1, 1, 2)))
    v = [build.declare("param", name, np.ones(1, np.float32)) for name in ("gamma", "beta", "mean", "var")]
    (y,) = build.emit(Conv(), [x, build.const(np.ones((1, 1, 1, 1), np.float32))])
    for _ in range(5_000):
        (y,) = build.emit(BatchNorm(), [y, *v])
    assert ops(optimize(build.finish([("y", y)]))) == ["conv"]

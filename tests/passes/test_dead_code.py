"""dead_code: unread data goes, the interface stays."""

from __future__ import annotations

from dataclasses import replace

from tests.passes.checks import apply, leaves, ops, turns
from tinygraph.ir import Graph
from tinygraph.passes.dead_code import dead_code
from tinygraph.text import parse

BEFORE = """
graph inference
input %x: f32[2]
input %unused: i64[3]
param %w: f32[2] = {1, 2}
param %unread: f32[2] = {1, 2}
buffer %count: i64[] = {7}
%y: f32[2] = mul(%x, %w)
output "first" = %y
output "same" = %y
output "x" = %x
output "w" = %w
"""


def test_unread_parameters_and_buffers_go_and_the_interface_stays() -> None:
    after = """
    graph inference
    input %x: f32[2]
    input %unused: i64[3]
    param %w: f32[2] = {1, 2}
    %y: f32[2] = mul(%x, %w)
    output "first" = %y
    output "same" = %y
    output "x" = %x
    output "w" = %w
    """
    turns(dead_code, BEFORE, after)


def test_a_training_graph_keeps_its_parameters() -> None:
    leaves(dead_code, BEFORE.replace("inference", "training"))


def test_nodes_that_no_output_needs_go() -> None:
    live = parse(BEFORE)
    longer = parse(BEFORE.replace('output "first"', '%z: f32[2] = relu(%y)\noutput "z" = %z\noutput "first"'))
    dangling = replace(longer, outputs=longer.outputs[1:])
    assert ops(dangling) == ["mul", "relu"]
    assert ops(apply(dead_code, dangling)) == ops(live) == ["mul"]


def test_a_graph_without_nodes_is_left_alone() -> None:
    leaves(dead_code, 'graph inference\ninput %x: f32[2]\noutput "y" = %x')
    assert isinstance(dead_code(parse('graph inference\ninput %x: f32[2]\noutput "y" = %x')), Graph)

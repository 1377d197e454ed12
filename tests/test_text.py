"""Dumps: what is printed parses back to an equal graph, and nothing else is taken for a dump."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.autodiff import gradients
from tinygraph.build import Builder
from tinygraph.errors import ModelFormatError
from tinygraph.ir import Array, Graph, Symbol, TensorType, Where
from tinygraph.nn.init import INITIALIZERS, Constant, KaimingNormal, Normal, Seeded, Uniform
from tinygraph.ops.arithmetic import Add
from tinygraph.ops.elementwise import Relu
from tinygraph.ops.norm import BatchNormTrain
from tinygraph.ops.shape import Reshape
from tinygraph.text import attributes, diff, dump, equal


def round_trip(graph: Graph) -> Graph:
    """Dumps, parses with the numbers, and compares everything that a graph has."""
    text = dump(graph)
    data = {v.name: graph.array(v) for v in graph.data if not isinstance(graph.data[v], Seeded)}
    again = tg.verify(tg.parse(text, data))
    assert dump(again) == text
    assert equal(graph, again)
    assert again.mode == graph.mode
    assert [(v.name, v.type, v.kind) for v in again.values()] == [(v.name, v.type, v.kind) for v in graph.values()]
    for ours, theirs in zip(graph.nodes, again.nodes, strict=True):
        assert (ours.op, ours.where, ours.origins) == (theirs.op, theirs.where, theirs.origins)
        assert [v.name for v in ours.inputs] == [v.name for v in theirs.inputs]
    assert [(n, v.name) for n, v in graph.outputs] == [(n, v.name) for n, v in again.outputs]
    for ours, theirs in zip(graph.data, again.data, strict=True):
        assert graph.array(ours).tobytes() == again.array(theirs).tobytes()
    return again


def constant(array: Any) -> Graph:
    build = Builder()
    return build.finish([("y", build.const(np.asarray(array)))])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.bn(self.conv(x)))
        return {"logits": self.fc(ops.mean(y, (2, 3))), "features": y}


def net(mode: Any = "inference", shape: Any = (1, 3, 8, 8)) -> Graph:
    return tg.trace(Net(), tg.Spec(shape), mode=mode)


# ---- the form ----------------------------------------------------------------------------------


def test_the_form_of_a_dump() -> None:
    build = Builder()
    x = build.input("x", TensorType(("N", 2)))
    w = build.declare("param", "fc.weight", Seeded(TensorType((9, 2)), Normal(0.5), 3, "fc.weight"))
    numbers = np.arange(10, dtype=np.float32)
    big = build.declare("buffer", "mean", numbers)
    c = build.const(np.array([1.5, -0.0], np.float32), "c")
    (s,) = build.emit(Add(), [x, c], ["sum"], Where("fc", "net.py:7"))
    (y,) = build.emit(Reshape((Symbol("N"), 2, 1)), [s], ["odd name"], origins=("a", "b c"))
    assert dump(build.finish([("out", y), ("again", s), ("w", w), ("m", big)])).splitlines() == [
        "graph inference",
        "input %x: f32[N,2]",
        'param %fc.weight: f32[9,2] = normal(std=0.5) seed=3 key="fc.weight"',
        f"buffer %mean: f32[10] = #{hashlib.sha256(numbers.tobytes()).hexdigest()[:16]}",
        "const %c: f32[2] = {1.5, -0.0}",
        "%sum: f32[N,2] = add(%x, %c) @ fc net.py:7",
        '%"odd name": f32[N,2,1] = reshape(%sum, shape=(N, 2, 1)) from a, "b c"',
        'output "out" = %"odd name"',
        'output "again" = %sum',
        'output "w" = %fc.weight',
        'output "m" = %mean',
    ]


def test_attributes_at_their_defaults_are_left_out() -> None:
    assert attributes(Normal()) == ""
    assert attributes(Normal(2.0)) == "std=2.0"
    assert attributes(KaimingNormal("out")) == 'fan="out"'
    assert attributes(Reshape((3,))) == "shape=(3,)"
    assert attributes(Reshape(())) == "shape=()"


def test_comments_and_empty_lines_are_skipped() -> None:
    graph = net()
    text = "\n// a comment\n" + str(graph).replace("\n", "\n\n  // more\n")
    assert equal(tg.parse(text), graph)


def test_equal_and_diff() -> None:
    a, b = constant([1.0]), constant([2.0])
    assert equal(a, constant([1.0]))
    assert not equal(a, b)
    assert not equal(a, constant(np.array([1.0], np.float32)))
    assert diff(a, a) == []
    assert [line for line in diff(a, b) if line[0] in "+-"][2:] == [
        "-const %const: f64[1] = {1.0}",
        "+const %const: f64[1] = {2.0}",
    ]


# ---- round trips -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "shape"), [("inference", (1, 3, 8, 8)), ("inference", ("N", 3, 8, 8)), ("training", (2, 3, 8, 8))]
)
def test_networks(mode: Any, shape: Any) -> None:
    round_trip(net(mode, shape))


def test_gradients() -> None:
    loss = tg.trace(lambda x: ops.mean(Net()(x)["logits"]), tg.Spec((2, 3, 8, 8)))
    round_trip(gradients(loss, wrt=["x"]))


def test_optimized_graphs_keep_their_origins() -> None:
    again = round_trip(tg.optimize(net()))
    assert any(node.origins for node in again.nodes)


HOSTILE = [
    "",
    " ",
    'quote"d',
    "back\\slash",
    '\\"',
    "new\nline",
    "carriage\rreturn",
    "tab\t",
    "nul\0",
    "\x1b[31mred\x1b[0m",
    "\x85\u2028\u2029\x0b\x0c\x1c",
    "naïve",
    "雪",
    "🙂",
    "\ud800",
    "->",
    "%x",
    "a, b",
    "a = b",
    "a:",
    ":",
    "a::b",
    "x: f32[1]",
    "@",
    "from",
    "//",
    "#",
    "#abc",
    "-",
    "-1",
    "1",
    "1e5",
    "1.5.2",
    "2024-01",
    "1+2",
    "3#4",
    "inf",
    "nan",
    "-inf",
    "True",
    "None",
    "graph",
    "input",
    "output",
    "seed",
    "²",
    "x" * 1000,
    "{",
    "}",
    "<script>",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names(name: str) -> None:
    round_trip(named(name, name, name, name))


def named(value: str, module: str, source: str, public: str) -> Graph:
    """A graph in which each kind of name is the given one."""
    build = Builder()
    x = build.input(value, TensorType((2,)))
    w = build.declare("param", value + "w", Seeded(TensorType((2,)), Uniform(0.5), 1, value))
    c = build.const(np.array([1, 2], np.float32), value + "c")
    (y,) = build.emit(Add(), [x, w], [value + "y"], Where(module, source), (module, source))
    (z,) = build.emit(Add(), [y, c], [value])
    return build.finish([(public, z), (public + "2", x)])


names = st.text(st.characters(), max_size=8) | st.sampled_from(HOSTILE)


@given(names, names, names, names)
@settings(max_examples=150, deadline=None)
def test_any_names(value: str, module: str, source: str, public: str) -> None:
    round_trip(named(value, module, source, public))


CONSTANTS: list[Any] = [
    np.array(-0.0, np.float32),
    np.array([0.0, -0.0]),
    np.array([np.nan, 1.0]),
    np.array([np.inf, -np.inf], np.float32),
    np.array([0.1, 1e-45, 3.4e38, 1 / 3], np.float32),
    np.array([0.1, 5e-324, 1.7976931348623157e308]),
    np.array([0.1, 6e-8, 65504], np.float16),
    np.array([-(2**63), 2**63 - 1]),
    np.array([0, 2**64 - 1], np.uint64),
    np.array([-128, 127], np.int8),
    np.array([True, False]),
    np.array(True),
    np.array(7, np.int32),
    np.zeros(0, np.float32),
    np.zeros((0, 3), bool),
    np.zeros((2, 2, 2)),
    np.arange(9, dtype=np.uint8),
    np.ones((3, 3), np.float16),
    np.arange(12.0).reshape(3, 4).T,
    np.array([1 + 2j]),
]


@pytest.mark.parametrize("array", CONSTANTS, ids=repr)
def test_constants_keep_their_bits(array: Array) -> None:
    round_trip(constant(array))


def test_bits_of_nan_tell_constants_apart() -> None:
    quiet, other = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert not equal(constant(quiet), constant(other))
    assert not equal(constant(0.0), constant(-0.0))


floats = st.floats(width=32) | st.floats(width=64)


@given(st.lists(floats, max_size=9), st.sampled_from(["f2", "f4", "f8"]))
@settings(max_examples=100, deadline=None)
def test_any_floats(numbers: list[float], dtype: str) -> None:
    with np.errstate(all="ignore"):
        round_trip(constant(np.array(numbers, dtype)))


def test_every_initializer() -> None:
    described = [INITIALIZERS[name](**({"bound": 0.25} if name == "uniform" else {})) for name in sorted(INITIALIZERS)]
    build = Builder()
    for i, init in enumerate(described):
        build.declare("param", f"w{i}", Seeded(TensorType((3, 4)), init, i, f"w{i}"))
    again = round_trip(build.finish([("x", build.input("x", TensorType((1,))))]))
    assert [d.init for d in again.data.values()] == described  # type: ignore[union-attr]  # all are recipes


@dataclass(frozen=True)
class Settings:
    """Attributes of every kind."""

    value: Any


LITERALS = [
    0,
    -1,
    2**70,
    0.5,
    -0.0,
    1e-300,
    float("inf"),
    float("-inf"),
    True,
    None,
    "",
    'a"b\n',
    (),
    (1,),
    ((1, 2), (3,)),
]


@pytest.mark.parametrize("value", LITERALS, ids=repr)
def test_attributes_of_every_kind(value: Any) -> None:
    from tinygraph.text import _Line

    line = _Line(attributes(Settings(value)))
    assert (line.take("word"), line.mark("="), repr(line.literal())) == ("value", None, repr(value))


# ---- numbers that the text does not hold -------------------------------------------------------


def test_large_arrays_stand_as_a_hash() -> None:
    array = np.arange(100, dtype=np.float32)
    graph = constant(array)
    text = str(graph)
    assert re.search(r"= #[0-9a-f]{16}\n", text)
    parsed = tg.parse(text)
    assert str(parsed) == text
    with pytest.raises(ModelFormatError, match=r"numbers of f32\[100\] #.* are not in the text; .*data="):
        parsed.array(parsed.value("const"))
    whole = tg.parse(text, {"const": array})
    np.testing.assert_array_equal(whole.array(whole.value("const")), array)


def test_the_array_that_is_given_must_be_the_one_of_the_dump() -> None:
    array = np.arange(100, dtype=np.float32)
    text = str(constant(array))
    for wrong in (array + 1, array.astype(np.float64), array[:-1], array.reshape(10, 10)):
        with pytest.raises(ModelFormatError, match="line 2: the array given for 'const' is not the one of the dump"):
            tg.parse(text, {"const": wrong})
    parsed = tg.parse(text, {"const": array, "other": array})
    value = parsed.value("const")
    array[0] = -1
    assert parsed.array(value)[0] == 0


def test_recipes_are_not_followed() -> None:
    build = Builder()
    build.declare("param", "w", Seeded(TensorType((2**40, 2**20)), Constant(1.0), 0, "w"))
    graph = build.finish([("x", build.input("x", TensorType((1,))))])
    assert equal(tg.parse(str(graph)), graph)


# ---- refusals ----------------------------------------------------------------------------------

HEAD = "graph inference\ninput %x: f32[2]\n"

BAD: list[tuple[str, int, str]] = [
    ("", 1, "the text is empty"),
    ("// nothing\n", 1, "the text is empty"),
    ("grape inference", 1, "expected 'graph', found 'grape'"),
    ("graph dreaming", 1, "unknown mode 'dreaming'"),
    ("graph inference now", 1, "expected a end, found 'now'"),
    (HEAD + "inputs %y: f32[2]", 3, "unknown kind of line 'inputs'"),
    (HEAD + "node %y: f32[] = {1}", 3, "unknown kind of line 'node'"),
    (HEAD + "input %x: f32[2]", 3, "two values are named 'x'"),
    (HEAD + "input %y: f33[2]", 3, "f33"),
    (HEAD + "input %y: f32[-2]", 3, "'-2' is not a dimension"),
    (HEAD + "input %y: f32[1.5]", 3, "'1.5' is not a dimension"),
    (HEAD + "input %y: f32[2", 3, "expected a number or word, found ''"),
    (HEAD + "input y: f32[2]", 3, "expected a value, found 'y'"),
    (HEAD + "input %y f32[2]", 3, "expected ':', found 'f32'"),
    (HEAD + "const %c: f32[2] = {1.0}", 3, "cannot be read"),
    (HEAD + "const %c: f32[1] = {one}", 3, "cannot be read"),
    (HEAD + "const %c: bool[1] = {1}", 3, "cannot be read"),
    (HEAD + "const %c: i8[1] = {300}", 3, "cannot be read"),
    (HEAD + 'param %c: f32[1] = magic() seed=0 key="c"', 3, "magic"),
    (HEAD + 'param %c: f32[1] = normal(median=1.0) seed=0 key="c"', 3, "median"),
    (HEAD + "param %c: f32[1] = normal()", 3, "expected 'seed', found ''"),
    (HEAD + "\n%y: f32[2] = blur(%x)", 4, "there is no op 'blur'"),
    (HEAD + "%y: f32[2] = relu(%z)", 3, "cannot be read"),
    (HEAD + "%y: f32[3] = relu(%x)", 3, r"relu makes f32\[2\], the text says f32\[3\]"),
    (HEAD + "%y: f32[2], %z: f32[2] = relu(%x)", 3, "argument|makes|cannot be read"),
    (HEAD + "%y: f32[2] = relu(%x, slope=1)", 3, "slope"),
    (HEAD + "%y: f32[2] = relu(%x", 3, "expected a word, found ''"),
    (HEAD + "%y: f32[2] = relu(%x) trailing", 3, "expected a end, found 'trailing'"),
    (HEAD + "%y: f32[2] = relu(%x, %x)", 3, "takes 1 inputs, got 2"),
    (HEAD + "%x: f32[2] = relu(%x)", 3, "two values are named 'x'"),
    (HEAD + "%y: f32[2,1] = reshape(%x, shape=(2, 1)", 3, "expected a word"),
    (HEAD + f"%y: f32[2] = reshape(%x, shape={'(' * 100_000})", 3, "nested too deeply"),
    (HEAD + "%y: f32[2] = reshape(%x, shape=((2,),))", 3, "is not a dimension"),
    (HEAD + '%y: f32[2] = reshape(%x, shape="ab")', 3, "reshape|cannot be read"),
    (HEAD + "%y: f32[2] = reshape(%x, shape=None)", 3, "cannot be read"),
    (HEAD + "%y: f32[2] = $", 3, r"unexpected '.*\$'"),
    (HEAD + 'output "y" = %y', 3, "cannot be read"),
    (HEAD + "output y = %x", 3, "expected a string, found 'y'"),
    (HEAD + '%"unclosed: f32[2] = relu(%x)', 3, "unexpected"),
    (HEAD + '%"\\q": f32[2] = relu(%x)', 3, "cannot be read"),
    (HEAD + "const %c: i64[1] = {" + "9" * 5000 + "}", 3, "cannot be read"),
]


@pytest.mark.parametrize(("text", "line", "message"), BAD, ids=range(len(BAD)))
def test_errors_name_the_line(text: str, line: int, message: str) -> None:
    with pytest.raises(ModelFormatError, match=rf"^line {line}: .*({message})"):
        tg.parse(text)


def test_errors_are_short() -> None:
    with pytest.raises(ModelFormatError) as caught:
        tg.parse(HEAD + "%y: f32[2] = relu(%x) " + "z" * 10_000)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


SOURCE = str(net("training")) + str(net("inference", ("N", 3, 8, 8))).partition("\n")[2].replace("%", "%more.")


@st.composite
def mangled(draw: Any) -> str:
    """A dump with a few pieces cut out, doubled, swapped, or replaced."""
    text = SOURCE
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.integers(0, 12)))
        piece = draw(
            st.sampled_from(
                ["", text[begin:end] * 2, "(", ")", ",", '"', "%x", "-1", "0", "1e999", "None", "N", "\n", "inf"]
            )
            | st.text(max_size=3)
        )
        text = text[:begin] + piece + text[end:]
    return text


def reads_or_refuses(text: str) -> None:
    """A graph, or one ModelFormatError with a line; any other exception fails the test."""
    message = ""
    try:
        tg.parse(text)
    except ModelFormatError as error:
        message = str(error)
    assert not message or re.match(r"line \d+: ", message)


@given(mangled())
@settings(max_examples=300, deadline=None)
def test_mangled_dumps(text: str) -> None:
    reads_or_refuses(text)


def test_truncated_dumps() -> None:
    for end in range(0, len(SOURCE), 7):
        reads_or_refuses(SOURCE[:end])


# ---- random graphs -----------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_random_graphs(data: Any) -> None:
    build = Builder(data.draw(st.sampled_from(["inference", "training"])))
    type = TensorType((data.draw(st.sampled_from([2, Symbol("N")])), 3))
    row = np.array([1, -0.0, np.nan], np.float32)
    values = [build.input("x", type), build.const(row), build.declare("param", "w", row)]
    values += build.emit(Add(), values[:2])
    for _ in range(data.draw(st.integers(1, 12))):
        wide = [v for v in values if v.type == type]
        kind = data.draw(st.sampled_from(["relu", "add", "norm"]))
        a, b = data.draw(st.sampled_from(wide)), data.draw(st.sampled_from(values[:4]))
        if kind == "relu":
            values += build.emit(Relu(), [a], [data.draw(names)])
        elif kind == "add":
            values += build.emit(Add(), [a, b], where=Where(data.draw(names), "a.py:1"), origins=("o",))
        else:
            values += build.emit(BatchNormTrain(eps=data.draw(st.floats(1e-6, 1))), [a, values[1], values[2]])
    count = data.draw(st.integers(1, 3))
    round_trip(build.finish((f"out{i}", data.draw(st.sampled_from(values))) for i in range(count)))

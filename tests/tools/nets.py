"""Small networks that the tests name on the command line, as tests.tools.nets:function."""

from __future__ import annotations

import sys
from typing import Any

from tinygraph import nn, ops
from tinygraph.build import Builder
from tinygraph.ir import Graph, TensorType, Where
from tinygraph.nn import functional as F
from tinygraph.ops.elementwise import Relu
from tinygraph.trace import Spec, trace


class Tiny(nn.Module):
    """Two blocks and a classifier, on any number of channels."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4))
        self.body = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        """[N, channels, H, W] -> [N, 5]."""
        x = self.body(F.relu(self.stem(x)))
        return self.head(ops.mean(x, axis=(2, 3)))


def tiny() -> nn.Module:
    """The network above, on RGB."""
    return Tiny()


TINY = Tiny()


class Masked(nn.Module):
    """Two inputs, and a third that may be left out."""

    def forward(self, image: Any, mask: Any, scale: Any = 2.0) -> Any:
        """Image * mask * scale."""
        return image * mask * scale


class Stacked(nn.Module):
    """Any number of inputs."""

    def forward(self, *images: Any) -> Any:
        """Their sum."""
        return sum(images[1:], images[0])


class Loud(Tiny):
    """Writes when it is made and called."""

    def __init__(self) -> None:
        super().__init__()
        sys.stdout.write("made\n")

    def forward(self, x: Any) -> Any:
        """As Tiny."""
        sys.stdout.write("called\n")
        return super().forward(x)


class Broken(Tiny):
    """Names a layer that it has not."""

    def forward(self, x: Any) -> Any:
        """Fails."""
        return self.fc(x)


class Endless(Tiny):
    """Calls itself."""

    def forward(self, x: Any) -> Any:
        """Fails."""
        return self(x)


def leaves() -> nn.Module:
    """Wants to end the program."""
    sys.exit(0)


def talks() -> nn.Module:
    """Raises more than a line."""
    raise RuntimeError("one\ntwo\n" + "x" * 5000)


def open_batch() -> Graph:
    """A graph whose batch is open."""
    return trace(Tiny(), Spec(("N", 3, 8, 8), name="x"))


def open_sizes() -> Graph:
    """A graph whose batch and image sizes are open."""
    return trace(lambda x: ops.relu(x), Spec(("N", 3, "H", "W"), name="x"))


def two_inputs() -> Graph:
    """A + b and a - b."""
    specs = Spec((2, 3), name="a"), Spec((2, 3), name="b")
    return trace(lambda a, b: {"sum": a + b, "difference": a - b}, *specs)


def double() -> Graph:
    """2 x, of [1, 3, 4, 4]: no scores of classes."""
    return trace(lambda x: x * 2, Spec((1, 3, 4, 4), name="x"))


def scores() -> Graph:
    """-x, of [1, 3]: as if scores of three classes."""
    return trace(lambda x: -x, Spec((1, 3), name="x"))


def odd_names() -> Graph:
    """A graph whose outputs are called as arguments of np.savez, and like a path."""
    return trace(lambda x: dict.fromkeys(("file", "allow_pickle", "a/b"), ops.relu(x)), Spec((1, 3), name="x"))


HOSTILE = (
    'quote"backslash\\',
    "two\nlines",
    "\\N\\G\\L",
    "<b>&amp;</b>",
    "<TABLE>",
    "\x1b[31mred\x1b[0m",
    "\x00\x07",
    "right\u202eleft",
    "\ud800",
    "x" * 1000,
    "-->",
    "]]>",
    "n0",
    "é中",
)


def hostile() -> Graph:
    """A graph with the names above everywhere."""
    build = Builder()
    inputs = [build.input(name, TensorType((1, 3))) for name in HOSTILE]
    outputs = []
    for name, value in zip(HOSTILE, inputs, strict=True):
        (first,) = build.emit(Relu(), [value], [f"{name}1"], Where(f"{name}.a", name))
        (second,) = build.emit(Relu(), [first], [f"{name}2"], Where(f"{name}.b", name))
        outputs.append((name, second))
    return build.finish(outputs)


def fails() -> nn.Module:
    """Raises what user code may raise."""
    raise KeyError("weights")


def number() -> int:
    """Returns no network."""
    return 3


class Learner(nn.Module):
    """A small network of everything that training treats in its own way; for RGB and three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        """[N, 3, H, W] -> [N, 3]."""
        return self.fc(self.dropout(ops.mean(F.relu(self.bn(self.conv(x))), axis=(2, 3))))


class Chatty(Learner):
    """Writes whenever it is called."""

    def forward(self, x: Any) -> Any:
        """As Learner."""
        sys.stdout.write("called\n")
        return super().forward(x)


class Sulky(Learner):
    """Will not be trained."""

    def forward(self, x: Any) -> Any:
        """Fails in training."""
        return self.head(x) if self.training else super().forward(x)


def learner() -> nn.Module:
    """The network above, untrained."""
    return Learner()

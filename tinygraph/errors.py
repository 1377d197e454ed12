"""Every exception of tinygraph.

    TinygraphError
    ├── ShapeError          shapes, dtypes or attributes that do not fit together
    ├── TraceError          Python did something with a symbolic tensor that a graph cannot hold
    ├── VerifyError         a graph is not well formed; after a pass: that pass is wrong
    ├── ModelFormatError    a file is not what it claims to be, or is damaged
    ├── UnsupportedOp       a file uses operators that tinygraph does not know; lists them all
    ├── NotDifferentiable   a gradient was asked through an op that has none
    ├── BudgetError         an answer would take more memory or work than was allowed
    ├── DivergenceError     training met infinite numbers or NaN; nothing was changed
    └── UsageError          a wrong name, argument or option

A message names the op and the module path, what was given, the rule it broke, and what to
try. `assert` is for bugs of tinygraph itself.
"""

from __future__ import annotations

from collections.abc import Collection


def printable(text: str) -> str:
    """The text with control characters, line breaks and direction marks written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class TinygraphError(Exception):
    """Base of all errors that tinygraph raises on purpose."""


class ShapeError(TinygraphError, ValueError):
    """Shapes, dtypes or attributes that do not fit together.

    Attributes:
        placed: the message says where.
    """

    def __init__(self, message: str, placed: bool = False) -> None:
        super().__init__(message)
        self.placed = placed


class TraceError(TinygraphError, TypeError):
    """Python did something with a symbolic tensor that a static graph cannot hold."""


class VerifyError(TinygraphError):
    """A graph is not well formed."""


class ModelFormatError(TinygraphError, ValueError):
    """A model or weight file is damaged, hostile, or not of the format it claims."""


class UnsupportedOp(TinygraphError):  # noqa: N818  # a public name
    """A file holds operators that tinygraph does not know.

    Attributes:
        inputs: of the model, whose numbers decide shapes or attributes: given to `load`, they would help.
    """

    def __init__(self, message: str, inputs: Collection[str] = ()) -> None:
        super().__init__(message)
        self.inputs = tuple(inputs)


class NotDifferentiable(TinygraphError):  # noqa: N818  # a public name
    """A gradient was asked through an op that has none."""


class BudgetError(TinygraphError):
    """An answer would take more memory or work than was allowed."""


class DivergenceError(TinygraphError, ArithmeticError):
    """A number that training depends on is infinite or NaN; the state is as it was before the call."""


class UsageError(TinygraphError, ValueError):
    """A wrong name, argument or option."""

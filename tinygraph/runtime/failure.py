"""What a run says where a kernel cannot go on."""

from __future__ import annotations

from tinygraph.errors import TinygraphError, UsageError
from tinygraph.ir import Node

_OF_NUMBERS = (ArithmeticError, LookupError, TypeError, ValueError)  # what NumPy raises for an index out of range


def explained(node: Node, error: Exception) -> Exception:
    """The error to raise in the place of one that came out of a node's kernel.

    Args:
        node: whose kernel it is.
        error: one of ours gets the name of the node. What NumPy says of numbers that it cannot work
            with becomes a UsageError with that cause. Everything else, such as a lack of memory or
            an assertion, stays what it is, with a note.
    """
    place = f"{node.op.name} {node.name!r}{node.where.phrase}"
    reason = str(error).partition("\n")[0] or type(error).__name__
    if isinstance(error, TinygraphError):
        error.args = (f"{place}: {error}", *error.args[1:])
        return error
    if isinstance(error, _OF_NUMBERS):
        explanation = UsageError(f"{place} cannot compute with what it was given: {reason}")
        explanation.__cause__ = error
        return explanation
    error.add_note(f"in {node!r}{node.where.phrase}")
    return error

"""Networks of somebody's own Python code, which is kept from ending or answering for the command."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

from tinygraph.errors import TinygraphError, UsageError
from tinygraph.ir import Graph
from tinygraph.nn.module import Module
from tinygraph.source import short

_LONGEST = 300  # characters of a message


def make(text: str, module: str, name: str) -> Module | Graph | None:
    """The network of that name, or what the function or class of that name returns; None if there is no such module.

    Args:
        text: what the user typed.
        module: a dotted module, which may be in the current folder.
        name: of what it defines.

    Raises:
        UsageError: the code fails, or makes something else.
    """
    with suppress(OSError):  # the current folder may be gone
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
    with contained(text):
        if not _exists(module):
            return None
        made = getattr(importlib.import_module(module), name)
        if not isinstance(made, (Module, Graph)):
            made = made()
    if not isinstance(made, (Module, Graph)):
        raise UsageError(f"{text} returned a {type(made).__name__}; it must return a tinygraph.nn.Module or a Graph")
    return made


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            return False
        raise  # it is there, but imports something that is not


@contextmanager
def contained(text: str) -> Iterator[None]:
    """Runs code of a user: what it prints goes to standard error, its failure is the user's to mend.

    Raises:
        UsageError: it raised something, or wanted to end the program.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except TinygraphError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{text} failed: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """Kind, message and line of an error, in one line."""
    message = " ".join(str(error).split())
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]}.."
    return f"{type(error).__name__}{': ' if message else ''}{message}{_line(error)}"


def _line(error: BaseException) -> str:
    """The innermost line outside tinygraph, as ` (folder/file.py:3)`."""
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in ("tinygraph", "contextlib", "importlib") and not file.startswith("<frozen"):
            return f" ({short(file)}:{number})"
    return ""

"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tinygraph.tools.output import be_quiet

F = TypeVar("F", bound=Callable[..., Any])


def model_options(command: F) -> F:
    """MODEL, --input-size and -b."""
    command = click.option("-b", "--batch-size", type=click.IntRange(min=1), help="First dimension of every input.")(
        command
    )
    command = click.option(
        "--input-size",
        "input_sizes",
        multiple=True,
        metavar="SIZE",
        help="1,3,224,224 or 1x3x224x224; name:SIZE for one input of several; may be repeated.",
    )(command)
    return click.argument("model")(command)


def answer_options(command: F) -> F:
    """--format, -o and --color."""
    command = click.option("-o", "--output", metavar="FILE", help="Write there instead of to standard output (-).")(
        command
    )
    formats = click.Choice(["table", "json", "csv", "md"])
    command = click.option("--format", "style", type=formats, default="table", help="Default: table.")(command)
    return color_option(command)


def color_option(command: F) -> F:
    """--color."""
    choice = click.Choice(["auto", "always", "never"])
    return click.option("--color", type=choice, default="auto", help="Default: on a terminal, unless NO_COLOR is set.")(
        command
    )


def report_options(command: F) -> F:
    """--quiet and --debug."""
    command = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)
    return click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_quiet, help="No notes on standard error."
    )(command)


def _quiet(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        be_quiet()

"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tinygraph.tools.output import be_quiet

F = TypeVar("F", bound=Callable[..., Any])


class _Sizes(click.ParamType[tuple[int, ...]]):
    """Batch sizes with commas between them."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        texts = [text.strip() for text in value.split(",")]
        if not all(text.isascii() and text.isdecimal() and len(text) < 19 and int(text) for text in texts):
            self.fail(f"{value!r} is no batch size: write 8, or 1,8,64, each at least 1", param, ctx)
        return tuple(map(int, texts))


def model_options(command: F) -> F:
    """MODEL, --input-size and -b."""
    return click.argument("model")(sizes_options(command))


def sizes_options(command: F) -> F:
    """--input-size and -b."""
    one = click.option("-b", "--batch-size", type=click.IntRange(min=1), help="First dimension of every input.")
    return _input_size(one(command))


def model_options_with_batches(command: F) -> F:
    """MODEL, --input-size, and -b with one batch size or several."""
    help = "First dimension of every input; 1,8,64 compares several."
    several = click.option("-b", "--batch-size", "batch_sizes", type=_Sizes(), default=(), help=help)
    return click.argument("model")(_input_size(several(command)))


def _input_size(command: F) -> F:
    return click.option(
        "--input-size",
        "input_sizes",
        multiple=True,
        metavar="SIZE",
        help="1,3,224,224 or 1x3x224x224; name:SIZE for one input of several; may be repeated.",
    )(command)


def weights_option(help: str) -> Callable[[F], F]:
    """--weights.

    Args:
        help: what for.
    """
    return click.option("--weights", metavar="FILE", help=f".safetensors, .npz or PyTorch's .pth; {help}")


def answer_options(command: F) -> F:
    """--format, -o and --color."""
    command = click.option("-o", "--output", metavar="FILE", help="Write there instead of to standard output (-).")(
        command
    )
    return format_option(color_option(command))


def format_option(command: F) -> F:
    """--format."""
    formats = click.Choice(["table", "json", "csv", "md"])
    return click.option("--format", "style", type=formats, default="table", help="Default: table.")(command)


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

"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import click

from tinygraph.budget import DEFAULT, Budget
from tinygraph.errors import UsageError
from tinygraph.tools.output import be_quiet

F = TypeVar("F", bound=Callable[..., Any])

_LIMITS = "tinygraph.limits"  # where click's context keeps them


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


@dataclass(frozen=True)
class Limits:
    """What holds for every model of a command.

    Attributes:
        bind: numbers for open dimensions and inputs of ONNX files, as the user typed them.
        budget: of memory and work.
    """

    bind: Mapping[str, str] = field(default_factory=dict)
    budget: Budget = DEFAULT


def limits() -> Limits:
    """What the options of the running command say; the defaults outside of one."""
    context = click.get_current_context(silent=True)
    found: Limits = Limits() if context is None else context.meta.get(_LIMITS, Limits())
    return found


def _note_bind(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> None:
    bind: dict[str, str] = {}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        if not equals or not name or not numbers or name in bind:
            raise UsageError(f"--bind {text!r}: write NAME=NUMBER or NAME=1,2,3, each name once")
        bind[name] = numbers
    context.meta[_LIMITS] = replace(context.meta.get(_LIMITS, Limits()), bind=bind)


def _note_budget(context: click.Context, option: click.Parameter, number: int | None) -> None:
    if number is not None:
        before = context.meta.get(_LIMITS, Limits())
        changed = {str(option.name).removeprefix("max_"): number}
        context.meta[_LIMITS] = replace(before, budget=replace(before.budget, **changed))


class _Bytes(click.ParamType[int]):
    """A number of bytes, perhaps with a unit."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,15})\s*([KMGT]?)(iB|B)?", value.strip(), re.ASCII)
        if not found:
            self.fail(f"{value!r} is no number of bytes such as 500000, 512MiB or 8GiB", param, ctx)
        return int(found[1]) << (10 * " KMGT".index(found[2] or " "))


def limit_options(command: F) -> F:
    """--bind, --max-bytes and --max-operations; see limits()."""
    operations = click.option(
        "--max-operations",
        type=click.IntRange(min=0),
        metavar="N",
        expose_value=False,
        callback=_note_budget,
        help=f"Refuse what takes more arithmetic [{DEFAULT.operations:.0e}].",
    )
    memory = click.option(
        "--max-bytes",
        type=_Bytes(),
        metavar="SIZE",
        expose_value=False,
        callback=_note_budget,
        help=f"Refuse what takes more memory [{DEFAULT.bytes // 2**30}GiB].",
    )
    bind = click.option(
        "--bind",
        multiple=True,
        metavar="NAME=N",
        expose_value=False,
        callback=_note_bind,
        help="Of an ONNX file: number of an open dimension, or numbers of an input that decides shapes.",
    )
    return bind(memory(operations(command)))


def model_options(command: F) -> F:
    """MODEL, --input-size, -b and the limits."""
    return click.argument("model")(sizes_options(command))


def sizes_options(command: F) -> F:
    """--input-size and -b."""
    one = click.option("-b", "--batch-size", type=click.IntRange(min=1), help="First dimension of every input.")
    return _input_size(one(limit_options(command)))


def model_options_with_batches(command: F) -> F:
    """MODEL, --input-size, and -b with one batch size or several."""
    help = "First dimension of every input; 1,8,64 compares several."
    several = click.option("-b", "--batch-size", "batch_sizes", type=_Sizes(), default=(), help=help)
    return click.argument("model")(_input_size(several(limit_options(command))))


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

"""The command `tinygraph`: which commands there are, and how errors come out.

Exit status:
      0  done
      1  a gate failed, a difference was found, or a training diverged
      2  wrong usage, or unreadable input
      3  incomplete, under --strict
     70  a bug of tinygraph
    130  stopped with Ctrl-C
    141  the reader of the output went away
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import tinygraph
from tinygraph.errors import DivergenceError, TinygraphError, VerifyError, printable
from tinygraph.tools.output import tell

DIVERGED, BUG, INTERRUPTED, PIPE_CLOSED = 1, 70, 130, 141

# Found on first use: a command pays for its own imports only.
_COMMANDS = {
    "summary": "tinygraph.tools.summary",
    "render": "tinygraph.tools.render",
    "run": "tinygraph.tools.run",
    "optimize": "tinygraph.tools.explain",
    "convert": "tinygraph.tools.convert",
    "train": "tinygraph.tools.train",
    "bench": "tinygraph.tools.bench",
    "profile": "tinygraph.tools.profile",
    "models": "tinygraph.tools.networks",
    "ops": "tinygraph.tools.operators",
}
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Program(click.Group):
    """The group of commands; turns exceptions into one line and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0].lower(), _COMMANDS)
            if close and not args[0].startswith("-"):
                raise click.UsageError(f"{error.message.rstrip('.')}; close is {', '.join(close)}", ctx) from None
            raise

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *rest: Any, **options: Any
    ) -> NoReturn:
        """Runs the command of these arguments and exits."""
        args = list(sys.argv[1:] if args is None else args)
        options["standalone_mode"] = False
        try:
            status = super().main(args, prog_name or self.name, *rest, **options) or 0
            if sys.stdout is not None:
                sys.stdout.flush()
        except SystemExit as end:
            status = PIPE_CLOSED if end.code == 1 else end.code  # click ends so on a closed pipe
        except BrokenPipeError:
            status = PIPE_CLOSED
        except (click.Abort, KeyboardInterrupt):
            status = INTERRUPTED
        except Exception as error:
            status = _report(error, debug="--debug" in args)
        _drain(sys.stdout)
        _drain(sys.stderr)
        sys.exit(status)


def _report(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return 2
    if isinstance(error, click.ClickException):
        message, status = error.format_message().rstrip("."), 2
        context = getattr(error, "ctx", None)
        if context is not None:
            message += f" (see {context.command_path} --help)"
    elif isinstance(error, TinygraphError) and not isinstance(error, VerifyError):
        message, status = str(error), DIVERGED if isinstance(error, DivergenceError) else 2
    elif isinstance(error, OSError) and error.strerror:
        about = f"{error.filename}: " if error.filename is not None else ""
        message, status = f"{about}{error.strerror}", 2
    elif isinstance(error, MemoryError):
        message, status = f"out of memory{f': {error}' if str(error) else ''}; try a smaller input", 2
    else:
        hint = "" if debug else "; rerun with --debug for the traceback"
        message, status = f"a bug of tinygraph: {type(error).__name__}: {error}{hint}", BUG
    text = "\n".join(map(printable, message.splitlines()))
    tell(f"error: {text}")
    return status


def _drain(stream: Any) -> None:
    """Flushes the stream; if nobody can read it, points it elsewhere, so that the interpreter's own flush is silent."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@click.command("tinygraph", cls=Program, context_settings=_SETTINGS)
@click.version_option(tinygraph.__version__, prog_name="tinygraph")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def main() -> None:
    """What a convolutional network costs, how it looks, and what it answers.

    MODEL is the name of a built-in network, with arguments if any (vgg16:num_classes=10), the
    path of an .onnx file, or package.module:function, where the function returns a network.
    """

"""What standard error shows while a network trains: a line an epoch, and on a terminal a bar."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from tinygraph.tools.checkpoints import Progress, Record
from tinygraph.tools.output import is_quiet

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar

_HEADING = "  epoch      loss  accuracy   held out  accuracy       rate      time"


class Silent:
    """Shows nothing.

    Args:
        epochs: of the whole training.
        batches: in an epoch.
    """

    def __init__(self, epochs: int, batches: int) -> None:
        self.epochs = epochs
        self.batches = batches

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def batch(self, progress: Progress) -> None:
        """A batch is done."""

    def epoch(self, record: Record) -> None:
        """An epoch is done."""


class Lines(Silent):
    """A line for each epoch, and a heading above the first."""

    _headed = False

    def epoch(self, record: Record) -> None:
        """Writes the line of the epoch."""
        if not self._headed:
            self._write(_HEADING)
            self._headed = True
        self._write(line(record, self.epochs))

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a message that nobody can read is no failure
            click.echo(text, err=True)


class Bar(Lines):
    """The lines, and below them a bar that grows with the epoch."""

    def __enter__(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar: RichBar = Progress(
            TextColumn("{task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[numbers]}"),
            console=Console(stderr=True, highlight=False, markup=False),
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=self.batches, epoch="", numbers="")
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def batch(self, progress: Progress) -> None:
        """Moves the bar."""
        images = max(progress.images, 1)
        numbers = (
            f"{progress.batches}/{self.batches}  loss {progress.loss / images:.4f}"
            f"  accuracy {_percent(progress.right / images)}"
            f"  {progress.images / max(progress.seconds, 1e-9):,.0f} images/s"
        )
        epoch = f"epoch {progress.epoch}/{self.epochs}"
        self._bar.update(self._task, completed=progress.batches, epoch=epoch, numbers=numbers)

    def _write(self, text: str) -> None:
        self._bar.console.print(text, no_wrap=True, overflow="crop")


def display(epochs: int, batches: int) -> Silent:
    """What suits the command: a bar on a terminal, lines elsewhere, nothing if it is to be quiet."""
    if is_quiet():
        return Silent(epochs, batches)
    stream: Any = sys.stderr
    return (Bar if stream is not None and stream.isatty() else Lines)(epochs, batches)


def line(record: Record, epochs: int) -> str:
    """The line of an epoch, below the heading."""
    place = f"{record.epoch}/{epochs}"
    held_out = f"{'-':>9}  {'-':>8}"
    if record.val_loss is not None and record.val_accuracy is not None:
        held_out = f"{record.val_loss:9.4f}  {_percent(record.val_accuracy):>8}"
    return (
        f"{place:>7}  {record.loss:8.4f}  {_percent(record.accuracy):>8}  {held_out}"
        f"  {record.lr:9.2e}  {record.seconds:6.1f} s"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"

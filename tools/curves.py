"""A picture of how a training went: loss and accuracy over the epochs, painted with Pillow."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from tinygraph.files import replacing
from tinygraph.tools.checkpoints import Record

Point = tuple[float, float]

_WIDTH, _HEIGHT = 1200, 500
_SMOOTH = 3  # painted so many times larger and reduced, which smooths the lines
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 84, 58  # margins of a panel
_INK, _SOFT, _GRID = "#1f2933", "#52606d", "#e4e7eb"
_TRAINING, _HELD_OUT = "#2b6cb0", "#dd6b20"
_HELD_OUT_LABEL = "held out"
_MOST_TICKS = 7


@dataclass(frozen=True)
class Curve:
    """A line of a panel.

    Attributes:
        label: its name in the legend.
        color: of the line.
        points: (epoch, value), by epoch.
    """

    label: str
    color: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: what stands above it.
        curves: what is drawn.
        show: a value as text beside the axis.
        most: a value that the axis does not exceed.
    """

    title: str
    curves: tuple[Curve, ...]
    show: Callable[[float], str]
    most: float = math.inf


def draw(path: str | os.PathLike[str], title: str, log: Sequence[Record], best: Record | None = None) -> None:
    """Writes a PNG with two panels, loss and accuracy; an older one is replaced.

    Args:
        path: of the picture.
        title: what stands above it.
        log: the epochs.
        best: the one to be marked.

    Raises:
        UsageError: the file cannot be written.
    """
    panels = (
        Panel("loss", _curves(log, "loss", "val_loss"), "{:.4g}".format),
        Panel("accuracy", _curves(log, "accuracy", "val_accuracy"), lambda value: f"{100 * value:.4g} %", most=1.0),
    )
    image = Image.new("RGB", (_WIDTH * _SMOOTH, _HEIGHT * _SMOOTH), "white")
    pen = _Pen(ImageDraw.Draw(image))
    pen.text((_WIDTH / 2, 26), title, "mm", 20, _INK)
    for i, panel in enumerate(panels):
        _Axes(pen, panel, i * _WIDTH / len(panels), _WIDTH / len(panels)).draw(best.epoch if best else None)
    with replacing(path) as part:
        image.reduce(_SMOOTH).save(part, "png")


def _curves(log: Sequence[Record], *names: str) -> tuple[Curve, ...]:
    """The quantity of training and that of the held-out images."""
    return tuple(
        Curve(label, color, tuple((r.epoch, getattr(r, name)) for r in log if getattr(r, name) is not None))
        for name, label, color in zip(names, ("training", _HELD_OUT_LABEL), (_TRAINING, _HELD_OUT), strict=True)
    )


def ticks(low: float, high: float, most: int = _MOST_TICKS) -> list[float]:
    """At most that many round numbers, 1, 2 or 5 times a power of ten apart, that reach from low to high.

    The first is at most low and the last at least high.
    """
    if high <= low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    return [i * step for i in range(first, last + 1)]


class _Pen:
    """Draws in points of the finished picture."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw

    def line(self, points: Sequence[Point], color: str, width: float) -> None:
        flat = [(x * _SMOOTH, y * _SMOOTH) for x, y in points]
        self._draw.line(flat, color, round(width * _SMOOTH), "curve")

    def dot(self, at: Point, color: str, radius: float, edge: str | None = None) -> None:
        x, y, r = at[0] * _SMOOTH, at[1] * _SMOOTH, radius * _SMOOTH
        self._draw.ellipse((x - r, y - r, x + r, y + r), color, edge, _SMOOTH if edge else 0)

    def text(self, at: Point, text: str, anchor: str, size: int, color: str) -> None:
        self._draw.text((at[0] * _SMOOTH, at[1] * _SMOOTH), text, color, _font(size * _SMOOTH), anchor)

    def width(self, text: str, size: int) -> float:
        return float(_font(size * _SMOOTH).getlength(text)) / _SMOOTH


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


class _Axes:
    """A panel on the canvas: how epochs and values become points."""

    def __init__(self, pen: _Pen, panel: Panel, left: float, width: float) -> None:
        self._pen = pen
        self._panel = panel
        self._left, self._right = left + _LEFT, left + width - _RIGHT
        self._top, self._bottom = _TOP, _HEIGHT - _BOTTOM
        points = [point for curve in panel.curves for point in curve.points]
        values = [value for _, value in points] or [0.0, 1.0]
        self._values = [tick for tick in ticks(min(values), max(values)) if tick <= panel.most + 1e-9]
        self._epochs = (1.0, max([2.0, *(epoch for epoch, _ in points)]))

    def draw(self, best: int | None) -> None:
        """Axes, curves, legend, and a mark at the best epoch."""
        pen, panel = self._pen, self._panel
        self._grid()
        for curve in panel.curves:
            points = [self._at(point) for point in curve.points]
            if len(points) > 1:
                pen.line(points, curve.color, 2.5)
            for point in points if len(points) < 2 else ():
                pen.dot(point, curve.color, 3)
            for point in (self._at(p) for p in curve.points if p[0] == best and curve.label == _HELD_OUT_LABEL):
                pen.dot(point, "white", 6, curve.color)
                pen.dot(point, curve.color, 3.5)
        pen.text((self._left, _TOP - 20), panel.title, "lm", 16, _INK)
        self._legend(best)

    def _at(self, point: Point) -> Point:
        (first, last), low, high = self._epochs, self._values[0], self._values[-1]
        across = (point[0] - first) / (last - first)
        up = (point[1] - low) / (high - low)
        return self._left + across * (self._right - self._left), self._bottom - up * (self._bottom - self._top)

    def _grid(self) -> None:
        pen = self._pen
        for value in self._values:
            _, y = self._at((1, value))
            pen.line([(self._left, y), (self._right, y)], _GRID, 1)
            pen.text((self._left - 8, y), self._panel.show(value), "rm", 13, _SOFT)
        first, last = self._epochs
        for epoch in ticks(0, last):
            if first <= (epoch := max(epoch, first)) <= last and epoch == round(epoch):
                x, _ = self._at((epoch, 0))
                pen.line([(x, self._bottom), (x, self._bottom + 5)], _SOFT, 1)
                pen.text((x, self._bottom + 10), f"{epoch:.0f}", "mt", 13, _SOFT)
        pen.line([(self._left, self._bottom), (self._right, self._bottom)], _SOFT, 1)
        pen.text(((self._left + self._right) / 2, _HEIGHT - 16), "epoch", "mm", 14, _SOFT)

    def _legend(self, best: int | None) -> None:
        """Names of the curves, from right to left, above the panel."""
        x, y = self._right, _TOP - 20
        for curve in reversed([curve for curve in self._panel.curves if curve.points]):
            label = curve.label
            if curve.label == _HELD_OUT_LABEL and best is not None:
                label += f" (best: epoch {best})"
            self._pen.text((x, y), label, "rm", 14, _INK)
            x -= self._pen.width(label, 14) + 8
            self._pen.line([(x - 22, y), (x, y)], curve.color, 3)
            x -= 44

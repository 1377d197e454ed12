"""A Graphviz layout, painted with Pillow: the same picture on every machine, with or without fonts.

The layout is Graphviz' `json` format: for each object, drawing operations (`_draw_`, `_ldraw_`,
`_hdraw_`) in points, the origin at the bottom left. Source: Graphviz documentation, "xdot" and
"JSON" output formats.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Operation = Mapping[str, Any]

_DPI = 120.0
_MAX_SIDE = 30_000  # pixels; many viewers stop at 32,767
_MAX_PIXELS = 40_000_000
_SMOOTH_PIXELS = 12_000_000  # up to here painted twice as large and reduced, which smooths the lines
_MARGIN = 4.0  # points
_STEPS = 12  # straight pieces of a curve


def paint(layout: Mapping[str, Any], format: str) -> bytes:
    """The picture of a layout.

    Args:
        layout: Graphviz' json output.
        format: png or pdf. It is painted at 120 dots an inch, or at fewer, with a warning, where
            it would become too large.
    """
    left, bottom, right, top = map(float, layout["bb"].split(","))
    width, height = right - left + 2 * _MARGIN, top - bottom + 2 * _MARGIN
    dpi = _resolution(width / 72, height / 72)
    smooth = 2 if width * height * (dpi / 72) ** 2 <= _SMOOTH_PIXELS else 1
    canvas = _Canvas(width, height, dpi / 72 * smooth, (left - _MARGIN, top + _MARGIN))
    for operation in _operations(layout):
        canvas.do(operation)
    image = canvas.image
    if smooth > 1:
        image = image.resize((image.width // smooth, image.height // smooth), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    options: dict[str, Any] = {"optimize": True} if format == "png" else {"resolution": dpi, "quality": 95}
    image.save(file, format, dpi=(dpi, dpi), **options)
    return file.getvalue()


def _resolution(wide: float, high: float) -> float:
    """Dots an inch that keep a picture of so many inches within the limits."""
    most = min(_MAX_SIDE / max(wide, high), math.sqrt(_MAX_PIXELS / (wide * high)))
    if most >= _DPI:
        return _DPI
    warnings.warn(
        f"the picture is {wide:.0f} x {high:.0f} inches: drawn at {most:.0f} instead of {_DPI:.0f} dots an inch; "
        "SVG has no such limit",
        stacklevel=5,
    )
    return most


def _operations(layout: Mapping[str, Any]) -> Iterator[Operation]:
    """All drawing operations: frames from the outside in, arrows, boxes."""
    objects = layout.get("objects", [])
    frames = [o for o in objects if "nodes" in o or "subgraphs" in o]
    boxes = [o for o in objects if "nodes" not in o and "subgraphs" not in o]
    for drawn in (layout, *frames, *layout.get("edges", []), *boxes):
        for part in ("_draw_", "_hdraw_", "_ldraw_"):
            yield from drawn.get(part, [])


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


class _Canvas:
    """An image, the pen, and how points become pixels."""

    def __init__(self, width: float, height: float, scale: float, origin: Point) -> None:
        self.scale = scale
        self.origin = origin
        self.image = Image.new("RGB", (math.ceil(width * scale), math.ceil(height * scale)), "white")
        self.draw = ImageDraw.Draw(self.image)
        self.line = max(1, round(scale * 0.9))
        self.pen = self.fill = "#000000"
        self.size = 10.0

    def do(self, operation: Operation) -> None:
        """Carries out one drawing operation; those that the pictures here never hold are ignored."""
        match operation:
            case {"op": "c", "color": color}:
                self.pen = color
            case {"op": "C", "color": color}:
                self.fill = color
            case {"op": "F", "size": size}:
                self.size = size
            case {"op": "E" | "e" as op, "rect": [x, y, rx, ry]}:
                (left, top), (right, bottom) = self._pixels([(x - rx, y + ry), (x + rx, y - ry)])
                fill = self.fill if op == "E" else None
                self.draw.ellipse((left, top, right, bottom), fill, self.pen, self.line)
            case {"op": "P" | "p" | "B" | "b" | "L" as op, "points": points}:
                if op in "Bb":
                    points = _curve(points)
                self._path(self._pixels(points), filled=op in "PB", closed=op in "PpB")
            case {"op": "T", "pt": [x, y], "align": align, "width": width, "text": text}:
                self._text((x, y), align, width, text)

    def _pixels(self, points: Sequence[Sequence[float]]) -> list[Point]:
        left, top = self.origin
        return [((x - left) * self.scale, (top - y) * self.scale) for x, y in points]

    def _path(self, points: list[Point], filled: bool, closed: bool) -> None:
        if filled:
            self.draw.polygon(points, self.fill)
        self.draw.line([*points, points[0]] if closed else points, self.pen, self.line, "curve")

    def _text(self, at: Point, align: str, width: float, text: str) -> None:
        font = _font(max(4, round(self.size * self.scale)))
        wanted, found = width * self.scale, font.getlength(text)
        if found > wanted > 0:  # Graphviz reckoned with a narrower font
            font = _font(max(4, int(font.size * wanted / found)))
        anchor = {"l": "ls", "c": "ms", "r": "rs"}[align]
        self.draw.text(self._pixels([at])[0], text, self.pen, font, anchor)


def _curve(points: Sequence[Sequence[float]]) -> list[Point]:
    """A chain of cubic Bézier curves as straight pieces."""
    x, y = points[0]
    found: list[Point] = [(x, y)]
    for i in range(0, len(points) - 3, 3):
        corners = points[i : i + 4]
        for step in range(1, _STEPS + 1):
            t = step / _STEPS
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            sums = [sum(w * c[k] for w, c in zip(weights, corners, strict=True)) for k in (0, 1)]
            found.append((sums[0], sums[1]))
    return found

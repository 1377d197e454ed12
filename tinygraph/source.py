"""Which line of the user's code is running."""

from __future__ import annotations

import os
import sys
from functools import cache

_OUTSIDE = ("tinygraph.models.", "tinygraph.tools.")


def source_line() -> str:
    """The innermost line outside tinygraph itself (its models and tools count as outside)."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith("tinygraph.") or module.startswith(_OUTSIDE):
            return f"{short(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # the loop ends at the outermost frame
    return ""


@cache
def short(filename: str) -> str:
    """File and folder, without the path of this machine."""
    return "/".join(filename.replace(os.sep, "/").split("/")[-2:])

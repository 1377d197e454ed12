"""Signals that ask a long command to stop, heard at a moment that suits it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While the block runs, the first Ctrl-C (or SIGTERM) is noted; a second one interrupts at once.

    A signal that the process ignores, as background jobs of scripts ignore Ctrl-C, stays ignored.

    Attributes:
        heard: the number of the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.heard = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():  # no other thread may set handlers
            heeded = [number for number in _SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
            self._before = {number: signal.signal(number, self._hear) for number in heeded}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.heard:
            raise KeyboardInterrupt
        self.heard = number

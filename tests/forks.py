"""Running something in a forked process, that must not hang."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable


def in_child(run: Callable[[], object], seconds: float = 60) -> None:
    """Runs something in a fork of this process; fails if that fails, or takes too long."""
    child = os.fork()
    if child == 0:
        try:
            run()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, "the forked process failed"
            return
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("the forked process hangs")

"""Running the command line in tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from tinygraph.tools.cli import main

ROOT = Path(__file__).resolve().parents[2]
NETS = "tests.tools.nets:"


def invoke(*args: str, code: int = 0) -> Result:
    """Runs a command in this process, and checks its exit status."""
    result = CliRunner().invoke(main, list(args))
    assert result.exit_code == code, (args, result.stderr, result.stdout)
    return result


def complaint(*args: str) -> str:
    """What a command that is used wrongly says: one short line, and nothing on standard output."""
    result = invoke(*args, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("tinygraph: error: ")
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) < 600
    return result.stderr


def process(*args: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tinygraph", *args],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        check=False,
    )

"""Prints, and on demand writes, the table of the ONNX suite; `--conformance docs/conformance.md` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    reports = [r for key in ("passed", "failed") for r in terminalreporter.stats.get(key, ()) if r.when == "call"]
    found = [(dict(report.user_properties), report.outcome) for report in reports]
    outcomes = [
        (said["kind"], said["operator"], said.get("outcome", "failed") if outcome == "passed" else "failed")
        for said, outcome in found
        if "operator" in said
    ]
    if not outcomes:
        return
    from tests.onnx.suite import document, table

    terminalreporter.section("onnx.backend.test, by operator")
    for line in table(outcomes):
        terminalreporter.write_line(line)
    target = config.getoption("conformance")
    if target:
        Path(target).write_text(document(outcomes), encoding="utf-8")

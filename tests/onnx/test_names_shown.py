"""Names out of a file, in everything that people look at: escaped, or shown as they are where that does no harm."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import tinygraph as tg
from tests.onnx.files import model
from tests.tools.command import invoke

HOSTILE = "a\"b'\n\x1b[31m\x07\r<script>alert(1)</script>&amp; ]]> \\l \\N {x|y} %s \u202eevil\u2028\x00\x7f\x9b"


@pytest.fixture
def path(tmp_path: Path) -> str:
    names = [f"{HOSTILE}{i}" for i in range(5)]
    x, w, h, y, open_dim = names
    nodes = [
        helper.make_node("Add", [x, w], [h], name=HOSTILE),
        helper.make_node("Relu", [h], [y], name=HOSTILE * 2),
    ]
    for made in nodes:
        made.metadata_props.add(key="tinygraph.module", value=HOSTILE)
        made.metadata_props.add(key="tinygraph.source", value=HOSTILE)
    proto = model(nodes, {x: [open_dim, 3]}, {y: None}, {w: np.ones((2, 3), np.float32)[:1]})
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return str(path)


def harmless(text: str) -> None:
    assert not {c for c in text if not c.isprintable() and c not in "\n\t\xa0"}
    assert "<script>alert" not in text


@pytest.mark.parametrize("format", ["table", "json", "csv", "md"])
def test_summary(path: str, format: str) -> None:
    done = invoke("summary", path, "--format", format)
    harmless((done.stdout + done.stderr).replace("<script>", ""))


@pytest.mark.parametrize("suffix", ["dot", "svg", "html"])
def test_pictures(path: str, suffix: str, tmp_path: Path) -> None:
    picture = tmp_path / f"m.{suffix}"
    tg.render(tg.load(path), picture)
    text = picture.read_text(encoding="utf-8")
    harmless(text.replace("<script>alert", "") if suffix == "dot" else text)
    if suffix == "svg":
        ET.fromstring(text)


def test_dumps_and_errors(path: str) -> None:
    graph = tg.load(path)
    harmless(str(graph).replace("<script>", ""))
    assert str(tg.parse(str(graph))) == str(graph)
    with pytest.raises(tg.TinygraphError) as error:
        tg.compile(graph)(np.ones((1, 4), np.float32))
    harmless(str(error.value).replace("<script>", ""))
    with pytest.raises(tg.TinygraphError) as error:
        tg.load(path, bind={"nothing": 1})
    harmless(str(error.value).replace("<script>", ""))

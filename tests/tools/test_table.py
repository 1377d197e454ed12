"""Tables as text, CSV and Markdown."""

from __future__ import annotations

import csv
import io

import pytest

from tinygraph.tools.output import Output, printable
from tinygraph.tools.table import Column, as_text, count, human_bytes, human_count, text_table

COLUMNS = (Column("layer", "name"), Column("op", "op", rank=2), count("MACs", "macs", rank=1))
ROWS = (("conv1", "conv", 118013952), ("a long name that needs two lines", "relu", None))


def output(width: int | None = None, *, boxes: bool = False, color: bool = False) -> Output:
    out = Output()
    out.width, out.boxes, out.color = width, boxes, color
    return out


def test_text_is_aligned() -> None:
    assert text_table(COLUMNS, ROWS, output()).splitlines() == [
        "layer                             op           MACs",
        "---------------------------------------------------",
        "conv1                             conv  118,013,952",
        "a long name that needs two lines  relu",
    ]


def test_a_total_stands_behind_a_rule() -> None:
    lines = text_table(COLUMNS, ROWS[:1], output(boxes=True), ("total", "", 7)).splitlines()
    assert lines[1] == lines[3] == "─" * len(lines[2])
    assert lines[4].split() == ["total", "7"]


def test_text_is_folded_before_columns_go() -> None:
    lines = text_table(COLUMNS, ROWS, output(40)).splitlines()
    assert max(map(len, lines)) <= 40
    assert [line[:21].strip() for line in lines[-2:]] == ["a long name that", "needs two lines"]
    assert lines[-2].split()[-1] == "relu"


@pytest.mark.parametrize("width", range(1, 60))
def test_any_width_gives_a_table(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    text = text_table(COLUMNS, ROWS, output(width))
    assert "conv1" in text
    assert "".join(line[:12].strip().replace(" ", "") for line in text.splitlines()[3:]).startswith("alongname")
    if width >= 12:
        assert max(map(len, text.splitlines())) <= width
    left_out = capsys.readouterr().err
    assert ("MACs" in text) == ("MACs" not in left_out)


def test_wide_and_combining_characters_take_their_places() -> None:
    rows = [("中文", "a", 1), ("e\u0301", "b", 2)]
    lines = text_table(COLUMNS, rows, output()).splitlines()[2:]
    assert [line.index(op) for line, op in zip(lines, "ab", strict=True)] == [len("中文") + 3, len("e\u0301") + 6]


def test_names_cannot_write_to_the_terminal() -> None:
    name = "\x1b[31mred\nline\u202e\ud800"
    assert printable(name) == "\\x1b[31mred\\nline\\u202e\\ud800"
    for style in ("table", "csv", "md"):
        text = as_text(COLUMNS, [(name, "op", 1)], style, output())  # type: ignore[arg-type]
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert text.count("\n") <= 3


def test_csv_holds_raw_numbers() -> None:
    rows = [*ROWS, ('a, "b"', "x", 3)]
    read = list(csv.reader(io.StringIO(as_text(COLUMNS, rows, "csv", output()))))
    assert read[0] == ["name", "op", "macs"]
    assert read[1] == ["conv1", "conv", "118013952"]
    assert read[-1] == ['a, "b"', "x", "3"]


def test_markdown_keeps_its_columns() -> None:
    lines = as_text(COLUMNS, [("a|b<c>", "_x_", 1000)], "md", output()).splitlines()
    assert lines[1] == "| --- | --- | ---: |"
    assert lines[2] == "| a\\|b\\<c\\> | \\_x\\_ | 1,000 |"


def test_color_is_only_where_wanted() -> None:
    assert "\x1b[1m" in text_table(COLUMNS, ROWS, output(color=True))
    assert "\x1b" not in text_table(COLUMNS, ROWS, output())


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (3211264, "3.1 MiB"),
        (5 * 1024**4, "5.0 TiB"),
        (2**60, "1,048,576.0 TiB"),
    ],
)
def test_bytes_for_people(number: int, text: str) -> None:
    assert human_bytes(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1 K"), (999_999, "1 M"), (4089184256, "4.09 G"), (10**20, "100,000 P")],
)
def test_counts_for_people(number: int, text: str) -> None:
    assert human_count(number) == text

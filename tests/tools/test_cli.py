"""The command as a whole: exit statuses, streams, terminals, pipes, signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tinygraph
from tests.tools.command import NETS, ROOT, complaint, invoke, process
from tinygraph.errors import VerifyError
from tinygraph.tools import cli
from tinygraph.tools.output import Output

COMMAND = [sys.executable, "-m", "tinygraph"]
posix = pytest.mark.skipif(os.name != "posix", reason="wants POSIX pipes, signals or terminals")


def test_the_version_is_told() -> None:
    assert invoke("--version").stdout == f"tinygraph, version {tinygraph.__version__}\n"
    assert process("--version").stdout.decode() == f"tinygraph, version {tinygraph.__version__}\n"


def test_help_lists_the_commands_there_are() -> None:
    text = invoke("--help").stdout
    names = re.findall(r"^  ([a-z]+) {2,}", text.partition("Commands:")[2], re.M)
    wanted = ["summary", "render", "run", "optimize", "convert", "train", "bench", "profile", "models", "ops"]
    assert names == wanted
    for name in names:
        assert "Usage: tinygraph " + name in invoke(name, "-h").stdout
    assert "Usage: tinygraph" in invoke(code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sumary",), "No such command 'sumary'; close is summary (see"),
        (("qqq",), "No such command 'qqq' (see"),
        (("summary", "lenet5", "-o", ""), "the name of the file is empty"),
        (("optimize", "lenet5", "-o", ""), "only .onnx can be written"),
        (("summary",), "Missing argument 'MODEL' (see tinygraph summary --help)"),
        (("summary", "lenet5", "--bogus"), "No such option"),
        (("summary", "lenet5", "--format", "xml"), "'xml' is not one of"),
        (("summary", "lenet5", "--top", "0"), "--top"),
        (("summary", "lenet5", "more"), "unexpected extra argument"),
        (("run", "lenet5"), "Missing option '--input'"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    assert said in complaint(*arguments)


def test_a_traceback_comes_with_debug_only() -> None:
    assert "Traceback" not in complaint("summary", "nothing")
    for arguments in (("--debug", "summary", "nothing"), ("summary", "nothing", "--debug")):
        result = invoke(*arguments, code=2)
        assert "Traceback" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("tinygraph: error: there is no model")


@pytest.mark.parametrize("error", [RuntimeError("oops"), VerifyError("oops"), RecursionError("oops"), AssertionError()])
def test_a_bug_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*args: object, **named: object) -> None:
        raise error

    monkeypatch.setattr("tinygraph.tools.summary.find", fails)
    result = invoke("summary", "lenet5", code=cli.BUG)
    assert result.stderr.startswith(f"tinygraph: error: a bug of tinygraph: {type(error).__name__}")
    assert result.stderr.endswith("rerun with --debug for the traceback\n")
    assert "Traceback" not in result.stderr
    assert "Traceback" in invoke("summary", "lenet5", "--debug", code=cli.BUG).stderr


@pytest.mark.parametrize(
    ("error", "status"), [(MemoryError(), 2), (OSError(28, "No space left on device"), 2), (KeyboardInterrupt(), 130)]
)
def test_what_is_no_bug_is_none(monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int) -> None:
    def fails(*args: object, **named: object) -> None:
        raise error

    monkeypatch.setattr("tinygraph.tools.summary.find", fails)
    assert "bug" not in invoke("summary", "lenet5", code=status).stderr


def test_messages_cannot_write_to_the_terminal() -> None:
    said = complaint("summary", "\x1b[31mred\nline")
    assert "\\x1b[31mred\\nline" in said


# ---- streams ---------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("arguments", [("summary", "resnet152"), ("ops",), ("models", "--format", "json"), ("--help",)])
def test_a_closed_pipe_ends_it_silently(arguments: tuple[str, ...]) -> None:
    with subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait() in (0, 141)


@posix
def test_head_gets_its_lines() -> None:
    script = f"{sys.executable} -m tinygraph summary resnet152 --depth 9 | head -n 2; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "resnet152"
    assert done.stdout.splitlines()[-1] in ("0", "141")
    assert done.stderr == ""


@posix
def test_a_full_disk_is_said() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "ops"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "tinygraph: error: No space left on device\n")


@posix
@pytest.mark.parametrize(("command", "suffix"), [("summary", ""), ("render", ".png"), ("render", ".dot")])
def test_a_full_disk_is_said_of_the_file(tmp_path: Path, command: str, suffix: str) -> None:
    path = tmp_path / f"full{suffix}"
    path.symlink_to("/dev/full")
    assert complaint(command, "lenet5", "-o", str(path)).endswith(f"cannot write {path}: No space left on device\n")


@posix
def test_a_file_that_cannot_be_written_stays_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(path: Path, *args: object, **named: object) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    old = tmp_path / "net.dot"
    old.write_text("old")
    monkeypatch.setattr(Path, "write_text", fails)
    complaint("render", "lenet5", "-o", str(old))
    complaint("summary", "lenet5", "-o", str(old))
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(old, "old")]


@posix
@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_output_has_names(name: str) -> None:
    plain = process("models", "--format", "csv").stdout
    assert plain.count(b"\n") > 10
    assert process("models", "--format", "csv", "-o", name).stdout == plain


@posix
def test_messages_that_nobody_can_read_change_nothing() -> None:
    for arguments, status in ((["nothing"], 2), (["resnet50", "--input-size", "1,3,1,1"], 0)):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*COMMAND, "summary", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=full, check=False
            )
        assert done.returncode == status
        assert bool(done.stdout) == (status == 0)


@posix
def test_a_closed_standard_output_is_no_bug() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m tinygraph summary lenet5 >&-"], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@posix
def test_an_interrupt_ends_it_quietly(tmp_path: Path) -> None:
    code = "import time\ndef make():\n    open('started', 'w').close()\n    time.sleep(60)\n"
    (tmp_path / "slow_net.py").write_text(code)
    with subprocess.Popen([*COMMAND, "summary", "slow_net:make"], cwd=tmp_path, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        while not (tmp_path / "started").exists():
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        assert running.stderr.read().strip() == b""
        assert running.wait() == 130


def test_data_and_remarks_go_their_ways() -> None:
    done = process("summary", "resnet50", "--input-size", "1,3,1,1", "--format", "csv")
    assert done.stdout.startswith(b"name,op,")
    assert done.stderr.startswith(b"tinygraph: note: ")
    assert b"note" not in done.stdout


# ---- what a stream or terminal can show ------------------------------------------------------


def test_plain_characters_where_no_others_can_be_shown() -> None:
    assert process("summary", "lenet5", LC_ALL="C").stdout.isascii()
    assert process("summary", "lenet5", PYTHONIOENCODING="ascii").stdout.isascii()
    assert process("summary", NETS + "hostile", PYTHONIOENCODING="latin-1").returncode == 0
    done = process("summary", NETS + "hostile", PYTHONIOENCODING="ascii")
    assert done.stdout.isascii()
    assert b"\\xe9\\u4e2d1" in done.stdout
    assert "─" in process("summary", "lenet5", PYTHONIOENCODING="utf-8", LC_ALL="C.UTF-8").stdout.decode()


def test_nothing_is_cut_or_coloured_in_a_pipe() -> None:
    done = process("summary", "resnet50", COLUMNS="40")
    assert b"\x1b" not in done.stdout
    assert max(map(len, done.stdout.decode().splitlines())) > 100
    assert b"\x1b[1m" in process("summary", "resnet50", "--color", "always").stdout


def terminal(columns: int, *arguments: str, status: int = 0, errors: bool = False, **environment: str) -> str:
    """What a command writes to a terminal of that width."""
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")} | environment
    streams = {"stdout": follower, "stderr": follower if errors else None}
    with subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=environment, **streams) as running:
        os.close(follower)
        written = b""
        try:
            while part := os.read(leader, 65536):
                written += part
        except OSError:  # how Linux says that the other end was closed
            pass
        os.close(leader)
        assert running.wait() == status
    return written.decode().replace("\r\n", "\n")


@posix
def test_a_terminal_gets_colour_and_its_width() -> None:
    text = terminal(100, "summary", "resnet18", "--quiet", LC_ALL="C.UTF-8")
    assert "\x1b[1m" in text
    assert "─" in text
    plain = re.sub(r"\x1b\[\d*m", "", text)
    assert max(map(len, plain.splitlines())) <= 100
    assert "\x1b" not in terminal(100, "summary", "resnet18", "--quiet", NO_COLOR="1")
    assert "\x1b" not in terminal(100, "summary", "resnet18", "--quiet", "--color", "never")
    assert "\x1b" in terminal(100, "summary", "resnet18", "--quiet", "--color", "always", NO_COLOR="1")


@posix
@pytest.mark.parametrize("command", ["summary resnet50", "ops", "models", "optimize resnet18 --explain"])
def test_forty_columns_are_enough(command: str) -> None:
    lines = terminal(40, *command.split(), "--quiet", NO_COLOR="1", COLUMNS="300").splitlines()
    assert max(map(len, lines)) <= 40
    assert len(lines) > 10


@posix
def test_columns_that_are_left_out_are_told() -> None:
    assert "40 columns are few: left out op, output, FLOPs, memory" in terminal(40, "summary", "resnet50", errors=True)
    assert "left out" not in terminal(120, "summary", "resnet50", errors=True)


@posix
def test_the_environment_tells_the_width_where_the_terminal_does_not() -> None:
    assert max(map(len, terminal(0, "models", "--quiet", NO_COLOR="1", COLUMNS="50").splitlines())) <= 50
    assert "'wide' is not a whole number" in terminal(0, "models", status=2, errors=True, COLUMNS="wide")


def test_a_file_is_neither_narrow_nor_coloured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = Output(str(tmp_path / "x"))
    assert (out.width, out.color, out.boxes) == (None, False, True)

"""Pickles that would do harm if they were unpickled, and files that would if their sizes were believed."""

from __future__ import annotations

import pickle
import struct
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

import tinygraph as tg
from tests.weights.files import FOLDER, FOUR, Raw, call, named, pickled, stored, tensor, value, write
from tinygraph import weights

RAN: list[str] = []


def harm(*told: str) -> None:
    """What no file may call."""
    RAN.append(" ".join(told))


class Harmful:
    """Calls `harm` when it is unpickled."""

    def __reduce__(self) -> Any:
        return harm, ("done",)


def refused(path: Path, pickle: bytes, said: str | None = None, **members: Any) -> str:
    with pytest.raises(tg.ModelFormatError, match=said) as caught:
        weights.load(write(path, pickle, **members))
    message = str(caught.value)
    assert path.name in message
    assert len(message) < 600
    assert "\n" not in message
    return message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pth"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_executed_and_the_name_is_told(path: Path, protocol: int) -> None:
    content = pickle.dumps({"x": Harmful()}, protocol)
    assert pickle.loads(content) == {"x": None}
    assert RAN.pop() == "done"
    said = refused(path, content)
    assert RAN == []
    if protocol >= 2:
        assert "it holds 'tests.weights.test_hostile_pickles.harm', which is no tensor; nothing was executed" in said


@pytest.mark.parametrize(
    "name",
    [
        "posix.system",
        "builtins.eval",
        "builtins.getattr",
        "torch.load",
        "torch.hub.load",
        "torch._utils._rebuild_sparse_tensor",
        "collections.OrderedDict.fromkeys",
        "collections.defaultdict",
        "argparse.Namespace",
        "numpy.core.multiarray.scalar",
        "\x1b[31mred.name",
    ],
)
def test_names_other_than_those_of_tensors(path: Path, name: str) -> None:
    message = refused(path, pickled({"x": call(name, "x")}), "nothing was executed")
    assert message.isprintable()
    stacked = Raw(value(name.rpartition(".")[0]) + value(name.rpartition(".")[2]) + b"\x93")
    assert refused(path, pickled({"x": stacked}), "nothing was executed") == message


@pytest.mark.parametrize(
    ("opcodes", "name"),
    [
        (b"(iposix\nsystem\n", "posix.system"),
        (b"(icollections\nOrderedDict\n", "INST"),
        (b"}(o", "OBJ"),
        (b"})\x81", "NEWOBJ"),
        (b"})}\x92", "NEWOBJ_EX"),
        (b"\x82\x01", "EXT1"),
        (b"Pid\n", "PERSID"),
        (b"N2", "DUP"),
        (b"N0", "POP"),
        (b"\x8f", "EMPTY_SET"),
        (b"C\x01x", "SHORT_BINBYTES"),
        (b"\x8b\x01\x00\x00\x00\x01", "LONG4"),
        (b"I1\n", "INT"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_opcodes_that_no_tensor_needs(path: Path, opcodes: bytes, name: str) -> None:
    assert name in refused(path, b"\x80\x02" + opcodes + b".", "nothing was executed")


ODD = {
    "a call of a storage": call("torch.FloatStorage", 1),
    "a call of a text": Raw(value("x") + value(()) + b"R"),
    "arguments in a list": Raw(named("collections.OrderedDict") + value([]) + b"R"),
    "a dict made of arguments": call("collections.OrderedDict", [("x", 1)]),
    "a parameter of nothing": call("torch._utils._rebuild_parameter"),
    "a parameter of a number": call("torch._utils._rebuild_parameter", 3, True, None),
    "attributes of a list": Raw(value([]) + value({}) + b"b"),
    "attributes of a tensor": Raw(tensor() + value({"x": 1}) + b"b"),
    "items of a list": Raw(value([]) + b"(" + value(1) + value(2) + b"u"),
    "a key without a value": Raw(b"}(" + value("x") + b"u"),
    "appended to a dict": Raw(value({}) + value(1) + b"a"),
    "an id that is a text": Raw(value("storage") + b"Q"),
    "an id of something else": Raw(value(("module", named("torch.FloatStorage"), "0", "cpu", 4)) + b"Q"),
    "an id of a function": Raw(value(("storage", named("torch._utils._rebuild_tensor_v2"), "0", "cpu", 4)) + b"Q"),
    "a storage called by a number": stored(key=0),
    "a storage of -1": stored(size=-1),
    "a storage of True": stored(size=True),
    "a memo that is not there": Raw(b"h\x05"),
    "a memo far away": Raw(b"Nr\xff\xff\xff\xff"),
    "a name of numbers": Raw(value(1) + value(2) + b"\x93"),
    "no mark": Raw(b"t"),
    "an unknown opcode": Raw(b"\xff"),
    "more than there is": Raw(b"X\xff\xff\xff\x7fabc"),
    "no utf-8": Raw(b"X\x01\x00\x00\x00\xff"),
}
ODD_TENSORS = {
    "no storage": tensor(3),
    "a list for a shape": tensor(None, 0, [4]),
    "a negative size": tensor(None, 0, (-4,)),
    "two negative sizes": tensor(None, 0, (-2, -2), (1, 1)),
    "a negative stride": tensor(None, 3, (4,), (-1,)),
    "a negative offset": tensor(None, -1, (2,)),
    "an offset of half": tensor(None, 0.5),
    "an offset of True": tensor(None, True, (2,)),
    "a size of True": tensor(None, 0, (True,)),
    "fewer strides": tensor(None, 0, (2, 2), (1,)),
    "65 dimensions": tensor(None, 0, (1,) * 65, (1,) * 65),
    "conjugate numbers": tensor(None, 0, (4,), (1,), {"conj": True}),
    "more arguments": tensor(None, 0, (4,), (1,), None, None, None),
    "no arguments": call("torch._utils._rebuild_tensor_v2"),
}
BEYOND = {
    "one too far": tensor(None, 1, (4,)),
    "one too long": tensor(None, 0, (5,)),
    "a stride too far": tensor(None, 0, (2, 2), (3, 1)),
    "an offset of 2**64": tensor(None, 2**64, (1,)),
    "a stride of 2**2000": tensor(None, 0, (2,), (2**2000,)),
}
STORAGES = {
    "a storage that is not there": tensor(stored(key="1")),
    "a storage elsewhere": tensor(stored(key="../data.pkl")),
    "a storage in the root": tensor(stored(key="/etc/passwd")),
    "a longer storage": tensor(stored(size=5)),
    "a shorter storage": tensor(stored(size=3), 0, (3,)),
    "a storage of 2**2000": tensor(stored(size=2**2000)),
    "another dtype": tensor(stored("torch.DoubleStorage")),
}


@pytest.mark.parametrize("name", [*ODD, *ODD_TENSORS])
def test_values_that_make_no_sense(path: Path, name: str) -> None:
    refused(path, pickled({"x": (ODD | ODD_TENSORS)[name]}), "its pickle is damaged")


@pytest.mark.parametrize("name", BEYOND)
def test_views_that_reach_beyond_their_storage(path: Path, name: str) -> None:
    refused(path, pickled({"x": BEYOND[name]}), "a tensor reaches beyond the storage '0'")


@pytest.mark.parametrize("name", STORAGES)
def test_storages_that_are_not_as_they_are_described(path: Path, name: str) -> None:
    refused(
        path,
        pickled({"x": STORAGES[name]}),
        r"the storage '[^']+' (is missing|has 16 bytes, other than its tensors say)",
    )


def test_shapes_that_numpy_cannot_have(path: Path) -> None:
    refused(path, pickled({"x": tensor(None, 0, (0, 2**70), (1, 1))}), "is no PyTorch file, or is damaged")


@pytest.mark.parametrize("content", [b"", b".", b"\x80\x02", b"\x80\x02}", b"\x80\x02}" + b"q\x00", b"\x80\x09}."])
def test_pickles_that_end_early(path: Path, content: bytes) -> None:
    if content == b"\x80\x09}.":
        assert weights.load(write(path, content)) == {}  # a number of a version, and nothing new in it
    else:
        refused(path, content, "its pickle")


@pytest.mark.parametrize("name", ["views.pth", "checkpoint.pth.tar", "dtypes.pth"])
def test_a_file_cut_off_anywhere_is_refused(path: Path, name: str) -> None:
    whole = (FOLDER / name).read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(tg.ModelFormatError, match=r"net\.pth"):
            weights.load(path)


def test_a_pickle_cut_off_anywhere_is_refused(path: Path) -> None:
    with zipfile.ZipFile(FOLDER / "tied.pt") as archive:
        content = archive.read("tied/data.pkl")
    for length in range(len(content)):
        refused(path, content[:length], "its pickle")


# ---- bombs ----


def test_long_pickles_are_not_begun(path: Path) -> None:
    message = refused(path, b"\x80\x02" + b"N" * 5_000_000 + b".", "at most 4,194,304 are read")
    assert "'archive/data.pkl' in it has 5,000,003 bytes" in message


@pytest.mark.parametrize(
    "content",
    [
        b"](" + b"](" * 50_000 + b"e" * 50_000 + b"e",
        b")" + b"\x85" * 100_000,
        b"}(" + (b"X\x01\x00\x00\x00x}(") * 20_000 + b"u" * 20_001,
        b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(200)),
        b"]q\x00h\x00a",
        b"}q\x00X\x01\x00\x00\x00xh\x00s",
    ],
    ids=["lists", "tuples", "dicts", "doubled two hundred times", "a list in itself", "a dict in itself"],
)
def test_depth_and_doubling_cost_nothing(path: Path, content: bytes) -> None:
    start = time.perf_counter()
    refused(path, b"\x80\x02" + content + b".", "it holds (a list|a tuple|no dict of nothing but tensors)")
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    "view",
    [((4,), (1,)), ((2, 2), (1, 2)), ((4, 1), (1, 7)), ((2, 2), (0, 0))],
    ids=["whole", "transposed", "a column", "one number"],
)
def test_one_storage_is_not_multiplied(path: Path, view: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    write(path, pickled({f"x{i}": tensor(None, 0, *view) for i in range(1000)}))
    assert len(weights.load(path, limit=16_000)) == 1000
    with pytest.raises(tg.BudgetError):
        weights.load(path, limit=15_999)


def test_compressed_members_are_refused(path: Path) -> None:
    zeros = {"0": bytes(4_000_000)}
    state = {"x": tensor(stored(size=1_000_000), 0, (1_000_000,))}
    refused(path, pickled(state), "compressed", storages=zeros, compression=zipfile.ZIP_DEFLATED)


def test_sizes_that_are_not_true(path: Path) -> None:
    state = {"x": tensor(stored(size=2**28), 0, (2**28,))}
    content = write(path, pickled(state)).read_bytes()
    directory = content.rindex(b"PK\x01\x02")
    assert content[directory + 46 :].startswith(b"archive/data/0")
    longer = bytearray(content)
    longer[directory + 24 : directory + 28] = struct.pack("<I", 2**30)
    path.write_bytes(longer)
    with pytest.raises(tg.ModelFormatError, match="a size or a place that it cannot have"):
        weights.load(path)
    longer[directory + 20 : directory + 24] = struct.pack("<I", 2**30)
    path.write_bytes(longer)
    with pytest.raises(tg.ModelFormatError, match=r"net\.pth"):
        weights.load(path)
    with pytest.raises(tg.BudgetError):
        weights.load(path, limit=2**30 - 1)


def test_two_members_of_one_name(path: Path) -> None:
    write(path, pickled({"x": tensor()}))
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data/0", bytes(16))
    with pytest.raises(tg.ModelFormatError, match="two members are called 'archive/data/0'"):
        weights.load(path)
    write(path, pickled({"x": tensor()}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", pickled({}))
    with pytest.raises(tg.ModelFormatError, match=r"there is more than one data\.pkl"):
        weights.load(path)


def test_names_of_members_are_names_and_no_paths(path: Path) -> None:
    before = sorted(path.parent.iterdir())
    state = {"../x": tensor(stored(key="../../0")), "/tmp/y": tensor(stored(key="/0"))}
    loaded = weights.load(write(path, pickled(state), {"../../0": FOUR, "/0": FOUR}))
    assert set(loaded) == {"../x", "/tmp/y"}
    assert sorted(path.parent.iterdir()) == [*before, path]
    assert not (path.parent.parent / "0").exists()


def test_damaged_numbers_are_refused(path: Path) -> None:
    content = write(path, pickled({"x": tensor()})).read_bytes()
    path.write_bytes(content.replace(FOUR, FOUR[::-1]))
    with pytest.raises(tg.ModelFormatError, match='or is damaged: "Bad CRC-32'):
        weights.load(path)

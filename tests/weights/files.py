"""Files as torch.save makes them, written by hand: right ones, damaged ones, hostile ones."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "data" / "weights"
FOUR = struct.pack("<4f", 1, 2, 3, 4)


class Raw(bytes):
    """Opcodes that leave one value on the stack."""


def value(thing: Any) -> Raw:
    """Opcodes that make a plain value."""
    match thing:
        case Raw():
            return thing
        case None:
            return Raw(b"N")
        case bool():
            return Raw(b"\x88" if thing else b"\x89")
        case int():
            packed = thing.to_bytes(thing.bit_length() // 8 + 1, "little", signed=True)
            return Raw(b"\x8a" + bytes([len(packed)]) + packed)
        case float():
            return Raw(b"G" + struct.pack(">d", thing))
        case str():
            return Raw(b"X" + struct.pack("<I", len(thing.encode())) + thing.encode())
        case tuple():
            return Raw(b"(" + b"".join(map(value, thing)) + b"t")
        case list():
            return Raw(b"](" + b"".join(map(value, thing)) + b"e")
        case dict():
            return Raw(b"}(" + b"".join(value(k) + value(v) for k, v in thing.items()) + b"u")
    raise TypeError(thing)


def named(name: str) -> Raw:
    """What a file calls by a full name."""
    module, _, last = name.rpartition(".")
    return Raw(f"c{module}\n{last}\n".encode())


def call(name: str, *arguments: Any) -> Raw:
    """A call of it."""
    return Raw(named(name) + value(arguments) + b"R")


def stored(kind: str = "torch.FloatStorage", key: Any = "0", size: Any = 4) -> Raw:
    """A storage."""
    return Raw(value(("storage", named(kind), key, "cpu", size)) + b"Q")


def tensor(
    storage: Any = None, offset: Any = 0, shape: Any = (4,), strides: Any = (1,), *rest: Any, hooks: Any = None
) -> Raw:
    """A view of a storage; by default all four numbers of the usual one."""
    storage = stored() if storage is None else storage
    return call("torch._utils._rebuild_tensor_v2", storage, offset, shape, strides, False, hooks, *rest)


def pickled(thing: Any) -> bytes:
    """A whole pickle of protocol 2."""
    return b"\x80\x02" + value(thing) + b"."


def write(
    path: Path, pickle: bytes, storages: Mapping[str, bytes] | None = None, compression: int = 0, **members: bytes
) -> Path:
    """Writes a PyTorch file; by default storage 0 holds 1, 2, 3, 4."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle)
        for key, content in ({"0": FOUR} if storages is None else storages).items():
            archive.writestr(f"archive/data/{key}", content)
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return path

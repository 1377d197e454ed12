"""What is in an ONNX file: the message that protobuf reads, and apart from it the numbers of large initializers.

Protobuf would hold all numbers once more, beside the file and the arrays. So the fields of the message are followed
as far as the initializers; their numbers stay in the file, until each tensor is read into an array of its own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs of its own

from tinygraph.errors import ModelFormatError, UsageError
from tinygraph.ir import Array

LIMIT = 2**31 - 1  # bytes: protobuf cannot hold more in one message

_LARGE = 4096  # bytes of a tensor's numbers that stay in the file
_MOST_FIELDS = 10**6  # that are followed one by one
_MOST_FIELDS_OF_TENSOR = 200
_WINDOW = 1 << 14  # bytes that are read at a time to follow fields
_LONGEST = 10  # bytes of a number
_HEAD = 2 * _LONGEST  # of a tag and a length

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # numbers of the fields in ModelProto, GraphProto, TensorProto
_BYTES = 2  # how a field is written whose length comes first


@dataclass(frozen=True)
class Raw:
    """The numbers of a tensor, in the file.

    Attributes:
        file: open.
        start: where they begin.
        nbytes: how many bytes they are.
    """

    file: BinaryIO
    start: int
    nbytes: int

    def read(self) -> Array:
        """The bytes, read-only; ModelFormatError if they are not there any more."""
        memory = np.empty(self.nbytes, np.uint8)
        self.file.seek(self.start)
        if self.file.readinto(memory.data) != self.nbytes:  # type: ignore[attr-defined]  # all our files have it
            raise ModelFormatError("the file became shorter while it was read")
        memory.flags.writeable = False
        return memory


class Content(NamedTuple):
    """A model that was parsed.

    Attributes:
        model: without the numbers of large initializers.
        raws: for each initializer its numbers, if they stayed in the file.
    """

    model: onnx.ModelProto
    raws: list[Raw | None]


def opened(source: Any) -> BinaryIO:
    """A model's file; one in memory where it is none, or none that could be read at any place.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    try:
        if isinstance(source, (bytes, bytearray, memoryview)):
            return BytesIO(source)
        if hasattr(source, "read"):
            content = source.read(LIMIT + 1)
        else:
            file = open(source, "rb")  # noqa: SIM115  # whoever asked closes it
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file
            with file:
                content = file.read(LIMIT + 1)
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {source!r}: {reason}") from None
    if not isinstance(content, bytes):
        raise UsageError("the file to load is opened for text; open it with mode 'rb'")
    return BytesIO(content)


def parsed(file: BinaryIO) -> Content:
    """The model in a file; ModelFormatError if there is none."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise ModelFormatError("it is empty")
    if size > LIMIT:
        raise ModelFormatError("it is larger than 2 GiB, which no ONNX model can be")
    model, outline = onnx.ModelProto(), _Outline(file, size)
    try:
        model.ParseFromString(outline.message())
    except DecodeError:
        raise ModelFormatError("it is no ONNX model, or a damaged or truncated one") from None
    return Content(model, outline.raws or [None] * len(model.graph.initializer))


class _OddError(Exception):
    """Fields are not as they should be: protobuf is to say what is wrong."""


class _Field(NamedTuple):
    """A field of a message, and where it is in the file.

    Attributes:
        number: which of the message's.
        kind: how it is written.
        start: of its tag.
        content: where what is in it starts.
        end: of all.
    """

    number: int
    kind: int
    start: int
    content: int
    end: int


class _Outline:
    """A message without the numbers of large initializers.

    Attributes:
        raws: what was left out, for each initializer; nothing if all is in the message.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.raws: list[Raw | None] = []
        self._file, self._size = file, size
        self._window, self._from = b"", 0
        self._followed = 0

    def message(self) -> bytes:
        """The message."""
        if self._size < _LARGE:
            return self._read(0, self._size)
        try:
            return b"".join(self._rewritten(0, self._size, _GRAPH, self._graph))
        except _OddError:
            self.raws = []
            return self._read(0, self._size)

    def _graph(self, start: int, end: int) -> list[bytes]:
        return self._rewritten(start, end, _INITIALIZER, self._initializer)

    def _initializer(self, start: int, end: int) -> list[bytes] | None:
        raw = self._raw_data(start, end) if end - start > _LARGE else None
        if raw is None or raw.end - raw.content < _LARGE:
            self.raws.append(None)
            return None
        self.raws.append(Raw(self._file, raw.content, raw.end - raw.content))
        return [self._read(start, raw.start), self._read(raw.end, end)]

    def _raw_data(self, start: int, end: int) -> _Field | None:
        """The one field with the raw data of a tensor; None if there is another one, or very much else."""
        fields = list(islice(self._fields(start, end), _MOST_FIELDS_OF_TENSOR + 1))
        found = [field for field in fields if (field.number, field.kind) == (_RAW_DATA, _BYTES)]
        return found[0] if len(found) == 1 and len(fields) <= _MOST_FIELDS_OF_TENSOR else None

    def _rewritten(
        self, start: int, end: int, number: int, rewrite: Callable[[int, int], list[bytes] | None]
    ) -> list[bytes]:
        """A message in pieces, where messages within, the fields of a number, are what `rewrite` makes of them."""
        pieces = []
        for field in self._fields(start, end):
            made = rewrite(field.content, field.end) if (field.number, field.kind) == (number, _BYTES) else None
            if made is not None:
                head = _varint(number << 3 | _BYTES) + _varint(sum(map(len, made)))
                pieces += [self._read(start, field.start), head, *made]
                start = field.end
        return [*pieces, self._read(start, end)]

    def _fields(self, start: int, end: int) -> Iterator[_Field]:
        while start < end:
            self._followed += 1
            if self._followed > _MOST_FIELDS:
                raise _OddError
            head = self._head(start)
            tag, at = _number(head, 0)
            content = stop = start + at
            match tag & 7:
                case 0:
                    stop = start + _number(head, at)[1]
                case 1:
                    stop += 8
                case 2:
                    length, at = _number(head, at)
                    content = start + at
                    stop = content + length
                case 5:
                    stop += 4
                case _:
                    raise _OddError
            if stop > end or not tag >> 3:
                raise _OddError
            yield _Field(tag >> 3, tag & 7, start, content, stop)
            start = stop

    def _head(self, start: int) -> bytes:
        """The first bytes of a field."""
        at = start - self._from
        if not 0 <= at <= len(self._window) - _HEAD:
            self._window, self._from, at = self._read(start, start + _WINDOW), start, 0
        return self._window[at : at + _HEAD]

    def _read(self, start: int, end: int) -> bytes:
        if start == end:
            return b""
        self._file.seek(start)
        return self._file.read(end - start)


def _number(content: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    number = 0
    for i, byte in enumerate(content[at : at + _LONGEST]):
        number |= (byte & 127) << 7 * i
        if byte < 128:
            return number, at + i + 1
    raise _OddError


def _varint(number: int) -> bytes:
    """The same the other way."""
    content = bytearray()
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])

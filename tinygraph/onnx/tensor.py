"""TensorProto and arrays, both ways. Sizes are checked before anything is allocated."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx

from tinygraph.errors import ModelFormatError, UsageError
from tinygraph.ir import Array, dtype_name
from tinygraph.onnx.content import Raw
from tinygraph.onnx.external import Folder

_DTYPES: dict[int, np.dtype[Any]] = {
    onnx.TensorProto.BOOL: np.dtype(np.bool_),
    onnx.TensorProto.INT8: np.dtype(np.int8),
    onnx.TensorProto.INT16: np.dtype(np.int16),
    onnx.TensorProto.INT32: np.dtype(np.int32),
    onnx.TensorProto.INT64: np.dtype(np.int64),
    onnx.TensorProto.UINT8: np.dtype(np.uint8),
    onnx.TensorProto.UINT16: np.dtype(np.uint16),
    onnx.TensorProto.UINT32: np.dtype(np.uint32),
    onnx.TensorProto.UINT64: np.dtype(np.uint64),
    onnx.TensorProto.FLOAT16: np.dtype(np.float16),
    onnx.TensorProto.FLOAT: np.dtype(np.float32),
    onnx.TensorProto.DOUBLE: np.dtype(np.float64),
}
_ELEM_TYPES = {dtype: elem_type for elem_type, dtype in _DTYPES.items()}

# The field that holds the numbers where raw_data does not; int32_data for all others.
_FIELDS: dict[int, str] = {
    onnx.TensorProto.INT64: "int64_data",
    onnx.TensorProto.UINT32: "uint64_data",
    onnx.TensorProto.UINT64: "uint64_data",
    onnx.TensorProto.FLOAT: "float_data",
    onnx.TensorProto.DOUBLE: "double_data",
}
_MOST_DIMS = 64  # of a NumPy array
_ALL_FIELDS = ("string_data", "int32_data", "int64_data", "uint64_data", "float_data", "double_data")


def dtype(elem_type: int) -> np.dtype[Any]:
    """The NumPy dtype of an ONNX element type.

    Raises:
        ModelFormatError: there is none, or tinygraph does not compute with it.
    """
    if elem_type in _DTYPES:
        return _DTYPES[elem_type]
    known = {number: name for name, number in onnx.TensorProto.DataType.items()}
    raise ModelFormatError(
        f"the element type {known.get(elem_type, elem_type)} is not supported; "
        f"supported are {', '.join(known[e] for e in _DTYPES)}"
    )


def elem_type(dtype: np.dtype[Any]) -> int:
    """The ONNX element type of a NumPy dtype.

    Raises:
        UsageError: ONNX has none.
    """
    native = dtype.newbyteorder("=")
    if native not in _ELEM_TYPES:
        raise UsageError(f"arrays of {dtype_name(dtype)} cannot be written to ONNX; cast them first")
    return _ELEM_TYPES[native]


def to_array(tensor: onnx.TensorProto, folder: Folder | None = None, raw: Raw | None = None) -> Array:
    """The array, read-only.

    Args:
        tensor: with its numbers, or the place in another file where they are.
        folder: where that file may be; None if nowhere.
        raw: its raw data, where they are not in the tensor.

    Raises:
        ModelFormatError: the numbers cannot be had, or are not as many as the dims say.
    """
    if tensor.HasField("segment"):
        raise ModelFormatError("it is a segment of a tensor")
    wanted = dtype(tensor.data_type)
    dims = _dims(tensor)
    outside = tensor.data_location == onnx.TensorProto.EXTERNAL or bool(tensor.external_data)
    flat = _outside(tensor, wanted, dims, folder, raw) if outside else _inside(tensor, wanted, dims, raw)
    try:
        array = flat.reshape(dims)
    except ValueError as error:
        raise ModelFormatError(f"its dims {dims} cannot be those of an array: {error}") from None
    array.flags.writeable = False
    return array


def _dims(tensor: onnx.TensorProto) -> tuple[int, ...]:
    dims = tuple(tensor.dims)
    if len(dims) > _MOST_DIMS:
        raise ModelFormatError(f"it has {len(dims)} dims, more than the {_MOST_DIMS} that arrays may have")
    if min(dims, default=0) < 0:
        raise ModelFormatError(f"its dims {dims} are negative")
    return dims


def _outside(
    tensor: onnx.TensorProto, wanted: np.dtype[Any], dims: tuple[int, ...], folder: Folder | None, raw: Raw | None
) -> Array:
    filled = _filled(tensor, raw)
    if filled:
        raise ModelFormatError(f"its numbers are in another file and in {' and '.join(filled)}")
    if folder is None:
        raise ModelFormatError(
            "its numbers are in another file; that is found only when the model is loaded by its path"
        )
    return _from_bytes(np.frombuffer(folder.read(tensor, prod(dims) * wanted.itemsize), np.uint8), wanted)


def _inside(tensor: onnx.TensorProto, wanted: np.dtype[Any], dims: tuple[int, ...], raw: Raw | None) -> Array:
    field = _FIELDS.get(tensor.data_type, "int32_data")
    filled = _filled(tensor, raw)
    if filled and filled not in (["raw_data"], [field]):
        raise ModelFormatError(f"its numbers are in {' and '.join(filled)}, want either raw_data or {field}")
    if filled == ["raw_data"]:
        data = np.frombuffer(tensor.raw_data, np.uint8) if raw is None else raw
        nbytes = prod(dims) * wanted.itemsize
        if data.nbytes != nbytes:
            raise ModelFormatError(f"its dims {dims} want {nbytes} bytes, there are {data.nbytes}")
        return _from_bytes(data.read() if isinstance(data, Raw) else data, wanted)
    typed = getattr(tensor, field)
    if len(typed) != prod(dims):
        raise ModelFormatError(f"its dims {dims} want {prod(dims)} numbers, there are {len(typed)}")
    return _typed(typed, wanted)


def _filled(tensor: onnx.TensorProto, raw: Raw | None) -> list[str]:
    """The fields that hold numbers."""
    there = raw is not None or tensor.raw_data
    return [name for name in _ALL_FIELDS if len(getattr(tensor, name))] + ["raw_data"] * bool(there)


def _from_bytes(data: Array, wanted: np.dtype[Any]) -> Array:
    if wanted == np.bool_:
        return np.asarray(data != 0)
    return data.view(wanted.newbyteorder("<")).astype(wanted, copy=False)


def _typed(numbers: object, wanted: np.dtype[Any]) -> Array:
    held = np.array(numbers)
    if wanted == np.float16:  # kept as the bits of each number
        return held.astype(np.uint16).view(np.float16)
    array: Array = held.astype(wanted)
    if wanted.kind in "iu" and not np.array_equal(array, held):
        raise ModelFormatError(f"some of its numbers are no {wanted.name}")
    return array


def write(tensor: onnx.TensorProto, array: Array, name: str = "") -> onnx.TensorProto:
    """Fills a new tensor with an array, as raw little-endian bytes, and gives it back.

    Raises:
        UsageError: ONNX has no such dtype.
    """
    tensor.name = name
    tensor.data_type = elem_type(array.dtype)
    tensor.dims.extend(array.shape)
    tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return tensor

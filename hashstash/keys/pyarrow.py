"""Keys of Arrow tables and arrays: types and values, however they are chunked or sliced.

What lies below a null, metadata of schemas and encodings of validity make no difference.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from .encode import Encoder, Handler, Steps
from .items import NONE, bytes_item, int_item, str_item


def _values(array: Any, encoder: Encoder) -> Steps:
    """Encode an array's validity and values."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return (yield from _values(array.storage, encoder))
    if types.is_dictionary(kind):
        return (yield from _values(array.dictionary_decode(), encoder))
    if types.is_struct(kind):
        parts = [_validity(array)]
        for field in array.flatten():  # a null row makes its fields null
            parts.append((yield from _values(field, encoder)))  # noqa: PERF401 - a yield
        return encoder.opaque("struct", *parts)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        lengths = _numbers(pc.list_value_length(array))
        return encoder.opaque(
            "list", _validity(array), lengths, (yield from _values(array.flatten(), encoder))
        )
    if types.is_primitive(kind) and not types.is_boolean(kind) and kind.bit_width % 8 == 0:
        return encoder.opaque("values", _validity(array), _numbers(array))
    if types.is_string(kind) or types.is_binary(kind):
        array = array.cast(pa.large_binary())
    elif types.is_large_string(kind):
        array = array.view(pa.large_binary())
    if types.is_large_binary(array.type):
        return encoder.opaque("values", _validity(array), *_texts(array))
    return (yield array.to_pylist())


def _validity(array: Any) -> bytes:
    return NONE if not array.null_count else _numbers(array.is_valid().cast(pa.uint8()))


def _numbers(array: Any) -> bytes:
    """Return the bytes of numbers of a fixed width, zero for nulls, one NaN for all."""
    kind = array.type
    if types.is_float32(kind) or types.is_float64(kind):
        array = pc.if_else(pc.is_nan(array), pa.scalar(float("nan"), kind), array)
    width = kind.bit_width // 8
    if array.null_count:
        array = array.view(_INTEGERS[width]) if width in _INTEGERS else array
        array = array.fill_null(0)
    data = array.buffers()[1]
    start = array.offset * width
    size = len(array) * width
    return bytes_item(data.slice(start, size).to_pybytes() if size else b"")


_INTEGERS = {1: pa.int8(), 2: pa.int16(), 4: pa.int32(), 8: pa.int64()}


def _texts(array: Any) -> tuple[bytes, bytes]:
    """Return the lengths and the contents of texts, empty for nulls."""
    array = array.fill_null(b"") if array.null_count else array
    lengths = _numbers(pc.binary_length(array))
    _, offsets, data = array.buffers()
    if not len(array) or data is None:
        return lengths, bytes_item(b"")
    places = memoryview(offsets).cast("q")
    start, end = places[array.offset], places[array.offset + len(array)]
    return lengths, bytes_item(data.slice(start, end - start).to_pybytes())


def _type(kind: Any) -> bytes:
    return str_item(str(kind))


def _array(value: Any, encoder: Encoder) -> Steps:
    content = yield from _values(value, encoder)
    return encoder.opaque("arrow array", _type(value.type), int_item(len(value)), content)


def _chunked(value: Any, encoder: Encoder) -> Steps:
    chunks = value.chunks
    whole = pa.concat_arrays(chunks) if chunks else pa.array([], value.type)
    return (yield from _array(whole, encoder))


def _field(value: Any, encoder: Encoder) -> bytes:
    nullable = int_item(value.nullable)
    return encoder.opaque("arrow field", str_item(value.name), _type(value.type), nullable)


def _schema(value: Any, encoder: Encoder) -> bytes:
    return encoder.opaque("arrow schema", *(_field(field, encoder) for field in value))


def _table(value: Any, encoder: Encoder) -> Steps:
    parts = [_schema(value.schema, encoder), int_item(value.num_rows)]
    if isinstance(value, pa.RecordBatch):
        value = pa.Table.from_batches([value])
    for column in value.columns:
        parts.append((yield from _chunked(column, encoder)))  # noqa: PERF401 - a yield
    return encoder.opaque("arrow table", *parts)


def _batch(value: Any, encoder: Encoder) -> Steps:
    return encoder.opaque("record batch", (yield from _table(value, encoder)))


def _scalar(value: Any, encoder: Encoder) -> Steps:
    return encoder.opaque("arrow scalar", (yield from _array(pa.repeat(value, 1), encoder)))


def _data_type(value: Any, encoder: Encoder) -> bytes:
    return encoder.opaque("arrow type", _type(value))


def _buffer(value: Any, encoder: Encoder) -> bytes:
    return encoder.opaque("buffer", bytes_item(value.to_pybytes()))


def handler_for(kind: type) -> Handler | None:
    """Return what encodes instances of exactly ``kind``, or None if it is not pyarrow's."""
    table: list[tuple[type, Handler]] = [
        (pa.Table, _table),
        (pa.RecordBatch, _batch),
        (pa.ChunkedArray, _chunked),
        (pa.Array, _array),
        (pa.Scalar, _scalar),
        (pa.Schema, _schema),
        (pa.Field, _field),
        (pa.DataType, _data_type),
        (pa.Buffer, _buffer),
    ]
    return next((handler for base, handler in table if issubclass(kind, base)), None)

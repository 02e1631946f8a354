"""Tables and arrays of Arrow, in its own stream format, without compression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hashstash.errors import CorruptRowError

from .arrow_stream import check_schema, check_stream
from .refusal import Refusal
from .vocabulary import PARTS, RULES, Node, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer


def table_segment(writer: Writer, table: Any) -> int:
    """Return the number of the segment that holds an Arrow table or record batch.

    Raises:
        Refusal: Arrow cannot write it.
    """
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(unify_dictionaries=isinstance(table, pa.Table))
    try:
        with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
            stream.write(table)
    except pa.ArrowException as exc:
        raise Refusal(f"an Arrow table ({exc})") from exc
    return writer.segment(memoryview(sink.getvalue()))


def table_in(reader: Reader, number: object) -> Any:
    """Return the Arrow table in a segment.

    Raises:
        CorruptRowError: there is none.
    """
    segment = reader.segment(number)
    check_stream(segment, extensions=True)
    content = bytes(segment)
    try:
        with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, MemoryError, OSError) as exc:
        raise CorruptRowError(
            f"The stored value is damaged: Arrow cannot read it: {exc}", stage="hashstash"
        ) from exc
    return table


def _table(writer: Writer, value: Any) -> Node:
    return {"!pa.table": table_segment(writer, value)}


def _batch(writer: Writer, value: Any) -> Node:
    return {"!pa.batch": table_segment(writer, value)}


def _read_batch(reader: Reader, number: object) -> Any:
    table = table_in(reader, number)
    batches = table.to_batches()
    if len(batches) > 1:
        raise ValueError("more than one batch")
    return batches[0] if batches else _empty_batch(table.schema)


def _empty_batch(schema: Any) -> Any:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _array(writer: Writer, value: Any) -> Node:
    batch = pa.RecordBatch.from_arrays([value], ["0"])
    return {"!pa.array": table_segment(writer, batch)}


def _read_array(reader: Reader, number: object) -> Any:
    chunks = _read_chunks(reader, number)
    if chunks.num_chunks > 1:
        raise ValueError("more than one chunk")
    return chunks.chunk(0) if chunks.num_chunks else pa.array([], chunks.type)


def _chunks(writer: Writer, value: Any) -> Node:
    return {"!pa.chunks": table_segment(writer, pa.table({"0": value}))}


def _read_chunks(reader: Reader, number: object) -> Any:
    return table_in(reader, number).column(0)


def _schema(writer: Writer, value: Any) -> Node:
    return {"!pa.schema": writer.segment(memoryview(value.serialize()))}


def _read_schema(reader: Reader, number: object) -> Any:
    content = bytes(reader.segment(number))
    check_schema(content, extensions=True)
    try:
        return pa.ipc.read_schema(pa.py_buffer(content))
    except (pa.ArrowException, OSError) as exc:
        raise ValueError(str(exc)) from exc


def _field(writer: Writer, value: Any) -> Node:
    return {"!pa.field": writer.segment(memoryview(pa.schema([value]).serialize()))}


def _type(writer: Writer, value: Any) -> Node:
    return {"!pa.type": writer.segment(memoryview(pa.schema([("0", value)]).serialize()))}


def _all_of(base: type) -> list[type]:
    """Return the classes of pyarrow below ``base``: there is one for each type of Arrow."""
    found, pending = [], [base]
    while pending:
        kind = pending.pop()
        pending.extend(kind.__subclasses__())
        if kind.__module__ == "pyarrow.lib":
            found.append(kind)
    return found


PARTS[pa.Table] = _table
PARTS[pa.RecordBatch] = _batch
PARTS[pa.ChunkedArray] = _chunks
PARTS[pa.Schema] = _schema
PARTS[pa.Field] = _field
for _kind in _all_of(pa.Array):
    PARTS[_kind] = _array
for _kind in _all_of(pa.DataType):
    PARTS[_kind] = _type
RULES["!pa.table"] = Rule(read=table_in)
RULES["!pa.batch"] = Rule(read=_read_batch)
RULES["!pa.array"] = Rule(read=_read_array)
RULES["!pa.chunks"] = Rule(read=_read_chunks)
RULES["!pa.schema"] = Rule(read=_read_schema)
RULES["!pa.field"] = Rule(read=lambda reader, number: _read_schema(reader, number).field(0))
RULES["!pa.type"] = Rule(read=lambda reader, number: _read_schema(reader, number).field(0).type)

"""A look at a stream of Arrow before a library reads it: what we never write is not let through.

Buffers that are compressed could become far larger than they are. Types that are extensions may
run code: old releases of pyarrow unpickle some, polars has one that holds addresses in memory.
The messages of a stream are flatbuffers, of which a few fields are read here by hand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_CONTINUES = 0xFFFFFFFF
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_EXTENSION = b"ARROW:extension:name"
_PICKLE = b"arrow.py_extension_type"


def check_stream(content: memoryview, *, extensions: bool) -> None:
    """Refuse a stream that our writers do not write.

    Args:
        content: the stream.
        extensions: whether types may be extensions that the library knows by name.

    Raises:
        ValueError: it is not one of ours.
    """
    try:
        for metadata in _messages(content):
            _check_message(metadata, extensions=extensions)
    except struct.error as exc:
        raise ValueError("not a stream of Arrow") from exc


def check_schema(metadata: bytes, *, extensions: bool) -> None:
    """Refuse the description of a schema that names types we never write.

    Raises:
        ValueError: it does.
    """
    if _PICKLE in metadata or (_EXTENSION in metadata and not extensions):
        raise ValueError("an extension type of Arrow that could run code")


def _messages(content: memoryview) -> Iterator[memoryview]:
    place = 0
    while place < len(content):
        mark, size = struct.unpack_from("<Ii", content, place)
        if mark != _CONTINUES or size < 0:
            raise ValueError("not a stream of Arrow")
        if not size:
            return
        place += 8
        metadata = content[place : place + size]
        yield metadata
        body = _field(metadata, _root(metadata), 3)
        length = 0 if body is None else struct.unpack_from("<q", metadata, body)[0]
        place += size + length
        if length < 0 or place > len(content):
            raise ValueError("a message of Arrow that is longer than all there is")


def _check_message(metadata: memoryview, *, extensions: bool) -> None:
    """Look at one message.

    Its second field is the kind of its header, its third the header. Of that of a batch, the
    fourth field is the compression; of that of a dictionary, the second is its batch.
    """
    root = _root(metadata)
    kind = _field(metadata, root, 1)
    header = _table(metadata, root, 2)
    if kind is None or header is None:
        raise ValueError("a message of Arrow without a header")
    if metadata[kind] == _SCHEMA:
        check_schema(bytes(metadata), extensions=extensions)
        return
    if metadata[kind] == _DICTIONARY:
        header = _table(metadata, header, 1)
    elif metadata[kind] != _BATCH:
        raise ValueError("a message of Arrow that is no table")
    if header is None or _field(metadata, header, 3) is not None:
        raise ValueError("compressed buffers of Arrow")


def _root(metadata: memoryview) -> int:
    return int(struct.unpack_from("<I", metadata, 0)[0])


def _field(metadata: memoryview, table: int, index: int) -> int | None:
    """Return where a field of a table is, or None if it has none."""
    (back,) = struct.unpack_from("<i", metadata, table)
    if back > table:
        raise ValueError("a table of Arrow outside its message")
    (size,) = struct.unpack_from("<H", metadata, table - back)
    place = 4 + 2 * index
    if place >= size:
        return None
    (offset,) = struct.unpack_from("<H", metadata, table - back + place)
    found = table + offset
    if found >= len(metadata):
        raise ValueError("a field of Arrow outside its message")
    return found if offset else None


def _table(metadata: memoryview, table: int, index: int) -> int | None:
    field = _field(metadata, table, index)
    return None if field is None else field + int(struct.unpack_from("<I", metadata, field)[0])

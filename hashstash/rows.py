"""Stored rows: a self-describing header and a payload, in one piece of bytes.

The layout is frozen as version 1 and described in ``docs/format.md``.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable
from time import time_ns
from typing import NamedTuple
from zlib import crc32

from .errors import CorruptRowError

Buffer = bytes | memoryview
Sign = Callable[[bytes, Buffer], bytes]

MAGIC, VERSION = b"HS", 1
FIELDS, SIGNED, VERSIONED = 1, 2, 4
MAC_BYTES = 32

KEY, KEY_OBJECT, EXPIRES, META = 1, 2, 3, 4
"""Tags of the fields: canonical key, serialized key, expiry (ns, u64), metadata (JSON)."""

LARGE = 1 << 16
"""From this size on a view is cheaper than a copy."""

_START = 33
_VERSION_BLOCK = struct.Struct("<Q16s")
_VERSIONS = 1 << 63
"""One more than the highest version number, so that a next one can always be written."""
_FIELD = struct.Struct("<BI")
_PREFIXES = [MAGIC + bytes((VERSION, flags)) for flags in range(8)]
_SEEDS = [crc32(prefix) for prefix in _PREFIXES]
_KNOWN = {prefix: (flags, crc32(prefix)) for flags, prefix in enumerate(_PREFIXES)}


class _Etags:
    """ETags that no other write anywhere has: a random part per process, and a counter."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.nonce, self.counter = os.urandom(10), itertools.count()

    def next(self) -> bytes:
        return self.nonce + next(self.counter).to_bytes(6, "little")


_etags = _Etags()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_etags.renew)


class Row(NamedTuple):
    """A stored row taken apart.

    Attributes:
        flags: which optional parts there are.
        time_ns: when it was written, in nanoseconds since the epoch.
        etag: 16 bytes that no other write has.
        codec: the names of serializer and encoders, such as ``b"hashstash+lz4"``.
        version: its number in the key's history, counted from 1.
        history: what all versions of one history share: the ETag of the first.
        fields: the optional fields by tag.
        mac: the signature, or nothing.
        signed: the part of the header that the signature covers.
        payload: the encoded value.
    """

    flags: int
    time_ns: int
    etag: bytes
    codec: bytes
    version: int
    history: bytes
    fields: dict[int, bytes]
    mac: bytes
    signed: bytes
    payload: Buffer


def codec_header(codec: str) -> bytes:
    """Return how a header names ``codec``: to be made once and given to ``seal``."""
    name = codec.encode("ascii")
    return bytes((len(name),)) + name


def pack_field(tag: int, data: bytes) -> bytes:
    """Return one optional field; join several for ``seal``."""
    return _FIELD.pack(tag, len(data)) + data


def seal(
    key: bytes, codec: bytes, payload: Buffer, fields: bytes = b"", sign: Sign | None = None
) -> bytes:
    """Return the row that stores ``payload`` under the stored key ``key``.

    Args:
        key: the stored key; a row is readable under this key alone.
        codec: what ``codec_header`` returned.
        payload: the encoded value.
        fields: packed fields, joined.
        sign: returns the signature of a header and a payload, if the row needs one.
    """
    # the ETag, written out: this is the hot path of every write
    head = time_ns().to_bytes(8, "little") + _etags.next() + codec
    flags = 0
    if fields:
        flags = FIELDS
        head += len(fields).to_bytes(4, "little") + fields
    if sign is not None:
        flags |= SIGNED
        head += sign(_PREFIXES[flags] + head, payload)
    crc = crc32(payload, crc32(head, crc32(key, _SEEDS[flags])))
    return b"".join((_PREFIXES[flags], crc.to_bytes(4, "little"), head, payload))


def check(row: bytes, key: bytes) -> int:
    """Return the flags of ``row``, if it is whole and was written under ``key``.

    Raises:
        CorruptRowError: it is damaged, foreign, or another key's.
    """
    known = _KNOWN.get(row[:4])
    if known is None or len(row) < _START:
        raise CorruptRowError(_diagnosis(row), stage="row")
    flags, seed = known
    body: Buffer = row[8:] if len(row) < LARGE else memoryview(row)[8:]
    if crc32(body, crc32(key, seed)) != int.from_bytes(row[4:8], "little"):
        raise CorruptRowError(
            "The row fails its checksum: it is damaged, or belongs to another key. "
            "stash.verify() lists such rows, stash.repair() sets them aside.",
            stage="row",
        )
    return flags


def parse(row: bytes, key: bytes) -> Row:
    """Return ``row`` taken apart, after ``check``."""
    flags = check(row, key)
    view = row if len(row) < LARGE else memoryview(row)
    try:
        return _split(flags, row, view)
    except (IndexError, struct.error) as exc:
        # Only a row that was made on purpose passes its checksum and ends too early.
        raise CorruptRowError(f"The row's header does not fit: {exc}", stage="row") from exc


def _split(flags: int, row: bytes, view: Buffer) -> Row:
    end = _START + row[32]
    etag = row[16:32]
    version, history = 1, etag
    prefix = _PREFIXES[flags & ~VERSIONED] + row[8:end]
    if flags & VERSIONED:
        version, history = _VERSION_BLOCK.unpack_from(row, end)
        if not 1 <= version < _VERSIONS:
            raise IndexError(f"there is no version {version}")
        end += _VERSION_BLOCK.size
    fields: dict[int, bytes] = {}
    if flags & FIELDS:
        start, size = end, int.from_bytes(row[end : end + 4], "little")
        end = start + 4 + size
        if end > len(row):
            raise IndexError("fields end after the row")
        fields = _unpack_fields(row, start + 4, end)
        prefix += row[start:end]
    mac = b""
    if flags & SIGNED:
        mac = row[end : end + MAC_BYTES]
        end += MAC_BYTES
    if end > len(row):
        raise IndexError("the header ends after the row")
    time = int.from_bytes(row[8:16], "little")
    return Row(
        flags, time, etag, row[_START : _START + row[32]], version, history, fields, mac, prefix,
        view[end:],
    )  # fmt: skip


def _unpack_fields(row: bytes, start: int, end: int) -> dict[int, bytes]:
    fields = {}
    while start < end:
        tag, size = _FIELD.unpack_from(row, start)
        start += _FIELD.size
        if start + size > end:
            raise IndexError(f"field {tag} ends after the fields")
        fields[tag] = row[start : start + size]
        start += size
    return fields


def with_version(row: bytes, key: bytes, version: int, history: bytes) -> bytes:
    """Return ``row`` numbered as ``version`` of ``history``; its ETag and time stay."""
    flags = row[3]
    end = _START + row[32]
    rest = end + _VERSION_BLOCK.size if flags & VERSIONED else end
    flags |= VERSIONED
    head = row[8:end] + _VERSION_BLOCK.pack(version, history)
    body = memoryview(row)[rest:]
    crc = crc32(body, crc32(head, crc32(key, _SEEDS[flags])))
    return b"".join((_PREFIXES[flags], crc.to_bytes(4, "little"), head, body))


def with_mac(row: bytes, key: bytes, sign: Sign) -> bytes:
    """Return ``row``, a signed one, with a signature by ``sign`` instead; all else stays."""
    parts = parse(row, key)
    end = len(row) - len(parts.payload)
    head = row[8 : end - MAC_BYTES] + sign(parts.signed, parts.payload)
    crc = crc32(parts.payload, crc32(head, crc32(key, _SEEDS[parts.flags])))
    return b"".join((row[:4], crc.to_bytes(4, "little"), head, parts.payload))


def version_of(row: bytes) -> tuple[int, bytes]:
    """Return the version number of ``row`` and the history it belongs to."""
    if not row[3] & VERSIONED:
        return 1, row[16:32]
    version, history = _VERSION_BLOCK.unpack_from(row, _START + row[32])
    return version, history


def time_of(row: bytes) -> int:
    """Return when ``row`` was written, in nanoseconds since the epoch."""
    return int.from_bytes(row[8:16], "little")


def _diagnosis(row: bytes) -> str:
    if row[:2] != MAGIC:
        return f"Not a row of HashStash: it begins with {bytes(row[:8])!r}."
    if len(row) < _START:
        return f"The row is cut short: {len(row)} bytes."
    if row[2] != VERSION:
        return f"The row has format version {row[2]}; this HashStash reads version {VERSION}."
    return f"The row has unknown flags {row[3]:#x}: it was written by a newer HashStash."

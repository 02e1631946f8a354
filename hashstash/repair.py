"""Find rows that cannot be read, and set them aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from .codec import Codec, key_needs_row
from .engines.base import ETAG, Engine
from .errors import (
    CorruptRowError,
    DecodeError,
    EngineError,
    KeyCollisionError,
    MissingDependencyError,
)
from .versions import VersionedEngine

ASIDE = "damaged"
"""The sibling table to which damaged rows are moved."""

_UNREADABLE = (DecodeError, EngineError, MissingDependencyError)


@dataclass(frozen=True)
class UnreadableRow:
    """A row that cannot be read.

    Attributes:
        key: the key, or the stored key (bytes) where the key itself is not known.
        version: its number, if it is an earlier version; None for the latest.
        damaged: whether the bytes are damaged; otherwise they only cannot be read here, for
            want of a package or of a signing key.
        error: why.
        stored_key: the key as the engine has it.
    """

    key: object
    version: int | None
    damaged: bool
    error: str
    stored_key: bytes


def unreadable_rows(engine: Engine, codec: Codec) -> Iterator[UnreadableRow]:
    """Yield every row of a stash, earlier versions included, that cannot be read."""
    versions = VersionedEngine(engine)
    for stored in engine.keys():
        try:
            head = engine.latest(stored)  # not a copy, which may be whole
            if head is None:  # deleted meanwhile
                continue
            codec.decode_key(stored, head)
            codec.decode(head, stored)
            yield from _unreadable_before(versions, codec, stored, head)
        except _UNREADABLE as exc:
            yield _report(codec, stored, None, exc)


def _unreadable_before(
    versions: VersionedEngine, codec: Codec, stored: bytes, head: bytes
) -> Iterator[UnreadableRow]:
    for number, row in versions.history_before(stored, head):
        try:
            codec.decode(row, stored)
        except _UNREADABLE as exc:
            yield _report(codec, stored, number, exc)


def set_aside(engine: Engine, codec: Codec) -> Iterator[UnreadableRow]:
    """Move every damaged row to the table ``damaged``; yield what was moved.

    Where the latest version of a key is damaged, the one before it becomes the latest.
    """
    aside, versions = engine.sibling(ASIDE), VersionedEngine(engine)
    for found in list(unreadable_rows(engine, codec)):
        if not found.damaged:
            continue
        stored = found.stored_key
        try:
            row = (
                versions.version(stored, found.version) if found.version else engine.latest(stored)
            )
        except _UNREADABLE:
            continue  # it is no row at all, but what another program has put there: it stays
        if row is None:
            continue
        name = blake2b(stored + row, digest_size=32).digest()
        aside.put(name, len(stored).to_bytes(2, "little") + stored + row)
        # Only this very row: a good one may have taken its place meanwhile.
        if found.version:
            versions.drop(row, stored, found.version)
        elif engine.compare_and_set(stored, row[ETAG], None):
            versions.restore(stored, row)
        yield found
    engine.sweep()


def _report(codec: Codec, stored: bytes, version: int | None, exc: Exception) -> UnreadableRow:
    key: object = stored
    if not key_needs_row(stored):
        try:
            key = codec.decode_key(stored, None)
        except DecodeError:
            pass  # the key itself is damaged: it is told as it is
    damaged = isinstance(exc, (CorruptRowError, KeyCollisionError))
    return UnreadableRow(key, version, damaged, str(exc), stored)

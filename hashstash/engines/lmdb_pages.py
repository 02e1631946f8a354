"""Pages of keys and rows: as much of a table as one short read transaction takes out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from .base import PAGE

PAGE_BYTES = 8 << 20
"""How many bytes of rows an iteration holds in memory at a time, beside the last row."""
AHEAD_BYTES = 64 << 20
"""How many bytes of rows are taken from an iterator at a time, to be stored together."""


def some(iterator: Iterator[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the first items, up to some bytes."""
    taken: list[tuple[bytes, bytes]] = []
    size = 0
    for item in iterator:
        taken.append(item)
        size += len(item[1]) + 100
        if size > AHEAD_BYTES:
            break
    return taken


def keys_after(txn: Any, db: Any, last: bytes | None) -> list[bytes]:
    """Return a page of the keys that come after ``last``."""
    cursor = txn.cursor(db)
    if not _move_past(cursor, last):
        return []
    return list(islice(cursor.iternext(True, False), PAGE))


def items_after(txn: Any, db: Any, last: bytes | None) -> list[tuple[bytes, bytes]]:
    """Return a page of the items whose keys come after ``last``."""
    cursor = txn.cursor(db)
    if not _move_past(cursor, last):
        return []
    page: list[tuple[bytes, bytes]] = []
    size = 0
    for item in islice(cursor.iternext(True, True), PAGE):
        page.append(item)
        size += len(item[1])
        if size > PAGE_BYTES:
            break
    return page


def _move_past(cursor: Any, last: bytes | None) -> bool:
    """Put the cursor on the first key after ``last``; report whether there is one."""
    if last is None:
        return bool(cursor.first())
    return bool(cursor.set_range(last) and (cursor.key() != last or cursor.next()))


def rows_of(txn: Any, db: Any, keys: list[bytes]) -> list[bytes | None]:
    """Return the rows of the first keys, as many as fit into a page."""
    rows: list[bytes | None] = []
    size = 0
    for key in keys:
        row = txn.get(key, None, db)
        rows.append(row)
        size += len(row or b"")
        if size > PAGE_BYTES:
            break
    return rows

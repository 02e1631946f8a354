"""What the lmdb engine takes out of a table in one short read transaction, and what it skips."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

from .base import PAGE

MAIN = "entries"
"""The table that is LMDB's main one, in which LMDB lists the others."""
OURS = b"\1hashstash:"
"""How keys begin in the main table that are no rows: no stored key begins so."""
AFTER_OURS = b"\1hashstash;"
TABLE = OURS + b"table:"
"""How the names of the other tables begin."""
GONE = OURS + b"gone"
"""The sign in a store that was removed, for processes that still have it open."""
PAGE_BYTES = 8 << 20
"""How many bytes of rows an iteration holds in memory at a time, beside the last row."""
T = TypeVar("T")
Page = tuple[list[T], bytes | None]  # and the key to go on after, if there may be more
AHEAD_BYTES = 64 << 20
"""How many bytes of rows are taken from an iterator at a time, to be stored together."""


def some(iterator: Iterator[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the next items, up to some bytes."""
    taken: list[tuple[bytes, bytes]] = []
    size = 0
    for item in iterator:
        taken.append(item)
        size += len(item[1]) + 100
        if size > AHEAD_BYTES:
            break
    return taken


def tables_of(txn: Any, main: Any) -> list[bytes]:
    """Return the names of the tables beside the main one."""
    names = []
    cursor = txn.cursor(main)
    found = cursor.set_range(TABLE)
    while found and (key := cursor.key()).startswith(TABLE):
        names.append(key[len(TABLE) :].rstrip(b"\0"))  # LMDB 1.0 writes a zero byte at the end
        found = cursor.next()
    return names


def count(txn: Any, db: Any) -> int:
    """Return how many rows a table has."""
    return int(txn.stat(db)["entries"]) - len(tables_of(txn, db))


def clear(txn: Any, db: Any) -> None:
    """Remove all rows of a table. The main one keeps the list of the others."""
    if not tables_of(txn, db):
        txn.drop(db, delete=False)
        return
    cursor = txn.cursor(db)
    found = cursor.first()
    while found:
        ours = cursor.key().startswith(OURS)
        # Deleting moves to the next key; after the last one it is empty.
        found = cursor.next() if ours else cursor.delete() and cursor.key()


def keys_after(txn: Any, db: Any, last: bytes | None) -> Page[bytes]:
    """Return a page of the keys after ``last``, and the last one if there may be more."""
    cursor = txn.cursor(db)
    if not _move_past(cursor, last):
        return [], None
    page = list(islice(cursor.iternext(True, False), PAGE))
    end = page[-1] if len(page) == PAGE else None
    if page[0] < AFTER_OURS:
        page = [key for key in page if not key.startswith(OURS)]
    return page, end


def items_after(txn: Any, db: Any, last: bytes | None) -> Page[tuple[bytes, bytes]]:
    """Return a page of the items after key ``last``, and the last key if there may be more."""
    cursor = txn.cursor(db)
    if not _move_past(cursor, last):
        return [], None
    page: list[tuple[bytes, bytes]] = []
    size = 0
    for item in islice(cursor.iternext(True, True), PAGE):
        page.append(item)
        size += len(item[1])
        if size > PAGE_BYTES:
            break
    end = page[-1][0] if len(page) == PAGE or size > PAGE_BYTES else None
    if page[0][0] < AFTER_OURS:
        page = [item for item in page if not item[0].startswith(OURS)]
    return page, end


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

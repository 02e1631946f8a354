"""``sqlite``: rows in tables of an SQLite database, by the standard library alone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar

from hashstash.errors import ConfigurationError

from . import folders
from .base import PAGE, Engine, Place, pages
from .sqlite_table import SqliteTable
from .sqlite_transactions import Block

if TYPE_CHECKING:
    from typing_extensions import Self

PAGE_BYTES = 8 << 20
"""How many bytes of rows an iteration holds in memory at a time, beside the last row."""
AHEAD_BYTES = 64 << 20
"""How many bytes of rows ``put_many`` takes from its iterator before it locks out others."""
MANY = 100
"""How many keys are looked up by one statement."""


class SqliteEngine(Engine):
    """Rows in an SQLite database, one file for all tables, in write-ahead-log mode.

    Readers do not wait for the writer, nor it for them; writers wait for each other.
    With ``durability="process"`` a commit is not flushed to the disk: it survives ``kill -9``,
    and power loss may undo the last commits but damages nothing.

    Args:
        place: where the rows are kept.
        timeout: how many seconds a write waits for other writers.
    """

    name: ClassVar[str] = "sqlite"
    title: ClassVar[str] = "SQLite"
    transactions: ClassVar[bool] = True
    durabilities: ClassVar[frozenset[str]] = frozenset({"process", "system"})
    max_row_bytes: ClassVar[int | None] = 999_999_000
    """SQLite takes 1,000,000,000 for a key with its row, unless it was built otherwise."""

    def __init__(self, place: Place, *, timeout: float = 60.0) -> None:
        super().__init__(place)
        if not isinstance(timeout, (int, float)) or not 0 <= timeout < 1_000_000:
            raise ConfigurationError(f"timeout is a number of seconds, not {timeout!r}")
        if not place.table or "\0" in place.table or place.table.lower().startswith("sqlite_"):
            raise ConfigurationError(f"{place.table!r} cannot be the name of a table")
        self.timeout = timeout
        durable = place.durability == "system"
        self._table = SqliteTable(self.location, place.table, durable, timeout)

    @property
    def location(self) -> str:
        """The database's file."""
        return os.path.join(self.place.folder, "data.db")

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        table = self._table
        pool = table.pool
        if pool.idle and (not pool.pinned or get_ident() not in pool.pinned):
            session = None
            try:
                session = pool.idle.pop()
                found = session.connection.execute(table.sql.select, (key,)).fetchone()
                return None if found is None else bytes(found[0])
            except (IndexError, sqlite3.Error):
                pass  # another thread was faster, or something is wrong: try again below
            finally:
                if session is not None:
                    pool.take_back(session)
        row: bytes | None = table.read("get", lambda c: _row(c, table.sql.select, key), None)
        return row

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``."""
        table = self._table
        return table.read("contains", lambda c: _row(c, table.sql.exists, key), None) is not None

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one."""
        self._change("put", self._table.sql.upsert, (key, row))

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        sql = self._table.sql.remove
        return self._table.remove("delete", lambda c: c.execute(sql, (key,)).rowcount) > 0

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen.

        Each is a single statement, and so an atomic one.
        """
        table = self._table
        if etag is None:
            if row is None:
                return not self.contains(key)
            return self._change("compare_and_set", table.sql.insert, (key, row)) > 0
        if row is None:
            return self._change("compare_and_set", table.sql.remove_seen, (key, etag)) > 0
        return self._change("compare_and_set", table.sql.replace, (row, key, etag)) > 0

    def keys(self) -> Iterator[bytes]:
        """Yield every key once, in their order; a page of them is read at a time."""
        page: list[tuple[bytes]] = []
        while True:
            page = self._keys_after(page[-1][0] if page else b"")
            for (key,) in page:
                yield key
            if len(page) < PAGE:
                return

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its row, as ``keys`` does."""
        page: list[tuple[bytes, bytes]] = []
        while page := self._items_after(page[-1][0] if page else b""):
            yield from page

    def get_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each key, in the order given, with its row or None."""
        for page in pages(keys, MANY):
            found, whole = self._some(page)
            for key in page:
                row = found.get(key)
                yield key, self.get(key) if row is None and not whole else row

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows in one transaction."""
        iterator = iter(items)
        page = _ahead(iterator)
        if not page:
            return
        with self.transaction():
            while page:
                self._put_page(page)
                page = _ahead(iterator)

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Remove many keys in one transaction; return how many were there."""
        gone = [(key,) for key in keys]
        if not gone or not os.path.exists(self.location):
            return 0
        sql = self._table.sql.remove
        with self.transaction():
            return self._table.remove("delete_many", lambda c: c.executemany(sql, gone).rowcount)

    def count(self) -> int:
        """Return how many keys there are."""
        table = self._table
        found: int = table.read("count", lambda c: c.execute(table.sql.count).fetchone()[0], 0)
        return found

    def clear(self) -> None:
        """Remove this table's rows. The file keeps its size; its pages are used again."""
        sql = self._table.sql.clear
        self._table.remove("clear", lambda c: c.execute(sql).rowcount)

    def size_bytes(self) -> int:
        """Return how many bytes the database's files take, all tables included."""
        return sum(_size(self.location + end) for end in ("", "-wal"))

    def transaction(self) -> AbstractContextManager[None]:
        """Group what this thread writes until the block ends, siblings included."""
        return Block(self._table)

    def sweep(self) -> int:
        """Remove files that dead processes left."""
        return folders.sweep(self.place.folder)

    def close(self) -> None:
        """Close this engine's connections, unless others of this process are open here."""
        self._table.close()

    def destroy(self) -> None:
        """Remove the database with all its tables, and close it."""
        self._table.destroy(self.place.folder)

    def _at(self, place: Place) -> Self:
        engine = type(self)(place, timeout=self.timeout)
        if place.folder == self.place.folder:
            engine._table.beside(self._table)
        return engine

    def _change(self, operation: str, sql: str, values: tuple[bytes, ...]) -> int:
        """Run a statement that changes rows, and is atomic by itself; return how many."""
        table = self._table
        pool = table.pool
        alone = not pool.pinned or get_ident() not in pool.pinned
        if pool.idle and alone and table.until_check and not table.durable:
            table.until_check -= 1
            session = None
            try:
                session = pool.idle.pop()
                return session.connection.execute(sql, values).rowcount
            except (IndexError, sqlite3.Error):
                pass
            finally:
                if session is not None:
                    pool.take_back(session)
        return table.write(operation, lambda c: c.execute(sql, values).rowcount)

    def _put_page(self, page: list[tuple[bytes, bytes]]) -> None:
        sql = self._table.sql.upsert
        self._table.write("put_many", lambda c: c.executemany(sql, page))

    def _keys_after(self, last: bytes) -> list[tuple[bytes]]:
        table = self._table
        return table.read(
            "keys", lambda c: c.execute(table.sql.keys_after, (last, PAGE)).fetchall(), []
        )

    def _items_after(self, last: bytes) -> list[tuple[bytes, bytes]]:
        sql = self._table.sql.items_after
        return self._table.read("items", lambda c: _fitting(c, sql, (last, PAGE))[0], [])

    def _some(self, keys: list[bytes]) -> tuple[dict[bytes, bytes], bool]:
        """Return the rows under some keys, and whether these are all that there are."""
        sql = self._table.sql.some(len(keys))
        nothing: tuple[list[tuple[bytes, bytes]], bool] = [], True
        found, whole = self._table.read("get_many", lambda c: _fitting(c, sql, keys), nothing)
        return dict(found), whole


def _row(connection: sqlite3.Connection, sql: str, key: bytes) -> Any:
    found = connection.execute(sql, (key,)).fetchone()
    return None if found is None else found[0]


def _fitting(
    connection: sqlite3.Connection, sql: str, values: Sequence[object]
) -> tuple[list[tuple[bytes, bytes]], bool]:
    """Return the items that a query finds, as many as fit into a page, and whether all did."""
    cursor = connection.execute(sql, values)
    page: list[tuple[bytes, bytes]] = []
    size = 0
    for item in cursor:
        page.append(item)
        size += len(item[1])
        if size > PAGE_BYTES:
            cursor.close()  # an open one would keep the log from beginning anew
            return page, False
    return page, True


def _ahead(iterator: Iterator[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the next items, up to some bytes."""
    taken: list[tuple[bytes, bytes]] = []
    size = 0
    for item in iterator:
        taken.append(item)
        size += len(item[1]) + 100
        if size > AHEAD_BYTES:
            break
    return taken


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0

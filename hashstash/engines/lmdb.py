"""``lmdb``: rows in a memory-mapped B+ tree; the fastest engine that outlives the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar

import lmdb
from lmdb import Error  # not lmdb.Error: a name less to look up on every read

from hashstash.errors import ConfigurationError, MissingDependencyError

from . import folders
from .base import ETAG, PAGE, Engine, Place, pages
from .lmdb_pages import GONE, Page, clear, count, items_after, keys_after, rows_of, some
from .lmdb_table import Block, LmdbTable

if TYPE_CHECKING:
    from typing_extensions import Self

if int(lmdb.__version__.partition(".")[0]) < 3:  # maps cannot be replaced under readers there
    raise MissingDependencyError(f"lmdb 3.0 or newer (this is {lmdb.__version__})", "lmdb")


class LmdbEngine(Engine):
    """Rows in an LMDB environment, a named database for each table.

    Reads take no lock and never wait. Writes wait for each other, in all processes.
    With ``durability="process"`` a write is not flushed to the disk: it survives ``kill -9``,
    but power loss may undo the last writes or damage the file. ``close`` flushes.

    Args:
        place: where the rows are kept.
        map_size: how many bytes of addresses to reserve at first; not a limit, and not disk.
            The first engine that a process opens at a place decides.
    """

    name: ClassVar[str] = "lmdb"
    title: ClassVar[str] = "LMDB"
    transactions: ClassVar[bool] = True
    durabilities: ClassVar[frozenset[str]] = frozenset({"process", "system"})
    max_row_bytes: ClassVar[int | None] = 0xFFFFFFFF

    def __init__(self, place: Place, *, map_size: int | None = None) -> None:
        super().__init__(place)
        if map_size is not None and (not isinstance(map_size, int) or map_size <= 0):
            raise ConfigurationError(f"map_size is a number of bytes, not {map_size!r}")
        if not place.table or "\0" in place.table:
            raise ConfigurationError(f"{place.table!r} cannot be the name of a table")
        self.map_size = map_size
        self._table = LmdbTable(
            self.location,
            place.table,
            durable=place.durability == "system",
            map_size=map_size,
            engine=self.name,
            prepare=self.preparation(),
        )

    @property
    def folder(self) -> str:
        """The folder of the environment."""
        return self.place.folder

    @property
    def location(self) -> str:
        """The environment's file."""
        return os.path.join(self.folder, "data.db")

    def preparation(self) -> Callable[[], None]:
        """Return what makes sure that the place may be used; OSError if it may not.

        It must not refer to the engine: one that is forgotten should be gone at once.
        """
        return _no_preparation

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        table = self._table
        if not table.pinned or get_ident() not in table.pinned:
            try:
                begin, db = table.reader
                row = begin(db).get(key)
                if row is not None or begin().get(GONE) is None:
                    return row
            except Error:
                pass  # not open, or changed under us: try again below
        found: bytes | None = table.read("get", lambda txn, db: txn.get(key, None, db), None)
        return found

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one."""
        table = self._table
        if table.until_check and (not table.pinned or get_ident() not in table.pinned):
            table.until_check -= 1
            try:
                lock, begin, db, main = table.writer
                with lock, begin(db, None, True) as txn:
                    if txn.get(GONE, None, main) is None:
                        txn.put(key, row)
                        txn.commit()
                        return
            except Error:
                pass
        table.write("put", lambda txn, db: txn.put(key, row, db=db), len(row))

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        return self._table.remove("delete", lambda txn, db: bool(txn.delete(key, db=db)), False)

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen."""

        def swap(txn: Any, db: Any) -> bool:
            if etag is None and row is not None:
                return bool(txn.put(key, row, overwrite=False, db=db))
            found = txn.get(key, None, db)
            if (None if found is None else found[ETAG]) != etag:
                return False
            if row is not None:
                txn.put(key, row, db=db)
            elif found is not None:
                txn.delete(key, db=db)
            return True

        return self._table.write("compare_and_set", swap, len(row or b""), buffers=True)

    def keys(self) -> Iterator[bytes]:
        """Yield every key once, in their order; a page of them is read at a time."""
        last: bytes | None = None
        while True:
            page, last = self._keys_after(last)
            yield from page
            if last is None:
                return

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its row, as ``keys`` does."""
        last: bytes | None = None
        while True:
            page, last = self._items_after(last)
            yield from page
            if last is None:
                return

    def get_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each key, in the order given, with its row or None."""
        for page in pages(keys, PAGE):
            rest = page
            while rest:
                rows = self._rows(rest)
                yield from zip(rest, rows, strict=False)  # fewer rows: they filled the page
                rest = rest[len(rows) :]

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows in one transaction."""
        iterator = iter(items)
        first = some(iterator)
        more = len(first) and some(iterator)
        if not more:
            if first:
                self._put_page(first)
            return
        with self.transaction():
            self._put_page(first)
            while more:
                self._put_page(more)
                more = some(iterator)

    def _put_page(self, page: list[tuple[bytes, bytes]]) -> None:
        room = 2 * sum(len(key) + len(row) for key, row in page)
        self._table.write("put_many", lambda txn, db: txn.cursor(db).putmulti(page), room)

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Remove many keys in one transaction; return how many were there."""
        gone = list(keys)

        def delete(txn: Any, db: Any) -> int:
            return sum(txn.delete(key, db=db) for key in gone)

        return self._table.remove("delete_many", delete, 0)

    def count(self) -> int:
        """Return how many keys there are, in a time that does not grow with them."""
        return self._table.read("count", count, 0)

    def clear(self) -> None:
        """Remove this table's rows. The file keeps its size; its pages are used again."""
        self._table.remove("clear", clear, None)

    def size_bytes(self) -> int:
        """Return how many bytes the environment's file takes, all tables included."""
        try:
            return os.stat(self.location).st_size
        except FileNotFoundError:
            return 0

    # The store

    def transaction(self) -> AbstractContextManager[None]:
        """Group what this thread writes until the block ends, siblings included."""
        return Block(self._table)

    def sweep(self) -> int:
        """Free the slots of dead readers and remove files that dead processes left."""
        return folders.sweep(self.folder) + self._table.free_dead_readers()

    def close(self) -> None:
        """Leave the environment; the last engine of this process to leave it closes it."""
        self._table.close()

    def destroy(self) -> None:
        """Remove the environment with all its tables, and close it."""
        self._table.destroy(self.folder)

    def _keys_after(self, last: bytes | None) -> Page[bytes]:
        nothing: Page[bytes] = [], None
        return self._table.read("keys", lambda txn, db: keys_after(txn, db, last), nothing)

    def _items_after(self, last: bytes | None) -> Page[tuple[bytes, bytes]]:
        nothing: Page[tuple[bytes, bytes]] = [], None
        return self._table.read("items", lambda txn, db: items_after(txn, db, last), nothing)

    def _rows(self, keys: list[bytes]) -> list[bytes | None]:
        none: list[bytes | None] = [None] * len(keys)
        return self._table.read("get_many", lambda txn, db: rows_of(txn, db, keys), none)

    def _at(self, place: Place) -> Self:
        engine = type(self)(place, map_size=self.map_size)
        if place.folder == self.place.folder:
            engine._table.beside(self._table)
        return engine


def _no_preparation() -> None:
    """Nothing needs to be made sure of."""

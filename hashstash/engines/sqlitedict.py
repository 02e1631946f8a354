"""``sqlitedict``: rows in a file as ``sqlitedict.SqliteDict`` lays it out, without its thread.

The file is one that SqliteDict opens: a table for each mapping, keys as text (ours are in
hexadecimal), values as blobs. The library itself is not used and need not be installed: it sends
each operation to a thread, which does not come through a fork and leaves its callers waiting for
ever when it dies, reports errors to whoever asks next, reads whole tables into memory, has no
compare-and-set, and turns synchronous writing off. Over a plain connection none of this happens.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from hashstash.errors import CorruptRowError

from .base import ETAG, PAGE, Encode, Engine, Place, pages
from .batches import batches
from .foreign import ForeignEngine, SharedFile, Turn, open_to_write

_ETAG = f"COALESCE(SUBSTR(value, {ETAG.start + 1}, {ETAG.stop - ETAG.start}), x'')"
_HEX = "TYPEOF(key) = 'text' AND key NOT GLOB '*[^0-9a-f]*' AND LENGTH(key) % 2 = 0 AND key > ''"
"""Which keys are ours; what else is in the table is passed over."""


class _File(SharedFile):
    """This process's connection to a file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._tables: set[str] = set()

    def connect(self) -> sqlite3.Connection:
        """Return a connection; a file that is in WAL mode already is not written to."""
        self._tables.clear()
        connection = open_to_write(self.database)
        try:
            connection.execute("PRAGMA synchronous=NORMAL")
            ((mode,),) = connection.execute("PRAGMA journal_mode").fetchall()
            if mode != "wal" and os.access(self.database, os.W_OK):
                connection.execute("PRAGMA journal_mode=WAL").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def has(self, table: str) -> bool:
        """Report whether there is such a table."""
        if table not in self._tables:
            query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
            assert self.connection is not None
            if not self.connection.execute(query, (table,)).fetchall():
                return False
            self._tables.add(table)
        return True

    def make(self, table: str) -> None:
        """Make a table as the library does, unless it is there."""
        if table not in self._tables:
            assert self.connection is not None
            self.connection.execute(
                f"CREATE TABLE IF NOT EXISTS {_quoted(table)} (key TEXT PRIMARY KEY, value BLOB)"
            )
            self._tables.add(table)

    @contextmanager
    def rest_of_transaction(self) -> Iterator[None]:
        """Take back what the block began and did not keep."""
        outer, here = self.depth, self.lock
        try:
            yield
        finally:
            while self.depth > outer and self.lock is here:  # a child forked in it has another
                self._undo()

    def begin(self) -> None:
        """Begin a transaction, or inside one a part that can be taken back alone."""
        connection = self.open(create=True)
        assert connection is not None
        connection.execute(f"SAVEPOINT level{self.depth}" if self.depth else "BEGIN IMMEDIATE")
        self.owner = threading.get_ident()
        self.depth += 1

    def keep(self) -> None:
        """End what was begun last and keep what was written."""
        connection = self.open(create=True)
        assert connection is not None
        inner = self.depth - 1
        connection.execute(f"RELEASE level{inner}" if inner else "COMMIT")
        self.depth = inner

    def _undo(self) -> None:
        """End what was begun last and take back what was written."""
        assert self.connection is not None
        self._tables.clear()  # some may have been made in it
        self.depth -= 1
        if not self.depth or not self.connection.in_transaction:
            self.take_back()
            return
        try:
            self.connection.execute(f"ROLLBACK TO level{self.depth}")
            self.connection.execute(f"RELEASE level{self.depth}")
        except sqlite3.OperationalError:  # an interrupt hit between its end and the counting
            self.take_back()

    def take_back(self) -> None:
        """Undo the transaction."""
        self._tables.clear()
        super().take_back()


class SqlitedictEngine(ForeignEngine[_File]):
    """Rows in a file that ``SqliteDict`` opens, several tables in one file.

    With ``existing`` it reads a file that the library itself wrote, and writes nothing.

    Args:
        place: where the rows are kept.
        existing: the file to read.
        existing_table: its table; ``unnamed`` is the library's default.
        existing_format: how its values were encoded: ``"pickle"``, the library's default,
            ``"json"`` (``encode=json.dumps``), or ``"raw"`` to have them as they are.
        trust_existing: whether pickles in it may be loaded, which runs what they name.
    """

    name: ClassVar[str] = "sqlitedict"
    title: ClassVar[str] = "Sqlitedict"
    transactions: ClassVar[bool] = True
    borrowed: ClassVar[frozenset[str]] = frozenset(
        {"existing", "existing_table", "existing_format", "trust_existing"}
    )
    store_class: ClassVar[type[Any]] = _File

    def __init__(
        self,
        place: Place,
        *,
        existing: str | os.PathLike[str] | None = None,
        existing_table: str = "unnamed",
        existing_format: str = "pickle",
        trust_existing: bool = False,
    ) -> None:
        super().__init__(place, os.path.join(place.folder, "data.db"), existing, trust_existing)
        self._options: dict[str, Any] = {
            "existing": existing,
            "existing_table": existing_table,
            "existing_format": existing_format,
            "trust_existing": trust_existing,
        }
        self._get, self._put, self._delete, self._keys = _statements(place.table)

    def under_stash(self, encode: Encode, *, safe: bool, max_value_bytes: int) -> Engine:
        """Return this engine, or one that reads the existing file."""
        if self.existing is None:
            return self
        from hashstash.existing.sqlitedict import FORMATS, SqlitedictSource, SqlitedictView
        from hashstash.existing.view import check_options

        written_as, trusted = self._options["existing_format"], self._options["trust_existing"]
        check_options(FORMATS, written_as, trusted=trusted, safe=safe)
        source = SqlitedictSource(
            self.existing,
            table=self._options["existing_table"],
            written_as=written_as,
            trusted=trusted,
        )
        return SqlitedictView(self.place, self.existing, source, encode)

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        found = self.read("get", self._rows, self._get, (key.hex(),))
        if not found:
            return None
        row = found[0][0]
        if type(row) is not bytes:
            raise CorruptRowError(
                f"A row in {self.location} is no row of HashStash but {row!r:.80}", stage="row"
            )
        return row

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one."""
        self.write("put", self._insert, self._put, [(key.hex(), row)])

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        return bool(self.read("delete", self._change, self._delete, [(key.hex(),)]))

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen."""
        name, table = key.hex(), _quoted(self.place.table)
        if row is None and etag is None:
            return not self.contains(key)
        if etag is None:
            statement = f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
            return self.write("compare_and_set", self._insert, statement, [(name, row)]) == 1
        if row is None:
            statement, values = f"DELETE FROM {table}", []
        else:
            statement, values = f"UPDATE {table} SET value = ?", [row]
        statement += f" WHERE key = ? AND {_ETAG} = ?"
        given = (*values, name, etag)
        return bool(self.read("compare_and_set", self._change, statement, [given]))

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows in one transaction."""
        with self.transaction():
            for batch in batches(items, PAGE):
                rows = [(key.hex(), row) for key, row in batch.items()]
                self.write("put_many", self._insert, self._put, rows)

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Remove many keys in one transaction; return how many were there."""
        deleted = 0
        with self.transaction():
            for page in pages(keys, PAGE):
                names = [(key.hex(),) for key in page]
                deleted += self.read("delete_many", self._change, self._delete, names) or 0
        return deleted

    def keys(self) -> Iterator[bytes]:
        """Yield every key once, in order; keys that are not ours are passed over."""
        last = ""
        while page := self.read("keys", self._rows, self._keys, (last,)):
            last = page[-1][0]
            yield from (bytes.fromhex(key) for (key,) in page)

    def count(self) -> int:
        """Return how many keys there are."""
        return self._number("count", "COUNT(*)")

    def clear(self) -> None:
        """Remove this table's rows."""
        statement = f"DELETE FROM {_quoted(self.place.table)}"
        self.read("clear", self._change, statement, [()])

    def size_bytes(self) -> int:
        """Return about how many bytes the rows take."""
        return self._number("size_bytes", "TOTAL(LENGTH(key) + LENGTH(value))")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group what this thread writes, to all tables; other threads wait for its end."""
        give_up = 0.0
        while True:
            store = self._store or self.share()
            turn = None if store.is_mine() else Turn(store.lock)
            try:
                with store.lock:
                    if store is not self._store:
                        continue  # another thread closed us
                    with store.rest_of_transaction():
                        try:
                            store.begin()
                        except self.errors as exc:
                            caught = exc
                        else:
                            yield
                            if store.is_mine():  # and not of a child forked in the block
                                self._keep(store)
                            return
            finally:
                if turn is not None:
                    turn.end()
            give_up = self.wait("transaction", caught, give_up)

    def _keep(self, store: _File) -> None:
        try:
            store.keep()
        except self.errors as exc:
            raise self.failure("transaction", exc) from exc

    def destroy(self) -> None:
        """Remove the file, all its tables included."""
        self.close()
        for ending in ("", "-wal", "-shm"):
            try:
                os.unlink(self._path + ending)
            except FileNotFoundError:
                pass
            except OSError as exc:
                raise self.failure("destroy", exc) from exc

    def _at(self, place: Place) -> SqlitedictEngine:
        return SqlitedictEngine(place, **self._options)

    def _rows(self, store: _File, statement: str, given: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if not store.has(self.place.table):
            return []
        assert store.connection is not None
        return store.connection.execute(statement, given).fetchall()

    def _insert(self, store: _File, statement: str, given: list[tuple[Any, ...]]) -> int:
        store.make(self.place.table)
        return self._change(store, statement, given)

    def _change(self, store: _File, statement: str, given: list[tuple[Any, ...]]) -> int:
        """Run a statement for each of ``given``; return how many rows it changed."""
        if not store.has(self.place.table):
            return 0
        assert store.connection is not None
        if len(given) == 1:
            return store.connection.execute(statement, given[0]).rowcount
        return store.connection.executemany(statement, given).rowcount

    def _number(self, operation: str, what: str) -> int:
        query = f"SELECT {what} FROM {_quoted(self.place.table)} WHERE {_HEX}"
        found = self.read(operation, self._rows, query, ())
        return int(found[0][0]) if found else 0


def _quoted(table: str) -> str:
    return '"' + table.replace('"', '""') + '"'


def _statements(table: str) -> tuple[str, str, str, str]:
    """Return how to get, put and delete in a table, and to list a page of its keys."""
    name = _quoted(table)
    return (
        f"SELECT value FROM {name} WHERE key = ?",
        f"INSERT INTO {name} VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        f"DELETE FROM {name} WHERE key = ?",
        f"SELECT key FROM {name} WHERE key > ? AND {_HEX} ORDER BY key LIMIT {PAGE}",
    )

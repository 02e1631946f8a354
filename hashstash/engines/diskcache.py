"""``diskcache``: rows in folders of ``diskcache.Cache``, which is given bytes and no pickle."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import diskcache

from hashstash.errors import ConfigurationError, CorruptRowError, UntrustedRowError

from .base import ETAG, PAGE, Encode, Engine, Place, pages
from .batches import batches
from .files import remove_tree
from .foreign import ForeignEngine, SharedFile, open_to_write

_SETTINGS = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "size_limit": 1 << 62,
    "cull_limit": 0,  # the library would drop entries while writing others
    "sqlite_auto_vacuum": 0,
    "sqlite_cache_size": 1 << 13,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 0,  # a database that was cut short would end the process
    "sqlite_synchronous": 1,
    "disk_min_file_size": 1 << 62,
    "disk_pickle_protocol": 0,
}
_COUNTERS = frozenset({"count", "size", "hits", "misses"})
_KEYS = "SELECT key FROM Cache WHERE key > ? AND raw = 1 ORDER BY key LIMIT ?"
_COUNT = "SELECT COUNT(*) FROM Cache WHERE key > x'' AND raw = 1"  # SQLite has blobs after texts
_SIZE = "SELECT TOTAL(LENGTH(key) + LENGTH(value)) FROM Cache WHERE key > x'' AND raw = 1"


class BytesDisk(diskcache.Disk):  # type: ignore[misc] # the library has no types
    """Keep keys and rows as they are, in the database, and refuse whatever else is found there.

    The library writes larger values to files that it does not flush and that a row in the
    database merely names; here all of a row is in SQLite, so that it is there or is not.
    """

    def __init__(self, directory: str, **_: object) -> None:
        """Take nothing from the settings that lie in the database."""
        super().__init__(directory)

    def put(self, key: bytes) -> tuple[bytes, bool]:
        """Return how a key is kept."""
        return key, True

    def get(self, key: object, raw: object) -> bytes:
        """Return the key that is kept as ``key``."""
        if not raw or not isinstance(key, bytes):
            raise _untrusted("A key", self._directory)
        return key

    def store(self, value: bytes, read: object, key: object = None) -> tuple[Any, ...]:
        """Return how a row is kept: its size in files, mode, file name and value."""
        return 0, diskcache.core.MODE_RAW, None, value

    def fetch(self, mode: object, filename: object, value: object, read: object) -> bytes:
        """Return the row that is kept as ``value``."""
        if mode == diskcache.core.MODE_RAW and type(value) is bytes:
            return value
        if mode == diskcache.core.MODE_PICKLE:
            raise _untrusted("A row", self._directory)
        raise CorruptRowError(
            f"A row in {self._directory} is no row of HashStash: something else wrote it "
            f"(mode {mode!r}, file {filename!r}).",
            stage="row",
        )

    def remove(self, file_path: object) -> None:
        """Remove nothing: we have no files, so a row that names one names somebody else's."""


def _untrusted(what: str, place: str) -> UntrustedRowError:
    return UntrustedRowError(
        f"{what} in {place} is a pickle that HashStash did not write. It was not loaded; to read "
        "a cache that diskcache itself wrote, give its folder as existing=..., and "
        "trust_existing=True if you trust it.",
        stage="row",
    )


class _Cache(diskcache.Cache):  # type: ignore[misc] # as above
    """A cache over one connection that the engine opens, locks and closes."""

    def __init__(self, folder: str) -> None:
        self.connection = open_to_write(os.path.join(folder, diskcache.core.DBNAME))
        try:
            super().__init__(folder, timeout=0, disk=BytesDisk, **_SETTINGS)
        except (TypeError, ValueError, AttributeError) as exc:
            self.connection.close()
            raise sqlite3.DatabaseError(f"its table of settings is damaged: {exc}") from exc
        except BaseException:
            self.connection.close()
            raise

    @property
    def _con(self) -> sqlite3.Connection:
        # The library has one for each thread and closes those of the parent after a fork,
        # which SQLite forbids.
        return self.connection

    @property
    def _sql_retry(self) -> Callable[..., sqlite3.Cursor]:
        return self._execute

    def _execute(self, statement: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Execute a statement, unless it would set what is set.

        So a cache that is there is opened without writing, also on a full disk.
        """
        execute = self.connection.execute
        if statement.startswith(("INSERT OR REPLACE INTO Settings", "UPDATE Settings")):
            name, value = parameters if statement.startswith("INSERT") else parameters[::-1]
            asked = "SELECT 1 FROM Settings WHERE key = ? AND value IS ?"
        elif statement.startswith("INSERT OR IGNORE INTO Settings"):
            name, value = parameters[0], parameters[0]
            asked = "SELECT 1 FROM Settings WHERE key = ? AND key IS ?"
        else:
            return execute(statement, parameters)
        found = execute(asked, (name, value))
        return found if found.fetchall() else execute(statement, parameters)

    def close(self) -> None:
        """Do nothing: the library closes where it means to change its time-out."""

    def reset(self, key: str, value: Any = diskcache.core.ENOVAL, update: bool = True) -> Any:
        """Set a setting to what it has to be; others in the database are not believed.

        The library makes each of them an attribute or a pragma, whatever its name.
        """
        if key in _SETTINGS:
            return super().reset(key, _SETTINGS[key], update)
        return super().reset(key, value, update) if key in _COUNTERS else value

    def forget_transaction(self) -> None:
        """Let the next transaction begin, whatever an interrupt left of this one."""
        self._txn_id = None


class _CacheFolder(SharedFile):
    """This process's open cache in a folder."""

    cache: _Cache

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.database = os.path.join(path, diskcache.core.DBNAME)

    def connect(self) -> sqlite3.Connection:
        """Open the cache; return its connection."""
        self.cache = _Cache(self.path)
        return self.cache.connection

    def take_back(self) -> None:
        """Undo what an interrupt left half done."""
        self.cache.forget_transaction()
        super().take_back()


class DiskcacheEngine(ForeignEngine[_CacheFolder]):
    """Rows in a ``diskcache.Cache``, which never drops any and never meets a pickle.

    With ``existing`` it reads a cache that the library itself wrote, and writes nothing.

    Args:
        place: where the rows are kept; each table is a cache of its own, as the library has
            one table in a folder.
        existing: the folder of a cache to read.
        existing_format: what wrote it: ``"disk"`` for ``diskcache.Disk``, the library's
            default, or ``"json"`` for ``diskcache.JSONDisk``.
        trust_existing: whether pickles in it may be loaded, which runs what they name.
    """

    name: ClassVar[str] = "diskcache"
    title: ClassVar[str] = "Diskcache"
    borrowed: ClassVar[frozenset[str]] = frozenset(
        {"existing", "existing_format", "trust_existing"}
    )
    store_class: ClassVar[type[Any]] = _CacheFolder
    errors: ClassVar[tuple[type[Exception], ...]] = (sqlite3.Error, OSError, diskcache.Timeout)

    def __init__(
        self,
        place: Place,
        *,
        existing: str | os.PathLike[str] | None = None,
        existing_format: str = "disk",
        trust_existing: bool = False,
    ) -> None:
        folder = "data.db" if place.table == "entries" else f"data.{place.table}"
        super().__init__(place, os.path.join(place.folder, folder), existing, trust_existing)
        self._format, self._trusted = existing_format, trust_existing

    def under_stash(self, encode: Encode, *, safe: bool, max_value_bytes: int) -> Engine:
        """Return this engine, or one that reads the existing cache."""
        if self.existing is None:
            return self
        from hashstash.existing.diskcache import FORMATS, DiskcacheSource, DiskcacheView
        from hashstash.existing.view import check_options

        check_options(FORMATS, self._format, trusted=self._trusted, safe=safe)
        source = DiskcacheSource(
            self.existing,
            written_as=self._format,
            trusted=self._trusted,
            max_bytes=max_value_bytes,
        )
        return DiskcacheView(self.place, self.existing, source, encode)

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        return self.read("get", _get, key)

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one."""
        self.write("put", _put, key, row)

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        return bool(self.read("delete", _delete, key))

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen."""
        return self.write("compare_and_set", _swap, key, etag, row)

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows, a batch in a transaction."""
        for batch in batches(items, PAGE):
            self.write("put_many", _put_batch, batch)

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Remove many keys, a page in a transaction; return how many were there."""
        return sum(self.read("delete_many", _delete_page, page) or 0 for page in pages(keys, PAGE))

    def keys(self) -> Iterator[bytes]:
        """Yield every key once, in order; keys that are not ours are passed over."""
        last = b""
        while page := self.read("keys", _keys_after, last):
            yield from page
            last = page[-1]

    def count(self) -> int:
        """Return how many keys there are."""
        return self.read("count", _number, _COUNT) or 0

    def clear(self) -> None:
        """Remove this table's rows."""
        self.read("clear", _clear)

    def size_bytes(self) -> int:
        """Return about how many bytes the rows take."""
        return self.read("size_bytes", _number, _SIZE) or 0

    def destroy(self) -> None:
        """Remove the caches of all tables."""
        self.close()
        try:
            with os.scandir(self.place.folder) as found:
                folders = [entry.path for entry in found if entry.name.startswith("data.")]
            for folder in folders:
                remove_tree(folder)
        except FileNotFoundError:
            pass  # nothing was ever stored
        except OSError as exc:
            raise self.failure("destroy", exc) from exc

    def share(self) -> _CacheFolder:
        """Return this process's cache in the folder."""
        if os.path.expandvars(os.path.expanduser(self.location)) != self.location:
            raise ConfigurationError(
                f"diskcache takes '~' and '$' in {self.location} for variables; use other names"
            )
        return super().share()

    def root_cause(self, exc: BaseException) -> BaseException:
        """Return the error that SQLite raised first: the library hides or replaces it."""
        hidden = isinstance(exc, diskcache.Timeout) or str(exc).startswith("cannot rollback")
        return exc.__context__ or exc if hidden else exc

    def _at(self, place: Place) -> DiskcacheEngine:
        return DiskcacheEngine(
            place,
            existing=self.existing,
            existing_format=self._format,
            trust_existing=self._trusted,
        )


def _get(store: _CacheFolder, key: bytes) -> bytes | None:
    row: bytes | None = store.cache.get(key)
    return row


def _put(store: _CacheFolder, key: bytes, row: bytes) -> bool:
    store.cache.set(key, row)
    return True


def _delete(store: _CacheFolder, key: bytes) -> bool:
    return bool(store.cache.delete(key))


def _swap(store: _CacheFolder, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
    cache = store.cache
    with cache.transact():
        found = cache.get(key)
        if (None if found is None else found[ETAG]) != etag:
            return False
        if row is not None:
            cache.set(key, row)
        elif found is not None:
            cache.delete(key)
        return True


def _put_batch(store: _CacheFolder, rows: dict[bytes, bytes]) -> bool:
    with store.cache.transact():
        for key, row in rows.items():
            store.cache.set(key, row)
    return True


def _delete_page(store: _CacheFolder, keys: list[bytes]) -> int:
    with store.cache.transact():
        return sum(bool(store.cache.delete(key)) for key in keys)


def _keys_after(store: _CacheFolder, last: bytes) -> list[bytes]:
    return [key for (key,) in store.cache.connection.execute(_KEYS, (last, PAGE)).fetchall()]


def _number(store: _CacheFolder, query: str) -> int:
    ((number,),) = store.cache.connection.execute(query).fetchall()
    return int(number)


def _clear(store: _CacheFolder) -> None:
    with store.cache.transact():
        store.cache.connection.execute("DELETE FROM Cache")

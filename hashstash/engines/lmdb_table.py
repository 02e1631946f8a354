"""One table of an LMDB environment as an engine uses it: found, read, written, tried again."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import lmdb
from lmdb import Error

from hashstash.errors import EngineError

from . import folders
from .connections import acquire, release
from .lmdb_environment import LmdbStore
from .lmdb_opening import WEAKER, UnopenableError
from .lmdb_transactions import Level

if TYPE_CHECKING:
    from lmdb import Environment, Transaction

T = TypeVar("T")

TRIES = 100
"""How often an operation is begun again when the environment changed under it."""
DAMAGE = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError)
"""What LMDB raises when it finds that a file is damaged."""
READ_ONLY = "it is open for reading only"
ALMOST_FULL = 4 << 20
CHECK_EVERY = 1024
"""How many writes go by before dead readers' slots are freed and the file is looked for."""


def _not_open(*_: object) -> NoReturn:
    raise Error("not open")


_Begin = Callable[..., "Transaction[bytes]"]
_NO_READER: tuple[_Begin, Any] = (_not_open, None)
_Lock = AbstractContextManager[Any]
_NO_WRITER: tuple[_Lock, _Begin, Any, Any] = (nullcontext(), _not_open, None, None)


class LmdbTable:
    """A table, for one engine.

    Args:
        path: the environment's file.
        name: the table's name.
        durable: writes must survive power loss.
        map_size: how many bytes of addresses to reserve if this opens the environment.
        engine: the engine's name, for errors.
        prepare: makes sure that the place may be used.
    """

    def __init__(
        self,
        path: str,
        name: str,
        *,
        durable: bool,
        map_size: int | None,
        engine: str,
        prepare: Callable[[], None],
    ) -> None:
        self.path, self.name = path, name
        self._engine = engine
        self._prepare = prepare
        self.reader = _NO_READER
        """``begin, db``, for ``begin(db)``."""
        self.writer = _NO_WRITER
        """``lock, begin, db, main``, for ``with lock, begin(db, None, True)``."""
        self.pinned: dict[int, weakref.ref[Level]] = {}
        """The transactions of the process's threads here; reader and writer are for others."""
        self.until_check = CHECK_EVERY
        self._durable, self._map_size = durable, map_size
        self._store: LmdbStore | None = None
        self._known: LmdbStore | None = None

    def beside(self, other: LmdbTable) -> None:
        """Expect to find open what another table of the same path has open."""
        self._known = other._store or other._known

    def failure(self, operation: str, exc: BaseException) -> EngineError:
        """Return the error to raise when an operation failed."""
        if getattr(exc, "code", 0) == errno.EIO and _is_full(self.path):
            exc = Error(f"{exc} ({os.strerror(errno.ENOSPC)})")
        return EngineError(
            f"{self._engine} {operation} failed at {self.path}: {exc}",
            engine=self._engine,
            operation=operation,
            place=self.path,
        )

    def detach(self) -> None:
        """Forget the open environment; the next use asks for it again."""
        self.reader, self.writer = _NO_READER, _NO_WRITER

    def close(self) -> None:
        """Leave the environment; the last table of this process to leave it closes it."""
        store, self._store = self._store, None
        self.detach()
        if store is not None:
            try:
                release(store, self)
            except Error as exc:
                raise self.failure("close", exc) from exc

    def destroy(self, folder: str) -> None:
        """Remove the environment with all its tables and its folder."""
        if self._level(self.shared()) is not None:
            raise self.failure("destroy", Error("it cannot be done inside a transaction"))

        def attempt(store: LmdbStore) -> bool:
            env = self._environment(write=True) if os.path.exists(self.path) else None
            return env is not None and store.writable and store.destroy(env, folder)

        try:
            removed = self._remove_tables_first(attempt)
            self.close()
            if not removed or os.name == "nt":  # it is damaged, or open for reading only
                folders.remove_folder(folder)
        except OSError as exc:
            raise self.failure("destroy", exc) from exc

    def _remove_tables_first(self, attempt: Callable[[LmdbStore], bool]) -> bool:
        try:
            return self._persist("destroy", attempt, 0)
        except EngineError as exc:
            if not isinstance(exc.__cause__, (UnopenableError, *DAMAGE)):
                raise
        return False

    def free_dead_readers(self) -> int:
        """Free the slots of readers that died; return how many."""
        env = self._environment(write=False)
        try:
            return 0 if env is None else env.reader_check()
        except Error as exc:
            raise self.failure("sweep", exc) from exc

    def shared(self) -> LmdbStore:
        """Return what this process has open here."""
        store = self._store
        if store is None:
            try:
                self._prepare()
            except OSError as exc:
                raise self.failure("open", exc) from exc
            store = self._store = acquire(LmdbStore, self.path, self, self._known)
            self.pinned = store.pinned
        return store

    def read(self, operation: str, read: Callable[[Any, Any], T], missing: T) -> T:
        """Return what ``read(txn, db)`` returns, or ``missing`` if there is no table."""

        def attempt(store: LmdbStore) -> T:
            env = self._environment(write=False)
            if env is None:
                return missing
            db = store.table(env, self.name, create=False)
            if db is None:
                return store.read_once(env, self.name, read, missing)
            self.reader = env.begin, db
            with env.begin(db) as txn:
                store.make_sure(txn)
                return read(txn, db)

        store = self.shared()
        if (level := self._level(store)) is not None:
            try:
                return level.read(self.name, read)
            except Error as exc:
                raise self.failure(operation, exc) from exc
        return self._persist(operation, attempt, 0)

    def remove(self, operation: str, remove: Callable[[Any, Any], T], nothing: T) -> T:
        """Return what ``remove(txn, db)`` returns, or ``nothing`` if there is no store."""
        if not self._level(self.shared()) and self._environment(write=False) is None:
            return nothing
        return self.write(operation, remove, 0)

    def write(
        self, operation: str, write: Callable[[Any, Any], T], room: int, buffers: bool = False
    ) -> T:
        """Return what ``write(txn, db)`` returns, once it is committed.

        Args:
            operation: what is done, for errors.
            write: does it. It may be called again if it fails.
            room: about how many bytes it writes.
            buffers: let ``txn.get`` return memoryviews, where the engine's own transaction
                is used.
        """

        def attempt(store: LmdbStore) -> T:
            env = self._environment(write=True)
            if env is None or not store.writable:
                raise self.failure(operation, Error(READ_ONLY))
            db = store.table(env, self.name, create=True)
            if db is None:
                raise Error("the environment was opened anew meanwhile")
            self.reader = env.begin, db
            self.writer = store.writing, env.begin, db, store.main
            begin: _Begin = env.begin
            with store.writing, begin(db, None, True, buffers) as txn:
                store.make_sure(txn)
                result = write(txn, db)
                txn.commit()  # leaving the block would not tell if it could not
            return result

        store = self.shared()
        if (level := self._level(store)) is not None:
            if self._durable and not store.synced:
                raise self.failure(operation, Error(WEAKER))
            try:
                return level.write(self.name, write, room)
            except Error as exc:
                raise self.failure(operation, exc) from exc
        self.until_check -= 1
        if self.until_check < 0:
            self.until_check = CHECK_EVERY
            store.check()
        return self._persist(operation, attempt, room)

    def _environment(self, write: bool) -> Environment | None:
        try:
            return self.shared().open(write, self._durable, self._map_size)
        except (UnopenableError, OSError) as exc:
            raise self.failure("open", exc) from exc

    def _level(self, store: LmdbStore) -> Level | None:
        """Return the transaction that this thread is in."""
        if not store.pinned:
            return None
        here = threading.get_ident()
        reference = store.pinned.get(here)
        level = reference() if reference is not None else None
        if level is None:
            store.pinned.pop(here, None)
        return level

    def _persist(self, operation: str, attempt: Callable[[LmdbStore], T], room: int) -> T:
        """Try until it succeeds or fails for good."""
        for left in reversed(range(TRIES)):
            store = self.shared()
            env, resizes = store.env, store.resizes
            try:
                return attempt(store)
            except Error as exc:
                self.detach()
                try:
                    if left and store.recover(exc, env, resizes, room):
                        continue
                except Error as worse:
                    raise self.failure("recover", worse) from exc
                raise self.failure(operation, exc) from exc
        raise AssertionError("the last try returns or raises")


def _is_full(path: str) -> bool:
    """Report whether it was for want of disk that a page could be written in part only."""
    try:
        return shutil.disk_usage(os.path.dirname(path)).free < ALMOST_FULL
    except OSError:
        return False


class Block:
    """``with engine.transaction():``, around everything that this thread does at one path."""

    def __init__(self, table: LmdbTable) -> None:
        self._table = table
        self._store: LmdbStore | None = None
        self._level: Level | None = None

    def __enter__(self) -> None:
        table = self._table
        store = acquire(LmdbStore, table.path, self, table.shared())
        try:
            level = table._persist("transaction", self._begin, 0)
            store.pinned[threading.get_ident()] = weakref.ref(level)
        except BaseException:
            release(store, self)
            raise
        self._store, self._level = store, level

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        level, store = self._level, self._store
        assert level is not None
        assert store is not None
        self._level = None
        try:
            if kind is None:
                level.commit()
        except Error as error:
            raise self._table.failure("transaction", error) from error
        finally:
            level.abort()
            if level.outer is None:
                store.pinned.pop(threading.get_ident(), None)
            else:
                store.pinned[threading.get_ident()] = weakref.ref(level.outer)
            release(store, self)

    def detach(self) -> None:
        """Keep the environment: a transaction ends with its block."""

    def _begin(self, store: LmdbStore) -> Level:
        table = self._table
        if table._environment(write=True) is None or not store.writable:
            raise table.failure("transaction", Error(READ_ONLY))
        return Level(store, table._level(store))

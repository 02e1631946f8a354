"""One table of an SQLite database as an engine uses it: found, made, tried again."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

from hashstash.errors import EngineError

from . import folders
from .connections import acquire, release
from .sqlite_pool import SqlitePool, UnopenableError
from .sqlite_statements import TABLES, quoted, statements
from .sqlite_transactions import Level

if TYPE_CHECKING:
    import weakref

    from .sqlite_pool import Session

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

WEAKER = "this thread is in a transaction there that need not survive power loss"
CHECK_EVERY = 256
"""How many writes go by before the length of the log is looked at."""


class _NoPool:
    """What a table has while it has no pool: nothing to take from."""

    idle: ClassVar[deque[Session]] = deque()
    pinned: ClassVar[dict[int, weakref.ref[Level]]] = {}

    def take_back(self, session: Session) -> None:
        """Close a connection that was lent before the table was closed."""
        session.close()


_NO_POOL = _NoPool()


class SqliteTable:
    """A table, for one engine.

    Args:
        path: the database's file.
        name: the table's name.
        durable: writes must survive power loss.
        timeout: seconds to wait for other writers.
    """

    def __init__(
        self,
        path: str,
        name: str,
        durable: bool,
        timeout: float,
    ) -> None:
        self.path, self.name = path, name
        self.pool: SqlitePool | _NoPool = _NO_POOL
        self.until_check = CHECK_EVERY
        self.durable, self._timeout = durable, timeout
        self._known: SqlitePool | None = None
        self.sql = statements(name)

    def beside(self, other: SqliteTable) -> None:
        """Expect to find open what another table of the same path has open."""
        self._known = other._known if isinstance(other.pool, _NoPool) else other.pool

    def failure(self, operation: str, exc: BaseException) -> EngineError:
        """Return the error to raise when an operation failed."""
        return EngineError(
            f"sqlite {operation} failed at {self.path}: {exc}",
            engine="sqlite",
            operation=operation,
            place=self.path,
        )

    def shared(self) -> SqlitePool:
        """Return what this process has open here."""
        pool = self.pool
        if isinstance(pool, _NoPool):
            pool = self.pool = acquire(SqlitePool, self.path, self, self._known)
        return pool

    def close(self) -> None:
        """Give the connections back; the last table of this process to do so closes them."""
        pool, self.pool = self.pool, _NO_POOL
        if not isinstance(pool, _NoPool):
            try:
                release(pool, self)
            except sqlite3.Error as exc:
                raise self.failure("close", exc) from exc

    def destroy(self, folder: str) -> None:
        """Remove the database with all its tables and its folder.

        The tables go first, with the database locked until the files are gone: others find
        that their table is no more, and look for the file again.
        """
        pool = self.shared()
        if self.level(pool) is not None:
            refusal = sqlite3.OperationalError("it cannot be done inside a transaction")
            raise self.failure("destroy", refusal)
        try:
            removed = self._remove_tables_first(pool, folder)
            pool.moved()
            self.close()
            if not removed or os.name == "nt":  # it is damaged, or open for reading only
                folders.remove_folder(folder)
        except OSError as exc:
            raise self.failure("destroy", exc) from exc

    def _remove_tables_first(self, pool: SqlitePool, folder: str) -> bool:
        session, removed = None, False
        try:
            if os.path.exists(self.path):
                session = pool.lend(True, self.durable, self._timeout)
            if session is not None:
                _drop_all(session.connection)
                folders.remove_folder(folder)
                removed = True
                session.connection.execute("COMMIT")
        except (sqlite3.Error, UnopenableError) as exc:
            if _is_busy(exc):
                raise self.failure("destroy", exc) from exc
        finally:
            if session is not None:
                pool.discard(session)
        return removed

    def read(self, operation: str, read: Work[T], missing: T) -> T:
        """Return what ``read(connection)`` returns, or ``missing`` if there is no table."""
        return self._run(operation, read, lambda: missing, writes=False)

    def write(self, operation: str, write: Work[T]) -> T:
        """Return what ``write(connection)`` returns, once it is committed.

        Outside transactions it must be a single statement, or a transaction of its own.
        """
        return self._run(operation, write, None, writes=True)

    def remove(self, operation: str, remove: Work[int]) -> int:
        """Return what ``remove(connection)`` returns, or 0 if there is no table."""
        return self._run(operation, remove, lambda: 0, writes=True)

    def begin(self, pool: SqlitePool, outer: Level | None) -> Level:
        """Return a transaction that was begun, in a connection of its own if it is outermost."""
        if outer is None:
            return self._persist("transaction", pool, partial(_begin, pool), None, keep=True)
        try:
            outer.within()
            assert outer.session is not None
            level = Level(outer.session, outer)
            level.begin()
        except sqlite3.Error as exc:
            raise self.failure("transaction", exc) from exc
        return level

    def level(self, pool: SqlitePool) -> Level | None:
        """Return the transaction that this thread is in."""
        if not pool.pinned:
            return None
        here = threading.get_ident()
        reference = pool.pinned.get(here)
        level = reference() if reference is not None else None
        if level is None:
            pool.pinned.pop(here, None)
        return level

    def _run(
        self, operation: str, work: Work[T], missing: Callable[[], T] | None, writes: bool
    ) -> T:
        pool = self.shared()
        level = self.level(pool)
        if level is None:

            def attempt(session: Session) -> T:
                if writes:
                    self._count_write(pool, session.connection)
                return work(session.connection)

            return self._persist(operation, pool, attempt, missing)
        try:
            return self._run_within(level, work, missing, writes)
        except (sqlite3.Error, OverflowError) as exc:
            raise self.failure(operation, exc) from exc

    def _run_within(
        self, level: Level, work: Work[T], missing: Callable[[], T] | None, writes: bool
    ) -> T:
        connection = level.within()
        if writes and self.durable and not (level.session and level.session.durable):
            raise sqlite3.OperationalError(WEAKER)
        try:
            return work(connection)
        except sqlite3.OperationalError as exc:
            if not self._is_absent(exc):
                raise
        if missing is not None:
            return missing()
        connection.execute(self.sql.create)
        return work(connection)

    def _persist(
        self,
        operation: str,
        pool: SqlitePool,
        work: Callable[[Session], T],
        missing: Callable[[], T] | None,
        keep: bool = False,
    ) -> T:
        """Try until it succeeds or fails for good.

        Args:
            operation: what is done, for errors.
            pool: where to borrow a connection.
            work: does it.
            missing: what to return if there is no table; None: make one.
            keep: leave the connection to what the work returns.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            session = self._borrow(operation, pool, write=missing is None)
            if session is None:
                assert missing is not None
                return missing()
            give_back: Callable[[SqlitePool, Session], None] = _return
            try:
                result = work(session)
                if keep:
                    give_back = _leave
                return result
            except (sqlite3.Error, OverflowError, _MovedError) as exc:
                if isinstance(exc, _MovedError) or (self._is_absent(exc) and pool.moved()):
                    continue
                if self._is_absent(exc):
                    if missing is not None:
                        return missing()
                    self._make(operation, session.connection)
                elif not _is_busy(exc) or time.monotonic() > deadline:
                    give_back = SqlitePool.discard  # the next one may find things put right
                    raise self.failure(operation, exc) from exc
            finally:
                give_back(pool, session)

    def _borrow(self, operation: str, pool: SqlitePool, write: bool) -> Session | None:
        try:
            return pool.lend(write, self.durable, self._timeout)
        except (UnopenableError, sqlite3.Error, OSError) as exc:
            raise self.failure(f"{operation} (open)", exc) from exc

    def _make(self, operation: str, connection: sqlite3.Connection) -> None:
        try:
            connection.execute(self.sql.create)
        except sqlite3.Error as exc:
            raise self.failure(operation, exc) from exc

    def _count_write(self, pool: SqlitePool, connection: sqlite3.Connection) -> None:
        self.until_check -= 1
        if self.until_check < 0:
            self.until_check = CHECK_EVERY
            pool.tidy(connection)

    def _is_absent(self, exc: Exception) -> bool:
        return str(exc) == f"no such table: {self.name}"


class _MovedError(Exception):
    """The file was removed, so that what is written into it would be lost."""


def _return(pool: SqlitePool, session: Session) -> None:
    if session.connection.in_transaction:  # it was interrupted
        pool.discard(session)
    else:
        pool.take_back(session)


def _leave(pool: SqlitePool, session: Session) -> None:
    """Leave the connection to the transaction that was begun in it."""


def _begin(pool: SqlitePool, session: Session) -> Level:
    level = Level(session, None)
    level.begin()
    if pool.moved():  # whoever removes it holds the lock that we hold now
        raise _MovedError
    return level


def _drop_all(connection: sqlite3.Connection) -> None:
    """Begin a transaction in which there are no tables any more."""
    connection.execute("BEGIN IMMEDIATE")
    for (name,) in connection.execute(TABLES).fetchall():
        connection.execute("DROP TABLE " + quoted(name))


def _is_busy(exc: Exception) -> bool:
    """Report whether another try may succeed."""
    return isinstance(exc, sqlite3.OperationalError) and any(
        words in str(exc) for words in ("is locked", "locking protocol", "schema has changed")
    )

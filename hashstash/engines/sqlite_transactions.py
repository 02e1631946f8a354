"""Transactions of the sqlite engine: one per thread, nested ones as savepoints."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from types import TracebackType
from typing import TYPE_CHECKING

from .connections import acquire, release
from .sqlite_pool import SqlitePool

if TYPE_CHECKING:
    from .sqlite_pool import Session
    from .sqlite_table import SqliteTable


FAILED = "the transaction has failed: leave its block"


class Level:
    """A transaction that a thread is in, or a block nested in one.

    Args:
        session: its connection is in the transaction, for this thread alone.
        outer: the transaction around it.
    """

    def __init__(self, session: Session, outer: Level | None) -> None:
        self.session: Session | None = session
        self.outer = outer
        self.depth: int = 0 if outer is None else outer.depth + 1

    def begin(self) -> None:
        """Begin it, and wait for other writers."""
        sql = f"SAVEPOINT block{self.depth}" if self.depth else "BEGIN IMMEDIATE"
        self.running().execute(sql)

    def running(self) -> sqlite3.Connection:
        """Return the connection, which the parent of a forked process has, but not the child."""
        if self.session is None:
            raise sqlite3.OperationalError(FAILED)
        return self.session.connection

    def within(self) -> sqlite3.Connection:
        """Return the connection, which must be in the transaction.

        Raises:
            sqlite3.OperationalError: SQLite has taken it back: the disk is full, say.
        """
        connection = self.running()
        if not connection.in_transaction:
            raise sqlite3.OperationalError(FAILED)
        return connection

    def commit(self) -> None:
        """Make the writes those of the outer transaction, or visible to all."""
        self.within().execute(f"RELEASE block{self.depth}" if self.depth else "COMMIT")

    def roll_back(self) -> None:
        """Take the writes back, unless SQLite has done so."""
        if self.session is None or not self.session.connection.in_transaction:
            return
        connection = self.session.connection
        if self.depth:
            connection.execute(f"ROLLBACK TO block{self.depth}")
            connection.execute(f"RELEASE block{self.depth}")
        else:
            connection.execute("ROLLBACK")


class Block:
    """``with engine.transaction():``, around everything that this thread does at one path."""

    def __init__(self, table: SqliteTable) -> None:
        self._table = table
        self._pool: SqlitePool | None = None
        self._level: Level | None = None

    def __enter__(self) -> None:
        table = self._table
        pool = acquire(SqlitePool, table.path, self, table.shared())
        level = None
        try:
            outer = table.level(pool)
            level = table.begin(pool, outer)
            pool.pinned[threading.get_ident()] = weakref.ref(level)
        except BaseException:
            if level is not None:
                self._give_up(pool, level)
            release(pool, self)
            raise
        self._pool, self._level = pool, level

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        level, pool = self._level, self._pool
        assert level is not None
        assert pool is not None
        self._level = None
        done = False
        try:
            if kind is None:
                level.commit()
                done = True
        except sqlite3.Error as error:
            raise self._table.failure("transaction", error) from error
        finally:
            if level.outer is None:
                pool.pinned.pop(threading.get_ident(), None)
            else:
                pool.pinned[threading.get_ident()] = weakref.ref(level.outer)
            if done:
                self._finish(pool, level)
            else:
                self._give_up(pool, level)
            release(pool, self)

    def _finish(self, pool: SqlitePool, level: Level) -> None:
        session, level.session = level.session, None
        if level.outer is None and session is not None:
            pool.take_back(session)

    def _give_up(self, pool: SqlitePool, level: Level) -> None:
        """Take the writes back, and the connection if that works."""
        try:
            level.roll_back()
        except sqlite3.Error:
            if level.session is not None:
                pool.discard(level.session)
        else:
            self._finish(pool, level)

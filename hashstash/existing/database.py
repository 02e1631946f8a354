"""Another program's SQLite file, opened for reading alone."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import Any

from hashstash.engines.connections import SharedStore, acquire, never_free, release
from hashstash.engines.foreign import PATIENCE, open_to_read
from hashstash.errors import ConfigurationError, CorruptRowError, EngineError


class Database:
    """A read-only view of a SQLite file; nothing is created or changed, or locked for long.

    Args:
        path: the file.
        engine: whose file it is, for messages.
    """

    def __init__(self, path: str, engine: str) -> None:
        self.path, self._engine = path, engine
        self._store: _OpenFile | None = None

    def rows(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query.

        Raises:
            ConfigurationError: there is no such file.
            CorruptRowError: a text in it is not UTF-8.
            EngineError: SQLite cannot read it.
        """
        store = self._store
        if store is None:
            store = self._store = acquire(_OpenFile, self.path, self)
        try:
            return store.rows(statement, parameters)
        except UnicodeDecodeError as exc:
            raise CorruptRowError(
                f"A text in {self.path} is not UTF-8: {exc}", stage="row"
            ) from exc
        except sqlite3.Error as exc:
            raise EngineError(
                f"{self._engine} cannot read {self.path}: {exc}",
                engine=self._engine,
                operation="get",
                place=self.path,
            ) from exc

    def state(self) -> int:
        """Return a number that changes when another connection changes the file."""
        ((state,),) = self.rows("PRAGMA data_version")
        return int(state)

    def close(self) -> None:
        """Release the file. The next use opens it again."""
        store, self._store = self._store, None
        if store is not None:
            release(store, self)


class _OpenFile(SharedStore):
    """The one connection of this process to such a file, used by one thread at a time."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._held_for_fork = False

    def rows(self, statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            if self._connection is None:
                self._connection = _connect(self.path)
            return self._connection.execute(statement, parameters).fetchall()

    def shut(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def before_fork(self, patience: float) -> None:
        # No thread is inside SQLite at the fork: its own locks would stay locked in the child.
        self._held_for_fork = self._lock.acquire(timeout=patience)

    def after_fork(self) -> None:
        if self._held_for_fork:
            self._lock.release()

    def begin_in_child(self) -> None:
        self._lock = threading.RLock()
        if self._connection is not None:
            never_free(self._connection)
            self._connection = None


def _connect(path: str) -> sqlite3.Connection:
    if not os.path.isfile(path):
        raise ConfigurationError(f"existing: there is no file {path}")
    connection = open_to_read(path, PATIENCE)
    connection.text_factory = _strict
    return connection


def _strict(text: bytes) -> str:
    return text.decode("utf-8")

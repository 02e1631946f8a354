"""Write transactions of the lmdb engine: one per thread, nested, written again in a larger map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import lmdb
from lmdb import Error

from .lmdb_environment import LmdbStore
from .lmdb_opening import GIB

if TYPE_CHECKING:
    import threading

    from lmdb import Environment, Transaction, _Database

T = TypeVar("T")

ROOMY = 4 * GIB
"""A map with so much room need not be prepared for growing in the middle of a transaction."""


def hold(lock: threading.RLock) -> Iterator[None]:
    """Return what holds a lock for as long as it lives, even if Ctrl-C hits anywhere here."""

    def held() -> Iterator[None]:
        with lock:
            yield

    holding = held()
    next(holding)
    return holding


class Level:
    """A write transaction of one thread, or a block nested in one.

    Args:
        store: where it writes.
        outer: the transaction around it.
    """

    def __init__(self, store: LmdbStore, outer: Level | None) -> None:
        self.store, self.outer = store, outer
        self.tables: dict[str, _Database] = {}
        self.txn: Transaction[bytes] | None = None
        self._journal: list[tuple[str, Callable[..., object]]] = []
        self._journaled = False
        self._number = 0
        self._hold: Iterator[None] | None = None
        self._env: Environment | None = None
        self.begin()

    def begin(self) -> None:
        """Begin the LMDB transaction."""
        if self.outer is None:
            self._hold = hold(self.store.writing)
        env = self._env = self.store.env
        if env is None:
            raise Error("the environment was closed")
        if self.outer is None:
            self.txn = env.begin(None, None, True)
            self._number = self.txn.id()
            try:
                self.store.make_sure(self.txn)
            except Error:
                self.abort()
                raise
            self._journaled = self.store.room() < ROOMY
        elif self.outer.txn is None:
            raise Error("the transaction around has failed: leave its block")
        else:
            self.txn = env.begin(None, self.outer.txn, True)
            self._journaled = self.outer._journaled

    def outermost(self) -> Level:
        """Return the transaction that is not nested."""
        return self if self.outer is None else self.outer.outermost()

    def read(self, table: str, operation: Callable[..., T]) -> T:
        """Return what ``operation(txn, db)`` returns for a table."""
        if self.txn is None:
            raise Error("the transaction has failed: leave its block")
        return operation(self.txn, self.store.table_within(self, table))

    def write(self, table: str, operation: Callable[..., T], room: int) -> T:
        """Do the same for an operation that writes, with a larger map if need be."""
        while True:
            try:
                result = self.read(table, operation)
            except lmdb.MapFullError as exc:
                self._replay(exc, room)
            else:
                if self._journaled:
                    self._journal.append((table, operation))
                return result

    def commit(self) -> None:
        """Make the writes those of the outer transaction, or visible to all."""
        while True:
            if self.txn is None:
                raise Error("the transaction has failed: nothing of it was written")
            try:
                self.txn.commit()
            except lmdb.MapFullError as exc:
                self._replay(exc, 0)
            else:
                break
        self.txn = None
        if self.outer is None:
            assert self._env is not None
            self.store.settle(self._env, self.tables)
            self._hold = None
        else:
            self.outer.tables.update(self.tables)
            self.outer._journal += self._journal

    def abort(self) -> None:
        """Take the writes back."""
        txn, self.txn = self.txn, None
        self.tables.clear()
        if txn is not None:
            txn.abort()
        self._hold = None

    def _replay(self, exc: lmdb.MapFullError, room: int) -> None:
        """Take all back, make the map larger and write all again.

        Raises:
            lmdb.MapFullError: the writes were not kept, as there was much room.
            lmdb.Error: another process wrote meanwhile, so what was read may be outdated.
        """
        levels = [self]
        while levels[0].outer is not None:
            levels.insert(0, levels[0].outer)
        number = levels[0]._number
        with self.store.writing:  # no other thread may write before the map is replaced
            while True:
                for level in reversed(levels):
                    level.abort()
                self.store.grow(self.store.env, self.store.resizes, room)
                if not self._journaled:
                    raise exc
                try:
                    return _write_again(levels, number)
                except lmdb.MapFullError:
                    continue


def _write_again(levels: list[Level], number: int) -> None:
    for level in levels:
        level.begin()
        if level.outer is None and level._number != number:
            level.abort()
            raise Error("the map was full, and others wrote while it grew: try again")
        for table, operation in level._journal:
            level.read(table, operation)

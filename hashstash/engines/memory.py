"""``memory``: rows in a dict of this process, gone when it ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from .base import ETAG, Engine, Place

Rows = dict[bytes, bytes]


class _Store:
    """The tables of one place, and what the running transaction must be able to take back."""

    __slots__ = ("destroyed", "lock", "owner", "tables", "undo")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tables: dict[str, Rows] = {}
        self.undo: list[tuple[Rows, bytes, bytes | None]] = []
        self.owner: int | None = None  # the thread whose transaction runs
        self.destroyed = False

    def change(self, rows: Rows, key: bytes, row: bytes | None) -> None:
        """Store or remove a row; the caller holds the lock."""
        if self.owner is not None:
            self.undo.append((rows, key, rows.get(key)))
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row

    def take_back(self, mark: int) -> None:
        """Undo all changes since the log was ``mark`` long."""
        while len(self.undo) > mark:
            rows, key, row = self.undo.pop()
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row


_STORES: dict[tuple[str, str], _Store] = {}


class MemoryEngine(Engine):
    """Rows in a dict that all stashes of this process with the same place share.

    Reads take the lock too: no thread sees what another one's transaction may take back.
    A forked child begins with a copy of its own.
    """

    name: ClassVar[str] = "memory"
    title: ClassVar[str] = "Memory"
    persistent: ClassVar[bool] = False
    private: ClassVar[bool] = True
    transactions: ClassVar[bool] = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._opened: tuple[_Store, Rows] | None = None

    @property
    def location(self) -> str:
        """The place's name as a URL."""
        return f"memory://{self.place.name}"

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        store, rows = self._open()
        with store.lock:
            return rows.get(key)

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``."""
        store, rows = self._open()
        with store.lock:
            return key in rows

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one."""
        store, rows = self._open()
        with store.lock:
            store.change(rows, key, row)

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        store, rows = self._open()
        with store.lock:
            found = key in rows
            if found:
                store.change(rows, key, None)
            return found

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen."""
        store, rows = self._open()
        with store.lock:
            found = rows.get(key)
            if (None if found is None else found[ETAG]) != etag:
                return False
            store.change(rows, key, row)
            return True

    def keys(self) -> Iterator[bytes]:
        """Yield every key that is there at the first step."""
        store, rows = self._open()
        with store.lock:
            snapshot = list(rows)
        yield from snapshot

    def count(self) -> int:
        """Return how many keys there are."""
        store, rows = self._open()
        with store.lock:
            return len(rows)

    def clear(self) -> None:
        """Remove this table's rows and nothing else."""
        store, rows = self._open()
        with store.lock:
            if store.owner is not None:
                store.undo.extend((rows, key, row) for key, row in rows.items())
            rows.clear()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group what this thread writes until the block ends; other threads wait."""
        store, _ = self._open()
        with store.lock:
            outer, mark = store.owner, len(store.undo)
            try:
                store.owner = threading.get_ident()
                yield
            except BaseException:
                store.take_back(mark)
                raise
            finally:
                store.owner = outer
                if outer is None:
                    store.undo.clear()

    def close(self) -> None:
        """Let go of the store; its rows stay until the process ends or it is destroyed."""
        self._opened = None

    def destroy(self) -> None:
        """Remove all tables of the place."""
        store, _ = self._open()
        with store.lock:
            for rows in store.tables.values():
                rows.clear()
            store.destroyed = True
            _STORES.pop((self.place.folder, self.place.name), None)
        self.close()

    def _open(self) -> tuple[_Store, Rows]:
        opened = self._opened
        if opened is None or opened[0].destroyed:
            store = _STORES.setdefault((self.place.folder, self.place.name), _Store())
            opened = self._opened = store, store.tables.setdefault(self.place.table, {})
        return opened


def _begin_in_child() -> None:
    """Free the locks of threads that did not come through the fork, and undo their half work."""
    here = threading.get_ident()
    for store in _STORES.values():
        if store.owner != here:
            store.take_back(0)
            store.owner = None
            store.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)

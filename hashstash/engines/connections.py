"""One open store per path and process, shared by every engine that names it, anew after a fork."""

from __future__ import annotations

import atexit
import os
import threading
import time
from abc import ABC, abstractmethod
from typing import Any, TypeVar
from weakref import WeakSet


class SharedStore(ABC):
    """What a process has open at one path, for all engines there.

    Args:
        path: the real path of the store's file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.users: WeakSet[Any] = WeakSet()

    @abstractmethod
    def shut(self) -> None:
        """Close all that is open. The next use opens again."""

    def leave(self) -> None:
        """Do what must be done before the interpreter ends."""
        self.shut()

    def before_fork(self, deadline: float) -> None:  # noqa: B027 - few need to
        """Get ready for a fork of this process, by a time of the monotonic clock at the latest."""

    def after_fork(self) -> None:  # noqa: B027 - few need to
        """Go on in the parent."""

    @abstractmethod
    def begin_in_child(self) -> None:
        """Forget, in a forked child, what belongs to the parent; close nothing of it."""


S = TypeVar("S", bound=SharedStore)

FORK_PATIENCE = 20.0
"""Seconds that a fork waits in all for other threads to finish what they do with a store."""


class _Table:
    """The stores of this process."""

    def __init__(self) -> None:
        self.stores: dict[tuple[type[SharedStore], str], SharedStore] = {}
        self.lock = threading.RLock()
        self.hooked = False

    def hook(self) -> None:
        """Hear of forks and of the end of the process, from the first use on."""
        self.hooked = True
        atexit.register(self._leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork,
                after_in_child=self._begin_in_child,
            )

    def drop_unused(self) -> None:
        """Close what was opened for engines that are gone; the caller holds the lock."""
        for key, store in list(self.stores.items()):
            if not store.users:
                del self.stores[key]
                store.shut()

    def _leave(self) -> None:
        for store in list(self.stores.values()):
            store.leave()

    def _before_fork(self) -> None:
        deadline = time.monotonic() + FORK_PATIENCE
        for store in list(self.stores.values()):
            store.before_fork(deadline)

    def _after_fork(self) -> None:
        for store in list(self.stores.values()):
            store.after_fork()

    def _begin_in_child(self) -> None:
        self.lock = threading.RLock()  # another thread may have held it
        for store in list(self.stores.values()):
            store.begin_in_child()


_TABLE = _Table()


def acquire(kind: type[S], path: str, user: object, known: S | None = None) -> S:
    """Return this process's store at ``path``, and keep it open while ``user`` lives.

    Args:
        kind: the class of the store.
        path: its file; two names of one file lead to one store.
        user: whom it is for, until ``release``.
        known: the store that is probably there, which saves finding out the real path.
    """
    if known is not None:
        with _TABLE.lock:
            if _TABLE.stores.get((kind, known.path)) is known:
                known.users.add(user)
                return known
    key = (kind, os.path.realpath(path))
    with _TABLE.lock:
        if not _TABLE.hooked:
            _TABLE.hook()
        store = _TABLE.stores.get(key)
        if store is None:
            _TABLE.drop_unused()
            store = _TABLE.stores[key] = kind(key[1])
        store.users.add(user)
        assert isinstance(store, kind)
        return store


def release(store: SharedStore, user: object) -> None:
    """Give a store back; the last user closes it."""
    with _TABLE.lock:
        store.users.discard(user)
        key = (type(store), store.path)
        if not store.users and _TABLE.stores.get(key) is store:
            del _TABLE.stores[key]
            store.shut()


def never_free(thing: object) -> None:
    """Keep an object's destructor from ever running: what it would close is not ours to close."""
    try:
        import ctypes
    except ImportError:  # an interpreter built without it: the destructor may run at exit
        return
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))

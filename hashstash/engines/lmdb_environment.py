"""The LMDB environment that a process has at one path: opened once, grown, reopened after forks."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import lmdb
from lmdb import Error  # not lmdb.Error: its own name is looked up on every read

from . import folders
from .connections import SharedStore, never_free
from .lmdb_opening import (
    WEAKER,
    UnopenableError,
    default_map_size,
    fill_up,
    identity,
    let_open_again,
    make_environment,
    open_as_allowed,
    rounded,
)
from .lmdb_pages import GONE, MAIN, TABLE, tables_of

T = TypeVar("T")

if TYPE_CHECKING:
    from lmdb import Environment, Transaction, _Database

    from .lmdb_transactions import Level

ATTEMPTS = 10
"""How often a store is made anew if others remove it meanwhile."""


class LmdbStore(SharedStore):
    """What this process has open at one path. The options of the first engine there count.

    LMDB allows one environment per file and process, so all engines share it. Its map is a
    reservation of addresses, not of disk; when it is full, or another process has made the
    file larger, it is replaced, which py-lmdb (3.0 on) does safely under running readers:
    they get an ``lmdb.Error`` and begin again. Under a writer that waits to begin it does
    not: it ends that writer's transaction from the wrong thread and leaves the file locked for
    good. So whoever writes holds ``writing``, and so does who replaces the map.

    The items of a stash (``entries``) are in LMDB's main table, others in named ones: a write
    into a named one changes the main one, too, and takes half as long again.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.env: Environment | None = None
        self.pinned: dict[int, weakref.ref[Level]] = {}
        """Each thread's innermost transaction; dead references are those it was killed out of."""
        self.writing = threading.RLock()
        self.writable = False
        self.resizes = 0
        self._tables: dict[str, _Database] = {}
        self.main: _Database | None = None
        self._lock = threading.Lock()
        self.synced = False
        self._denied = False
        self._closing = False
        self._opener: weakref.ref[Level] | None = None
        self._keys: tuple[Any, ...] = ()
        self._page = 4096
        self._first_txn = 0

    # Opening and closing

    def open(self, write: bool, durable: bool, map_size: int | None) -> Environment | None:
        """Return the environment, opening it; None if there is no file and none is wanted.

        It is open for reading alone until something is written: py-lmdb finds tables for
        readers only in such an environment, in others it waits for whoever writes.

        Args:
            write: make it if there is none, and have it open for writing if that is allowed;
                ``writable`` says whether it is.
            durable: writes must survive power loss.
            map_size: how many bytes of addresses to reserve, if it is not open yet.

        Raises:
            UnopenableError: it cannot be opened.
        """
        while True:
            stronger = write and durable and not self.synced
            with self._undisturbed() if stronger else nullcontext(), self._lock:
                enough = self.writable and (self.synced or not durable)
                denied = self._denied and not os.access(self.path, os.W_OK)
                if self.env is not None and (enough or not write or denied):
                    return self.env
                weaker, self.env = self.env, None
                if weaker is None and not self._closing:
                    return self._open(write, durable, map_size)
                self._closing = True
            if weaker is None:
                time.sleep(0.001)
            else:
                self._close(weaker)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Let other threads' transactions end before the environment is opened anew, synced."""
        with self.writing:
            level = self.pinned.get(threading.get_ident())
            if level is not None and level() is not None:
                raise UnopenableError(WEAKER)
            yield

    def _open(self, write: bool, durable: bool, map_size: int | None) -> Environment | None:
        for _ in range(ATTEMPTS):
            try:
                with folders.held(os.path.dirname(self.path)):
                    return self._open_file(write, durable, map_size)
            except FileNotFoundError:
                if not write:
                    return None
            folders.publish(self.path, make_environment, durable)
        raise UnopenableError("it is removed again and again")

    def _open_file(self, write: bool, durable: bool, map_size: int | None) -> Environment:
        if not os.stat(self.path).st_size:
            raise UnopenableError("the file is empty (0 bytes): it was cut off or overwritten")
        size = map_size or default_map_size()
        env, self.writable, self._denied = open_as_allowed(self.path, write, durable, size)
        try:
            short = self._prepare(env)
        except BaseException:
            env.close()
            raise
        if short and not self.writable:
            env.close()
            return self._open_file(True, durable, map_size)
        self._tables.clear()
        self.synced = durable and self.writable
        self._keys = identity(self.path)
        self.main = env.open_db()
        self.env = env
        return env

    def _prepare(self, env: Environment) -> bool:
        """Free dead readers' slots, sweep up, and report whether the file is too short."""
        info, self._page = env.info(), env.stat()["psize"]
        self._first_txn = info["last_txnid"]
        used = (info["last_pgno"] + 1) * self._page
        short = os.stat(self.path).st_size < used
        if short and self._denied:
            raise UnopenableError(f"the file is cut off: it should have {used} bytes")
        if not self._denied:
            env.reader_check()
            folders.sweep(os.path.dirname(self.path))
        if short and self.writable:
            fill_up(env, self.path)
        return short

    def shut(self, sync: bool = True) -> None:
        """Close the environment. The next use opens it again."""
        with self.writing, self._lock:
            env, self.env = self.env, None
            if env is None:
                return
            self._closing = True
        self._close(env, sync)

    def _close(self, env: Environment, sync: bool = True) -> None:
        """Close what was taken out of ``self.env``, once no other thread writes in it."""
        try:
            self._detach_users()
            if sync and self.writable and env.info()["last_txnid"] != self._first_txn:
                env.sync(True)
        finally:
            env.close()
            self._closing = False

    def _detach_users(self) -> None:
        for user in list(self.users):
            user.detach()

    def leave(self) -> None:
        """Leave the environment as it is: closing it would wait for threads that may hang.

        The system releases what it holds, and no reader's slot is taken between two reads.
        """
        if self.env is not None:
            never_free(self.env)

    def begin_in_child(self) -> None:
        """Forget the parent's environment, which LMDB forbids to touch or to close here."""
        env, self.env = self.env, None
        self._lock = threading.Lock()
        self.writing = threading.RLock()
        self._closing = False
        self._opener = None
        for reference in self.pinned.values():
            level = reference()
            while level is not None:  # what the parent began, the parent commits
                level.txn, level = None, level.outer
        self.pinned.clear()
        self._detach_users()
        if env is not None:
            never_free(env)
            let_open_again(self._keys)

    # Tables

    def table(self, env: Environment, name: str, create: bool) -> _Database | None:
        """Return a table for use outside transactions.

        None if there is none and none is wanted, or if it must be found for each read
        (``read_once``): another process made it after this one had begun to write.
        """
        if name == MAIN:
            return self.main
        found = self._tables.get(name)
        if found is not None:
            return found
        if not self.writable:
            with self._lock:
                try:
                    found = env.open_db(TABLE + name.encode(), create=False)
                except lmdb.NotFoundError:
                    return None
                self._settle(env, {name: found})
            return found
        if not create:
            return None
        with self.writing, env.begin(write=True) as txn, self._lock:
            names = {each.decode() for each in tables_of(txn, self.main)} | {name}
            opened = {each: env.open_db(TABLE + each.encode(), txn=txn) for each in names}
            txn.commit()  # inside the lock: until then the tables' numbers are not settled
            self._settle(env, opened)
        return opened[name]

    def make_sure(self, txn: Transaction[Any]) -> None:
        """Raise NotFoundError if the store that is open here was removed by another process."""
        if txn.get(GONE, None, self.main) is not None:
            raise lmdb.NotFoundError("the store was removed")

    def read_once(
        self, env: Environment, name: str, read: Callable[[Any, _Database], T], missing: T
    ) -> T:
        """Return what ``read(txn, db)`` returns for a table that is not open in this process.

        LMDB numbers tables when they are opened and settles the number at the commit, so no
        other thread may open one in between. A pinned transaction that made one ends first.
        """
        while True:
            with self._lock:
                opener = self._opener() if self._opener is not None else None
                if opener is None or opener.txn is None:
                    with env.begin() as txn:
                        try:
                            db = env.open_db(TABLE + name.encode(), txn=txn, create=False)
                        except lmdb.NotFoundError:
                            return missing
                        return read(txn, db)
            time.sleep(0.001)

    def table_within(self, level: Level, name: str) -> _Database:
        """Return a table inside a transaction, made there if there is none."""
        if name == MAIN and self.main is not None:
            return self.main
        each: Level | None = level
        while each is not None:
            if name in each.tables:
                return each.tables[name]
            each = each.outer
        found = self._tables.get(name)
        if found is None:
            assert self.env is not None
            assert level.txn is not None
            with self._lock:
                self._opener = weakref.ref(level.outermost())
                found = self.env.open_db(TABLE + name.encode(), txn=level.txn)
                level.tables[name] = found
        return found

    def settle(self, env: Environment, tables: dict[str, _Database]) -> None:
        """Take over the tables that a finished transaction opened."""
        with self._lock:
            self._settle(env, tables)
            self._opener = None

    def _settle(self, env: Environment, tables: dict[str, _Database]) -> None:
        if self.env is env:  # tables of another environment would be of no use
            self._tables.update(tables)

    # Recovering

    def recover(self, exc: Error, env: Environment | None, resizes: int, room: int) -> bool:
        """Put right what made an operation fail, and report whether it may be tried again.

        Args:
            exc: what it raised, outside a pinned transaction.
            env: where it was tried.
            resizes: ``self.resizes`` before it was tried.
            room: how many bytes it wanted to write.
        """
        if isinstance(exc, lmdb.MapFullError):
            self.grow(env, resizes, room)
        elif isinstance(exc, lmdb.MapResizedError):
            self._replace_map(env, resizes, lambda _: 0)
        elif isinstance(exc, lmdb.ReadersFullError):
            if env is not None and not env.reader_check():
                time.sleep(0.001)
        elif isinstance(exc, (lmdb.BadDbiError, lmdb.NotFoundError, lmdb.PanicError)):
            self.shut()  # another process removed the store, or a write failed half-way
        elif type(exc) is Error or isinstance(exc, lmdb.InvalidParameterError):
            with self._lock:  # the map was being replaced, or the environment closed
                time.sleep(0)
        else:
            return False
        return True

    def grow(self, env: Environment | None, resizes: int, room: int) -> None:
        """Make the map at least twice as large, unless another thread has done so."""

        def larger(size: int) -> int:
            return rounded(max(2 * size, size + 2 * room))

        self._replace_map(env, resizes, larger)

    def _replace_map(
        self, env: Environment | None, resizes: int, new_size: Callable[[int], int]
    ) -> None:
        with self.writing, self._lock:
            if env is None or self.env is not env or self.resizes != resizes:
                return
            env.reader_check()
            try:
                env.set_mapsize(new_size(env.info()["map_size"]))
            except Error as exc:
                failure = exc
            else:
                self.resizes += 1
                return
        self.shut(sync=False)  # there is no map any more: the next use opens it as it was
        raise failure

    def check(self) -> None:
        """Free the slots of dead readers, and open anew if the file was removed."""
        env = self.env
        try:
            if env is not None and not self._denied:
                env.reader_check()
                if identity(self.path) != self._keys:
                    self.shut()
        except Error:
            return  # closed just now: the next use opens it

    def destroy(self, env: Environment, folder: str) -> bool:
        """Remove the store, so that whoever has it open, here or elsewhere, notices: True.

        The rows go first, with LMDB's lock held until the files are gone: others find a sign
        instead of them, and look for the file again.
        """
        if self.room() < self._page * 64 + (env.info()["last_pgno"] + 1) * self._page // 256:
            self.grow(env, self.resizes, 0)  # the commit below must not fail for want of room
        with self.writing, env.begin(write=True) as txn:
            assert self.main is not None
            txn.drop(self.main, delete=False)  # which all other tables are in
            txn.put(GONE, b"gone", db=self.main)
            folders.remove_folder(folder)
            txn.commit()
        self.shut(sync=False)
        return True

    def room(self) -> int:
        """Return how many bytes fit into the map before it must be replaced."""
        assert self.env is not None
        info = self.env.info()
        return int(info["map_size"] - (info["last_pgno"] + 1) * self._page)

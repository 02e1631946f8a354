"""The SQLite connections that a process has at one path: lent to a thread at a time."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from . import folders
from .connections import SharedStore, never_free

if TYPE_CHECKING:
    from .sqlite_transactions import Level

PRAGMAS = (
    "PRAGMA journal_size_limit = 67108864",  # a log that once grew is cut when it begins anew
    "PRAGMA cache_size = -16384",
    "PRAGMA trusted_schema = OFF",
)
WAL_BYTES = 64 << 20
"""A log longer than this is copied into the file even if readers must wait for it."""
SMALLEST_PAGE = 512
ATTEMPTS = 10
"""How often a store is made anew if others remove it meanwhile."""
READERS_WAIT = 2000
"""Milliseconds for that, after which it is tried again later."""


class UnopenableError(Exception):
    """The database cannot be opened; the message says why."""


class Session:
    """A connection as it is lent out. One that is lost, by Ctrl-C say, is closed at once.

    That takes a class of ours: a connection refers to itself, through the statements that it
    remembers, so that a lost one would keep its locks until some garbage collection.

    Args:
        connection: it, for nobody else to refer to.
        identity: device and number of the file it has open.
    """

    def __init__(self, connection: sqlite3.Connection, identity: tuple[int, int]) -> None:
        self.connection = connection
        self.identity = identity
        self.durable = False
        """Its commits survive power loss."""
        self._closer = weakref.finalize(self, connection.close)

    def close(self) -> None:
        """Close the connection, which takes back an unfinished transaction."""
        self._closer()

    def leave_open(self) -> None:
        """Never close the connection: it belongs to the parent of this process."""
        self._closer.detach()
        never_free(self.connection)


class SqlitePool(SharedStore):
    """Connections of this process to one database, for all engines there.

    A fork must find none of them open: SQLite keeps what it knows about locked files for the
    whole process, so that a child would rely on locks that the parent holds, and lose writes
    when the parent lets go of them. So they are closed before a fork and opened anew after it.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.idle: deque[Session] = deque()
        self.pinned: dict[int, weakref.ref[Level]] = {}
        """Each thread's innermost transaction; dead references are those it was killed out of."""
        self._retiring = False
        """Connections that come back are closed: nobody uses the pool any more, or it forks."""
        self._open: weakref.WeakSet[Session] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._locked_for_fork = False
        self._inherited = False
        self._identity: tuple[int, int] | None = None

    def lend(self, write: bool, durable: bool, timeout: float) -> Session | None:
        """Return a connection for this thread alone; None if there is no file and none is wanted.

        Args:
            write: make the file if there is none.
            durable: what is written must survive power loss.
            timeout: seconds that the connection waits for others, if it is opened now.

        Raises:
            UnopenableError: it cannot be opened.
            sqlite3.Error: SQLite refuses it.
        """
        while True:
            try:
                session = self.idle.pop()
            except IndexError:
                break
            if session.identity == self._identity:
                return _made_durable(session, durable)
            self.discard(session)
        with self._lock:
            if self._inherited:
                raise UnopenableError(
                    "this process was forked while a thread of its parent was in a transaction "
                    "there; fork outside transactions, or start processes by 'spawn'"
                )
            opened = self._connect(write, durable, timeout)
        return None if opened is None else _made_durable(opened, durable)

    def take_back(self, session: Session) -> None:
        """Keep a connection, which is in no transaction, for the next thread."""
        self.idle.append(session)
        if self._retiring:
            self._close_idle()

    def discard(self, session: Session) -> None:
        """Close a connection that may be of no more use."""
        session.close()
        self._open.discard(session)

    def moved(self) -> bool:
        """Report whether the file is not the one that was opened, and if so forget that one."""
        found = _identity(self.path)
        if found == self._identity:
            return False
        self._identity = found  # no lock: who waits for a fork must not keep it waiting
        self._close_idle()
        return True

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Shorten a log that grew because there was always a reader; notice a removed file."""
        self.moved()
        if wal_bytes(self.path) > WAL_BYTES:
            waiting = connection.execute("PRAGMA busy_timeout").fetchone()[0]
            connection.execute(f"PRAGMA busy_timeout = {READERS_WAIT}")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.execute(f"PRAGMA busy_timeout = {waiting}")

    def shut(self) -> None:
        """Close what no thread uses just now; what one uses is closed when it is given back."""
        self._retiring = True
        self._close_idle()

    def leave(self) -> None:
        """Close what no thread uses just now."""
        self._close_idle()

    def before_fork(self, deadline: float) -> None:
        """Close all connections, once the threads that use them are done; let none be opened."""
        left = max(0.0, deadline - time.monotonic())
        self._locked_for_fork = self._lock.acquire(timeout=left)
        self._retiring = True
        own = self.pinned.get(threading.get_ident())
        while True:
            self._close_idle()
            if not self._open or (own is not None and own() is not None):
                return  # this thread's own transaction ends only after the fork
            if time.monotonic() > deadline:
                return
            time.sleep(0.0005)

    def after_fork(self) -> None:
        """Let connections be opened again."""
        self._retiring = False
        if self._locked_for_fork:
            self._locked_for_fork = False
            self._lock.release()

    def begin_in_child(self) -> None:
        """Forget the parent's connections, which SQLite forbids to touch or to close here."""
        inherited = list(self._open)
        for session in inherited:
            session.leave_open()
        self._inherited = self._inherited or bool(inherited)
        self._open = weakref.WeakSet()
        self.idle.clear()
        for reference in self.pinned.values():
            level = reference()
            if level is not None:
                level.session = None  # what the parent began, the parent commits
        self.pinned.clear()
        self._lock = threading.Lock()
        self._locked_for_fork = self._retiring = False

    def _connect(self, write: bool, durable: bool, timeout: float) -> Session | None:
        """Open a connection, and make the file if it is wanted; the caller holds the lock."""
        for _ in range(ATTEMPTS):
            try:
                with folders.held(os.path.dirname(self.path)):
                    return self._connect_file(timeout)
            except FileNotFoundError:
                self._identity = None
                if not write:
                    return None
            folders.publish(self.path, _make_database, durable)
        raise UnopenableError("it is removed again and again")

    def _connect_file(self, timeout: float) -> Session:
        stat = os.stat(self.path)
        found = stat.st_dev, stat.st_ino
        if found != self._identity:
            folders.sweep(os.path.dirname(self.path))
            # With a log, SQLite finishes what a power loss interrupted; and fewer bytes than a
            # page it takes for a new database.
            size = stat.st_size
            if size < SMALLEST_PAGE or (size % SMALLEST_PAGE and not wal_bytes(self.path)):
                raise UnopenableError(f"the file is cut off or overwritten: it has {size} bytes")
            self._identity = found
        session = _open(self.path, timeout, found)
        self._open.add(session)
        return session

    def _close_idle(self) -> None:
        while True:
            try:
                session = self.idle.pop()
            except IndexError:
                return
            self.discard(session)


def wal_bytes(path: str) -> int:
    """Return the length of a database's log."""
    try:
        return os.stat(path + "-wal").st_size
    except OSError:
        return 0


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _open(path: str, timeout: float, identity: tuple[int, int]) -> Session:
    """Open an existing database, for reading alone if that is all that is allowed."""
    refusals: list[sqlite3.Error] = []
    modes = ["mode=rw"]
    if not (os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)):
        modes.append("mode=ro")
        if not wal_bytes(path):  # whose rows it would not see
            modes.append("immutable=1")
    for mode in modes:
        connection = sqlite3.connect(
            f"{Path(path).as_uri()}?{mode}",
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=128,
            uri=True,
        )
        session = Session(connection, identity)
        try:
            _set_up(connection)
        except sqlite3.OperationalError as exc:
            session.close()
            refusals.append(exc)
        except BaseException:
            session.close()
            raise
        else:
            return session
    raise refusals[0]


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    for pragma in PRAGMAS:
        connection.execute(pragma)
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        # A copy made by a tool, or a file system without shared memory: it works, but slowly.
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    else:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()


def _made_durable(session: Session, durable: bool) -> Session:
    if durable and not session.durable:
        session.connection.execute("PRAGMA synchronous = FULL")
        session.durable = True
    return session


def _make_database(path: str) -> None:
    """Make an empty database's file, in the mode in which readers and a writer do not wait."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, folders.PRIVATE_FILE))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute(f"PRAGMA application_id = {int.from_bytes(b'HSst', 'big')}")
    finally:
        connection.close()

"""What the engines named for other libraries share: one SQLite connection, and what came before.

Both libraries keep SQLite files. A process has one connection to each, used by one thread at a
time and by no forked child; whoever finds the file locked by another process waits and retries.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from random import random
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import quote

from hashstash.errors import ConfigurationError

from . import folders
from .base import Engine, Place
from .connections import SharedStore, acquire, never_free, release
from .files import make_folders

T = TypeVar("T")
S = TypeVar("S", bound="SharedFile")

PATIENCE = 120.0
"""Seconds to wait for another process to finish writing."""

_ATTEMPTS = 10
_SMALLEST = 512
"""The fewest bytes that a database has: its first page."""

LARGEST = 1_000_000_000 - 4096
"""SQLite keeps no larger values."""


class Turn:
    """One thread's use of a lock, which ends with it even if an interrupt hits ``with`` itself.

    Made before the ``with`` statement on the lock and ended after it: taking a lock by ``with``
    is one step, but between the end of the block and the release there is a gap.

    Args:
        lock: held by nobody in this thread.
    """

    _lock: Any = None

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock

    def __del__(self) -> None:
        if self._lock is not None:
            self.end()

    def end(self) -> None:
        """Release the lock if this thread still holds it."""
        lock = self._lock
        if lock is not None:
            if lock._is_owned():
                lock.release()
            self._lock = None


class SharedFile(SharedStore):
    """This process's connection to a SQLite file.

    Args:
        path: what engines share it by.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.lock = threading.RLock()
        self.database = path
        self.connection: sqlite3.Connection | None = None
        self.depth = 0
        self.owner = 0
        self._inode = 0
        self._held_for_fork = False

    @abstractmethod
    def connect(self) -> sqlite3.Connection:
        """Return a new connection to the file, which is there."""

    def open(self, *, create: bool) -> sqlite3.Connection | None:
        """Return the connection, or None if there is no file and it need not be made.

        The caller holds the lock.
        """
        try:
            inode = os.stat(self.database).st_ino
        except FileNotFoundError:
            inode = 0
        if self.connection is not None:
            if self._inode == inode or self.depth:
                return self._clean(self.connection)
            self.shut()  # somebody removed the file: what we would write there is lost
        if not inode and not create:
            return None
        self._inode = _make_file(self.database)
        folders.sweep(os.path.dirname(self.database))
        self.connection = self.connect()
        return self.connection

    def _clean(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Return the connection, in a transaction exactly if that is where we are."""
        if connection.in_transaction != bool(self.depth):
            if self.depth:  # a full disk for example makes SQLite end it
                raise sqlite3.OperationalError("SQLite has undone the transaction")
            self.take_back()  # an interrupt left it
        return connection

    def is_mine(self) -> bool:
        """Tell whether this thread is in a transaction, and so has the lock."""
        return self.depth > 0 and self.owner == threading.get_ident()

    def take_back(self) -> None:
        """Undo what was begun."""
        assert self.connection is not None
        self.connection.rollback()

    def shut(self) -> None:
        """Close the connection."""
        with self.lock:
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.close()

    def before_fork(self, patience: float) -> None:
        """Wait until no thread is inside SQLite, whose own locks would stay locked in the child."""
        self._held_for_fork = self.lock.acquire(timeout=patience)

    def after_fork(self) -> None:
        """Let the other threads go on."""
        if self._held_for_fork:
            self.lock.release()

    def begin_in_child(self) -> None:
        """Leave the parent's connection alone."""
        self.lock, self.depth = threading.RLock(), 0
        if self.connection is not None:
            never_free(self.connection)
            self.connection = None


def _make_file(path: str) -> int:
    """Make an empty private database unless there is one; return its inode."""
    for left in reversed(range(_ATTEMPTS)):
        try:
            found = os.lstat(path)
            break
        except FileNotFoundError:
            if not left:
                raise
            make_folders(os.path.dirname(path))
            folders.publish(path, _make_database)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is no file of ours")
    if found.st_size < _SMALLEST:  # which SQLite takes for a new database
        raise OSError(f"{path} is cut off or overwritten: it has {found.st_size} bytes")
    return found.st_ino


def _make_database(path: str) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, folders.PRIVATE_FILE))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
    finally:
        connection.close()


def open_to_write(path: str) -> sqlite3.Connection:
    """Return a connection to a file that is there; one that only reads if it may not be written."""
    if not os.access(path, os.W_OK):
        return open_to_read(path)
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema=OFF")  # what is planted in it calls nothing
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: str, timeout: float = 0) -> sqlite3.Connection:
    """Return a connection that only reads, also on a medium that nobody can write.

    Args:
        path: the file.
        timeout: seconds to wait for another process.
    """
    try:
        return _open_as("mode=ro", path, timeout)
    except sqlite3.OperationalError as exc:
        # A file in WAL mode needs an index beside it, unless it is promised that nobody writes.
        if "locked" in str(exc) or not _never_written(path):
            raise
        return _open_as("immutable=1", path, timeout)


def _never_written(path: str) -> bool:
    """Tell whether a file is on a read-only medium, and all of it is in the file itself."""
    log = f"{path}-wal"
    if os.path.exists(log) and os.path.getsize(log):
        return False
    return os.name == "posix" and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _open_as(how: str, path: str, timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(path)}?{how}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


class ForeignEngine(Engine, Generic[S]):
    """An engine over another library's SQLite files.

    Args:
        place: where the rows are kept.
        path: the file or folder that engines share a connection by.
        existing: a cache that the library itself wrote, to read it and write nothing.
        trust_existing: whether pickles in it may be loaded, which runs what they name.

    Raises:
        ConfigurationError: the last two make no sense.
    """

    store_class: ClassVar[type[Any]]
    """Opens the files."""
    errors: ClassVar[tuple[type[Exception], ...]] = (sqlite3.Error, OSError)
    """What says that a file cannot be read or written, or is locked."""
    max_row_bytes: ClassVar[int | None] = LARGEST

    def __init__(self, place: Place, path: str, existing: object, trust_existing: object) -> None:
        super().__init__(place)
        self.existing = _existing_path(existing, trust_existing)
        self._path = path
        self._store: S | None = None

    @property
    def location(self) -> str:
        """The library's file or folder."""
        return self.existing or self._path

    def close(self) -> None:
        """Release the connection, unless this is inside a transaction. The next use opens anew."""
        store = self._store
        if store is None or store.is_mine():
            return
        turn = Turn(store.lock)
        try:
            with store.lock:  # not under a transaction of another thread
                self._store = None
        finally:
            turn.end()
        release(store, self)

    def read(self, operation: str, work: Callable[..., T], *given: Any) -> T | None:
        """Return what ``work(store, *given)`` finds, or None if there is no file yet."""
        return self._run(operation, work, given, create=False)

    def write(self, operation: str, work: Callable[..., T], *given: Any) -> T:
        """Return what ``work(store, *given)`` does to the file, made if need be."""
        done = self._run(operation, work, given, create=True)
        assert done is not None
        return done

    def share(self) -> S:
        """Return the store that this process has open at the path."""
        if self.existing is not None:
            raise ConfigurationError(
                f"The engine of the existing cache {self.existing} is used through a stash"
            )
        if os.path.islink(self._path):
            raise self.failure("open", OSError(f"{self._path} is a link, which is not followed"))
        store: S = acquire(self.store_class, self._path, self)
        self._store = store
        return store

    def root_cause(self, exc: BaseException) -> BaseException:
        """Return the error that SQLite raised first."""
        return exc

    def wait(self, operation: str, exc: Exception, give_up: float) -> float:
        """Sleep a little, if ``exc`` says that another process has the file locked.

        Args:
            operation: what could not be done.
            exc: what the library raised.
            give_up: what this returned when it was asked first; 0 at the first time.

        Returns:
            When patience ends.

        Raises:
            EngineError: it says something else, or patience is at its end.
        """
        cause = self.root_cause(exc)
        give_up = give_up or time.monotonic() + PATIENCE
        if "locked" not in str(cause) or time.monotonic() > give_up:
            raise self.failure(operation, cause) from cause
        time.sleep(random() / 100)  # not in step with the others who wait
        return give_up

    def _run(
        self, operation: str, work: Callable[..., T], given: tuple[Any, ...], *, create: bool
    ) -> T | None:
        give_up = 0.0
        while True:
            store = self._store or self.share()
            try:
                if store.is_mine():
                    return _once(store, work, given, create=create)
                turn = Turn(store.lock)
                try:
                    with store.lock:
                        if store is not self._store:
                            continue  # another thread closed us
                        return _once(store, work, given, create=create)
                finally:
                    turn.end()
            except self.errors as exc:
                caught = exc
            give_up = self.wait(operation, caught, give_up)


def _once(
    store: SharedFile, work: Callable[..., T], given: tuple[Any, ...], *, create: bool
) -> T | None:
    connection = store.open(create=create)
    if connection is None:
        return None
    try:
        return work(store, *given)
    except BaseException:
        if connection.in_transaction and not store.depth:
            store.take_back()
        raise


def _existing_path(existing: object, trusted: object) -> str | None:
    """Return the absolute path that ``existing`` means, or None if it was not given."""
    if not isinstance(trusted, bool):
        raise ConfigurationError(f"trust_existing is True or False, not {trusted!r}")
    if existing is None:
        if trusted:
            raise ConfigurationError(
                "trust_existing=True is about the pickles of a cache that is given as existing="
            )
        return None
    if not isinstance(existing, (str, os.PathLike)):
        raise ConfigurationError(f"existing is a path, not {existing!r}")
    return os.path.abspath(os.path.expanduser(os.fspath(existing)))

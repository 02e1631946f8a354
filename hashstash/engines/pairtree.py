"""``pairtree``: a file for each row in a tree of folders; the standard library is enough.

``data.db/entries/7f/<key in hexadecimal>`` holds a row; the folder in the middle is the low
byte of the key's CRC-32. Beside the tables are ``.tmp``, where rows are written before they are
renamed into place, and ``.locks``.

Readers take no lock: a rename puts a whole row in place at once. Writers of a folder, and
whoever lists it, take turns at a lock file. So compare-and-set compares with the very row that
it replaces, and a listing has each name once, whatever the file system makes of a rename.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, TypeVar
from zlib import crc32

from hashstash.errors import EngineError

from .base import ETAG, Engine, Place
from .files import NotOursError, kind, read_whole, regular_size, size_of_files, unlink
from .locks import need_file_locks
from .temporary import TempFile
from .tree import LEAVES, Tree

T = TypeVar("T")

_READ = os.O_RDONLY
for _flag in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):  # the last: a planted pipe must not block
    _READ |= getattr(os, _flag, 0)
_ANY: Final = b"any"
"""Stands for whatever row is there; no ETag, as those have 16 bytes."""


class PairtreeEngine(Engine):
    """A file for each row, named for its key, in folders of this user alone.

    Any number of threads and processes of one machine may use a store at once. A row is there
    as soon as ``put`` returns, whatever becomes of the process; with ``durability="system"``
    the file and the folders that name it are flushed first. Nothing depends on the clock.
    """

    name: ClassVar[str] = "pairtree"
    title: ClassVar[str] = "Pairtree"
    durabilities: ClassVar[frozenset[str]] = frozenset({"process", "system"})

    def __init__(self, place: Place) -> None:
        need_file_locks("The 'pairtree' engine")
        super().__init__(place)
        self._durable = place.durability == "system"
        self._tree = Tree(place.folder, place.table, durable=self._durable)

    @property
    def location(self) -> str:
        """The path of the folder that holds all tables."""
        return self._tree.store

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        folder = self._tree.known[crc32(key) % LEAVES] or self._find("get", key)
        if folder is None:
            return None
        path = folder + key.hex()
        try:
            fd = os.open(path, _READ)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._failed("get", path, exc) from exc
        try:
            return read_whole(fd)
        except OSError as exc:
            raise self._failed("get", path, exc) from exc
        finally:
            os.close(fd)

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``."""
        folder = self._find("contains", key)
        if folder is None:
            return False
        path = folder + key.hex()
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                return True
            raise NotOursError(f"it is {kind(mode)}")
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise self._failed("contains", path, exc) from exc

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one atomically."""
        self._change("put", key, self._replace, row, _ANY)

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        if self._find("delete", key) is None:
            return False
        return self._change("delete", key, self._remove, _ANY)

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen."""
        operation = "compare_and_set"
        folder = self._find(operation, key)
        path = f"{folder}{key.hex()}"
        try:
            found = None if folder is None else _etag_at(path)
        except OSError as exc:
            raise self._failed(operation, path, exc) from exc
        if found != etag:
            return False
        if row is not None:
            return self._change(operation, key, self._replace, row, etag)
        return etag is None or self._change(operation, key, self._remove, etag)

    def keys(self) -> Iterator[bytes]:
        """Yield every key once; holds the names of one folder, a 256th of all, at a time."""
        tree = self._tree
        try:
            for leaf in tree.leaves():
                yield from tree.keys(leaf)
        except OSError as exc:
            raise self._failed("keys", tree.table, exc) from exc

    def size_bytes(self) -> int:
        """Return the sum of the sizes of the files."""
        tree = self._tree
        try:
            return sum(size_of_files(tree.path(leaf)) for leaf in tree.leaves())
        except OSError as exc:
            raise self._failed("size_bytes", tree.table, exc) from exc

    def clear(self) -> None:
        """Remove this table's rows and nothing else, all of them at once."""
        try:
            self._tree.clear()
        except OSError as exc:
            raise self._failed("clear", self._tree.table, exc) from exc

    def sweep(self) -> int:
        """Remove what dead writers left behind; return how many things were removed."""
        try:
            return self._tree.sweep()
        except OSError as exc:
            raise self._failed("sweep", self._tree.temps, exc) from exc

    def close(self) -> None:
        """Forget what is known of the folders. No file is open between two calls."""
        self._tree.forget()

    def destroy(self) -> None:
        """Remove the store itself, all its tables included, and close."""
        try:
            self._tree.destroy()
        except OSError as exc:
            raise self._failed("destroy", self._tree.store, exc) from exc
        self.close()

    def _find(self, operation: str, key: bytes) -> str | None:
        """Return the folder of ``key``, with a slash, or None if there is none yet."""
        leaf = crc32(key) % LEAVES
        try:
            return self._tree.known[leaf] or self._tree.find(leaf)
        except OSError as exc:
            raise self._failed(operation, self._tree.path(leaf), exc) from exc

    def _change(self, operation: str, key: bytes, act: Callable[..., T], *given: object) -> T:
        leaf = crc32(key) % LEAVES
        path = f"{self._tree.path(leaf)}/{key.hex()}"
        try:
            return self._tree.change(leaf, act, leaf, path, *given)
        except OSError as exc:
            raise self._failed(operation, path, exc) from exc

    def _replace(self, leaf: int, path: str, row: bytes, etag: bytes | None) -> bool:
        temp = TempFile(self._tree.temps)
        try:
            try:
                temp.write(row, durable=self._durable)
                done = self._tree.locked(leaf, _move, temp, path, etag)
            finally:
                temp.drop()
        finally:
            temp.drop()  # once more: an interrupt may have hit the first
        if done:
            self._tree.flush(leaf)
        return done

    def _remove(self, leaf: int, path: str, etag: bytes | None) -> bool:
        done = self._tree.locked(leaf, _unlink, path, etag)
        if done:
            self._tree.flush(leaf)
        return done

    def _failed(self, operation: str, path: str, exc: OSError) -> EngineError:
        reason = exc.strerror or str(exc)
        if exc.errno == errno.ELOOP:
            reason = "it is a symbolic link, which is not followed"
        elif exc.filename and exc.filename != path:
            reason += f": {exc.filename}"
        return EngineError(
            f"{self.name} {operation} failed at {path}: {reason}",
            engine=self.name,
            operation=operation,
            place=self.location,
        )


def _move(temp: TempFile, path: str, etag: bytes | None) -> bool:
    """Rename ``temp`` to ``path`` if the row there is the one with ``etag``; under the lock."""
    if etag is not _ANY and _etag_at(path) != etag:
        return False
    try:
        temp.move_to(path)
    except FileNotFoundError:
        if etag is _ANY or etag is None or os.path.lexists(path):
            raise  # the folder or the temporary file is gone: begin again
        return False  # the row was cleared away since we looked
    return True


def _unlink(path: str, etag: bytes | None) -> bool:
    """Remove ``path`` if the row there is the one with ``etag``; under the lock."""
    return (etag is _ANY or _etag_at(path) == etag) and unlink(path)


def _etag_at(path: str) -> bytes | None:
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    try:
        regular_size(fd)
        return os.pread(fd, ETAG.stop - ETAG.start, ETAG.start)
    finally:
        os.close(fd)

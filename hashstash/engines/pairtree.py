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
import re
import stat
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, TypeVar
from zlib import crc32

from hashstash.errors import EngineError
from .base import ETAG, Engine, Place
from .files import (
    NotOursError,
    flush_folder,
    flush_folders_above,
    is_folder,
    kind,
    make_folder,
    make_folders,
    remove_tree,
    unlink,
)
from .locks import need_file_locks, under_lock
from .temporary import TempFile, fresh_name, reap

T = TypeVar("T")

LEAVES = 256
"""Folders of a table. With more, a store of a thousand rows is slower to fill and to list."""
LOCKS = 64
ATTEMPTS = 1000
"""How often a write begins again because its folder was cleared under it."""

_READ = os.O_RDONLY
for _flag in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):  # the last: a planted pipe must not block
    _READ |= getattr(os, _flag, 0)
_NOT_FOR_US = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_PLAIN = re.compile(r"[a-z0-9_]+")
_LEAF = re.compile(r"[0-9a-f]{2}")
_REMAINS = ".data.db."
"""How the name of a destroyed store begins until all of it is gone."""
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
        table = place.table
        if not _PLAIN.fullmatch(table):  # the tree must mean the same where case is ignored
            table = "=" + table.encode().hex()
        self._store = f"{place.folder}/data.db"
        self._table = f"{self._store}/{table}"
        self._temps, self._locks = f"{self._store}/.tmp", f"{self._store}/.locks"
        self._system = place.durability == "system"
        self.close()

    @property
    def location(self) -> str:
        """The path of the folder that holds all tables."""
        return self._store

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        leaf = self._leaves[crc32(key) % LEAVES] or self._known_leaf("get", key)
        if leaf is None:
            return None
        path = leaf + key.hex()
        try:
            fd = os.open(path, _READ)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._failed("get", path, exc) from exc
        try:
            size = _size(fd)
            row = os.read(fd, size)
            return row if len(row) == size else _read_on(fd, row, size)
        except OSError as exc:
            raise self._failed("get", path, exc) from exc
        finally:
            os.close(fd)

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``."""
        leaf = self._known_leaf("contains", key)
        if leaf is None:
            return False
        path = leaf + key.hex()
        try:
            mode = os.lstat(path).st_mode
            if not stat.S_ISREG(mode):
                raise NotOursError(f"it is {kind(mode)}")
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise self._failed("contains", path, exc) from exc
        return True

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one atomically."""
        self._change("put", key, self._replace, row, _ANY)

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        if self._known_leaf("delete", key) is None:
            return False
        return self._change("delete", key, self._remove, _ANY)

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen."""
        leaf = self._known_leaf("compare_and_set", key)
        path = f"{leaf}{key.hex()}"
        try:
            found = None if leaf is None else _etag_at(path)
        except OSError as exc:
            raise self._failed("compare_and_set", path, exc) from exc
        if found != etag:
            return False
        if row is not None:
            return self._change("compare_and_set", key, self._replace, row, etag)
        return etag is None or self._change("compare_and_set", key, self._remove, etag)

    def keys(self) -> Iterator[bytes]:
        """Yield every key once; holds the names of one folder, a 256th of all, at a time."""
        for leaf in self._leaf_numbers():
            yield from self._keys_in(leaf)

    def count(self) -> int:
        """Return how many keys there are, reading none of the rows."""
        return sum(sum(1 for _ in self._keys_in(leaf)) for leaf in self._leaf_numbers())

    def size_bytes(self) -> int:
        """Return the sum of the sizes of the files."""
        total = 0
        for leaf in self._leaf_numbers():
            try:
                with os.scandir(self._leaf_path(leaf)) as entries:
                    for entry in entries:
                        total += _size_of(entry)
            except FileNotFoundError:
                continue  # cleared meanwhile
            except OSError as exc:
                raise self._failed("size_bytes", self._leaf_path(leaf), exc) from exc
        return total

    def clear(self) -> None:
        """Remove this table's rows and nothing else, all of them at once."""
        try:
            if self._is_open() and is_folder(self._table):
                make_folder(self._temps)
                self._discard(self._table, fresh_name(self._temps))
        except OSError as exc:
            raise self._failed("clear", self._table, exc) from exc

    def sweep(self) -> int:
        """Remove what dead writers left behind; return how many things were removed."""
        try:
            return self._sweep()
        except OSError as exc:
            raise self._failed("sweep", self._temps, exc) from exc

    def close(self) -> None:
        """Forget what is known of the folders. No file is open between two calls."""
        self._leaves: list[str | None] = [None] * LEAVES
        self._swept = self._made = False
        self._flushed: dict[int, int] = {}

    def destroy(self) -> None:
        """Remove the store itself, all its tables included, and close."""
        try:
            if is_folder(self._store):
                self._discard(self._store, fresh_name(self.place.folder, _REMAINS))
            if is_folder(self.place.folder):
                os.rmdir(self.place.folder)
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.ENOENT):  # it holds other things; gone
                raise self._failed("destroy", self._store, exc) from exc
        self.close()

    # Folders

    def _leaf_path(self, leaf: int) -> str:
        return f"{self._table}/{leaf:02x}"

    def _known_leaf(self, operation: str, key: bytes) -> str | None:
        """Return the folder of ``key``, with a slash, or None if there is none yet."""
        leaf = crc32(key) % LEAVES
        known = self._leaves[leaf]
        if known is None:
            try:
                known = self._find_leaf(leaf)
            except OSError as exc:
                raise self._failed(operation, self._leaf_path(leaf), exc) from exc
        return known

    def _find_leaf(self, leaf: int) -> str | None:
        path = self._leaf_path(leaf)
        if not (self._is_open() and is_folder(self._table) and is_folder(path)):
            return None
        known = self._leaves[leaf] = path + "/"
        return known

    def _make_leaf(self, leaf: int) -> str:
        if not self._made:
            make_folders(self.place.folder)
            for path in (self._store, self._temps, self._locks, self._table):
                make_folder(path)
            self._made = True
        path = self._leaf_path(leaf)
        make_folder(path)
        self._is_open()
        known = self._leaves[leaf] = path + "/"
        return known

    def _is_open(self) -> bool:
        """Report whether there is a store; the first time, clean up what the dead left."""
        if not self._swept:
            if not is_folder(self._store):
                return False
            self._swept = True
            try:
                self._sweep()
            except OSError as exc:
                if exc.errno not in _NOT_FOR_US:  # who may only read leaves it to those who write
                    raise
        return True

    def _leaf_numbers(self) -> list[int]:
        """Return the numbers of the folders that there are."""
        try:
            if not (self._is_open() and is_folder(self._table)):
                return []
            names = os.listdir(self._table)
        except FileNotFoundError:
            return []  # cleared this instant
        except OSError as exc:
            raise self._failed("keys", self._table, exc) from exc
        return sorted(int(name, 16) for name in names if _LEAF.fullmatch(name))

    def _keys_in(self, leaf: int) -> Iterator[bytes]:
        try:
            names = self._list(leaf)
        except OSError as exc:
            raise self._failed("keys", self._leaf_path(leaf), exc) from exc
        for name in names:
            try:
                key = bytes.fromhex(name)
            except ValueError:
                continue  # some program's own file, such as .DS_Store
            if crc32(key) % LEAVES == leaf and key.hex() == name:
                yield key

    def _list(self, leaf: int) -> list[str]:
        path = self._leaf_path(leaf)
        for _ in range(ATTEMPTS):
            if not (self._leaves[leaf] or self._find_leaf(leaf)):
                return []
            try:
                return under_lock(self._lock(leaf), os.listdir, path)
            except FileNotFoundError:  # cleared, or copied without its locks
                self._leaves[leaf] = None
                self._make_locks()
            except OSError as exc:
                if exc.errno not in _NOT_FOR_US:
                    raise
                return os.listdir(path)  # only to read: there is no lock to take
        raise NotOursError(f"it was gone {ATTEMPTS} times")

    def _make_locks(self) -> None:
        try:
            make_folder(self._locks)
        except FileNotFoundError:
            pass  # the whole store is gone

    # Changes

    def _lock(self, leaf: int) -> str:
        return f"{self._locks}/{leaf % LOCKS:02x}"

    def _change(self, operation: str, key: bytes, act: Callable[..., T], *given: object) -> T:
        """Return ``act(leaf, path, *given)``; try again where folders vanish under it."""
        leaf, name = crc32(key) % LEAVES, key.hex()
        path = f"{self._leaf_path(leaf)}/{name}"
        try:
            for _ in range(ATTEMPTS):
                try:
                    known = self._leaves[leaf] if self._made else None
                    path = (known or self._make_leaf(leaf)) + name
                    return act(leaf, path, *given)
                except FileNotFoundError:
                    self._leaves[leaf], self._made = None, False
            raise NotOursError(f"its folder was gone {ATTEMPTS} times")
        except OSError as exc:
            raise self._failed(operation, path, exc) from exc

    def _replace(self, leaf: int, path: str, row: bytes, etag: bytes | None) -> bool:
        temp = TempFile(self._temps)
        try:
            try:
                temp.write(row, durable=self._system)
                done = under_lock(self._lock(leaf), _move, temp, path, etag)
            finally:
                temp.drop()
        finally:
            temp.drop()  # once more: an interrupt may have hit the first
        if done and self._system:
            self._flush(leaf)
        return done

    def _remove(self, leaf: int, path: str, etag: bytes | None) -> bool:
        done = under_lock(self._lock(leaf), _unlink, path, etag)
        if done and self._system:
            self._flush(leaf)
        return done

    def _flush(self, leaf: int) -> None:
        """Flush the folder of a row and, where it is new to us, those that lead to it."""
        try:
            inode = flush_folder(self._leaf_path(leaf))
            if self._flushed.get(leaf) != inode:
                flush_folder(self._table)
                if not self._flushed:
                    flush_folders_above(self._table)
                self._flushed[leaf] = inode
        except FileNotFoundError:
            pass  # cleared since: there is no row to keep

    def _discard(self, path: str, remains: str) -> None:
        """Move a folder out of the way at once, then take it apart."""
        try:
            os.rename(path, remains)
        except FileNotFoundError:
            return  # another process did
        self.close()
        if self._system:
            flush_folder(os.path.dirname(path))
        remove_tree(remains)

    def _sweep(self) -> int:
        removed = 0
        is_folder(self._locks)  # neither of the two may be a link
        if is_folder(self._temps):
            removed += sum(reap(f"{self._temps}/{name}") for name in os.listdir(self._temps))
        if os.path.isdir(self.place.folder):
            for name in os.listdir(self.place.folder):
                if name.startswith(_REMAINS):
                    removed += reap(f"{self.place.folder}/{name}")
        return removed

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
        _size(fd)
        return os.pread(fd, ETAG.stop - ETAG.start, ETAG.start)
    finally:
        os.close(fd)


def _size(fd: int) -> int:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise NotOursError(f"it is {kind(status.st_mode)}")
    return status.st_size


def _size_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0  # removed meanwhile


def _read_on(fd: int, row: bytes, size: int) -> bytes:
    """Return the rest too: one call to the system reads no more than 2 GiB."""
    parts = [row]
    while size > 0 and parts[-1]:
        size -= len(parts[-1])
        parts.append(os.read(fd, size))
    return b"".join(parts)

"""The folders of a pairtree store: found, made, listed, flushed and cleaned.

What goes wrong here is an ``OSError``; the engine says which row it was about.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from typing import TypeVar
from zlib import crc32

from .files import (
    FOLDER,
    NotOursError,
    flush_folder,
    flush_folders_above,
    is_folder,
    make_folder,
    make_folders,
    remove_tree,
)
from .locks import HeldFile, under_lock
from .temporary import fresh_name, reap

T = TypeVar("T")

LEAVES = 256
"""Folders of a table. With more, a store of a thousand rows is slower to fill and to list."""
LOCKS = 64
ATTEMPTS = 1000
"""How often something begins again because folders were cleared under it."""

_REMAINS = ".data.db."
"""How the name of a destroyed store begins until all of it is gone."""
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_PLAIN = re.compile(r"[a-z0-9_]+")
_LEAF = re.compile(r"[0-9a-f]{2}")


class Tree:
    """One table of a store, ``<folder>/data.db/<table>``, and what it shares with the others.

    Nothing below ``folder`` is reached through a symbolic link: each folder is looked at
    before its first use. No file is open between two calls.

    Args:
        folder: the folder that belongs to the stash; it may not exist.
        table: the table's name.
        durable: flush folders when their names change.
    """

    def __init__(self, folder: str, table: str, *, durable: bool) -> None:
        if not _PLAIN.fullmatch(table):  # the tree must mean the same where case is ignored
            table = "=" + table.encode().hex()
        self.folder, self.store = folder, f"{folder}/data.db"
        self.table = f"{self.store}/{table}"
        self.temps, self._locks = f"{self.store}/.tmp", f"{self.store}/.locks"
        self._durable = durable
        self.forget()

    def forget(self) -> None:
        """Look at all folders anew from now on."""
        self.known: list[str | None] = [None] * LEAVES
        self._swept = self._made = False
        self._flushed: dict[int, int] = {}

    def path(self, leaf: int) -> str:
        """Return the path of a leaf, whether it exists or not."""
        return f"{self.table}/{leaf:02x}"

    def locked(self, leaf: int, act: Callable[..., T], *given: object) -> T:
        """Return ``act(*given)``, called while nobody else changes or lists this leaf."""
        return under_lock(f"{self._locks}/{leaf % LOCKS:02x}", act, *given)

    def find(self, leaf: int) -> str | None:
        """Return the path of a leaf with a slash, or None if there is none."""
        path = self.path(leaf)
        if not (self._is_open() and is_folder(self.table) and is_folder(path)):
            return None
        known = self.known[leaf] = path + "/"
        return known

    def change(self, leaf: int, act: Callable[..., T], *given: object) -> T:
        """Return ``act(*given)``, begun again while folders vanish under it."""
        for _ in range(ATTEMPTS):
            try:
                if not (self._made and self.known[leaf]):
                    self._make(leaf)
                return act(*given)
            except FileNotFoundError:
                self.known[leaf], self._made = None, False
        raise NotOursError(f"its folder was gone {ATTEMPTS} times")

    def leaves(self) -> list[int]:
        """Return the numbers of the leaves that there are."""
        try:
            names = os.listdir(self.table) if self._is_open() and is_folder(self.table) else []
        except FileNotFoundError:
            return []  # cleared this instant
        return sorted(int(name, 16) for name in names if _LEAF.fullmatch(name))

    def keys(self, leaf: int) -> Iterator[bytes]:
        """Yield the keys that are named in a leaf now; other programs' files are passed over."""
        for name in self._names(leaf):
            try:
                key = bytes.fromhex(name)
            except ValueError:
                continue
            if crc32(key) % LEAVES == leaf and key.hex() == name:
                yield key

    def flush(self, leaf: int) -> None:
        """Flush a leaf and, where it is new to us, the folders that lead to it, if ``durable``."""
        if not self._durable:
            return
        try:
            inode = flush_folder(self.path(leaf))
            if self._flushed.get(leaf) != inode:
                flush_folder(self.table)
                if not self._flushed:
                    flush_folders_above(self.table)
                self._flushed[leaf] = inode
        except FileNotFoundError:
            pass  # cleared since: there is no row to keep

    def clear(self) -> None:
        """Remove the table: out of sight at once, then piece by piece."""
        if self._is_open() and is_folder(self.table):
            make_folder(self.temps)
            self._discard(self.table, fresh_name(self.temps))

    def destroy(self) -> None:
        """Remove the store and, if nothing else is in it, the folder."""
        if is_folder(self.store):
            self._discard(self.store, fresh_name(self.folder, _REMAINS))
        try:
            os.rmdir(self.folder)
        except OSError:
            pass  # it holds other things, is a mount point, a link: only the store was ours

    def sweep(self) -> int:
        """Remove what dead writers left behind; return how many things were removed."""
        removed = 0
        is_folder(self._locks)  # neither of the two may be a link
        if is_folder(self.temps):
            removed += sum(reap(f"{self.temps}/{name}") for name in os.listdir(self.temps))
        if os.path.isdir(self.folder):
            for name in os.listdir(self.folder):
                if name.startswith(_REMAINS):
                    removed += reap(f"{self.folder}/{name}")
        return removed

    def _is_open(self) -> bool:
        """Report whether there is a store; the first time, clean up what the dead left."""
        if not self._swept:
            if not is_folder(self.store):
                return False
            self._swept = True
            try:
                self.sweep()
            except OSError as exc:
                if exc.errno not in _READ_ONLY:  # who may only read leaves it to those who write
                    raise
        return True

    def _make(self, leaf: int) -> None:
        if not self._made:
            make_folders(self.folder)
            for path in (self.store, self.temps, self._locks, self.table):
                make_folder(path)
            self._is_open()
            self._made = True
        path = self.path(leaf)
        make_folder(path)
        self.known[leaf] = path + "/"

    def _names(self, leaf: int) -> list[str]:
        path = self.path(leaf)
        for _ in range(ATTEMPTS):
            if not (self.known[leaf] or self.find(leaf)):
                return []
            try:
                # Under the lock: some file systems list a name that is renamed over not at all.
                return self.locked(leaf, os.listdir, path)
            except FileNotFoundError:  # cleared, or copied without its locks
                self.known[leaf] = None
                self._make_locks()
            except OSError as exc:
                if exc.errno not in _READ_ONLY:
                    raise
                return os.listdir(path)  # only to read: there is no lock to take
        raise NotOursError(f"it was gone {ATTEMPTS} times")

    def _make_locks(self) -> None:
        try:
            make_folder(self._locks)
        except FileNotFoundError:
            pass  # the whole store is gone

    def _discard(self, path: str, remains: str) -> None:
        """Move a folder out of sight in one step, then take it apart."""
        held = HeldFile()
        try:
            try:
                held.claim(path, FOLDER)  # so that nobody's sweep does our work again
                os.rename(path, remains)
                self.known, self._made = [None] * LEAVES, False
                if self._durable:
                    flush_folder(os.path.dirname(path))
                remove_tree(remains)
            finally:
                held.close()
        except FileNotFoundError:
            pass  # another process was faster
        finally:
            held.close()  # once more: an interrupt may have hit the first

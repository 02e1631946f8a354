"""Files on their way into a store, and what is left of them when their writer dies."""

from __future__ import annotations

import os
import stat

from .files import FOLDER, flush, remove_tree, unlink, write_whole
from .locks import HeldFile

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_REAP = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class TempFile:
    """A new file in ``folder``, locked while its writer lives, so that ``reap`` spares it."""

    __slots__ = ("_folder", "_held", "path")

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._held = HeldFile()
        self.path = ""

    def write(self, data: bytes, *, durable: bool) -> None:
        """Write all of ``data``; flush it if ``durable``."""
        while True:
            self.path = fresh_name(self._folder)
            if self._held.claim(self.path, _CREATE):
                break  # else a sweep came between making and locking it, and removes it
        write_whole(self._held.fd, data)
        if durable:
            flush(self._held.fd)

    def move_to(self, path: str) -> None:
        """Rename the file to ``path`` in one step, replacing what is there."""
        os.replace(self.path, path)
        self.path = ""

    def drop(self) -> None:
        """Close the file, and remove it unless it was moved. Safe to call twice."""
        self._held.close()
        if self.path:
            unlink(self.path)
            self.path = ""


def fresh_name(folder: str, start: str = "") -> str:
    """Return a path in ``folder`` that nobody else will choose; its name begins ``start``."""
    return f"{folder}/{start}{os.urandom(12).hex()}"


def reap(path: str) -> int:
    """Remove a temporary file whose writer is dead, or a folder put aside; return how many."""
    held = HeldFile()
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            if not held.claim(path, FOLDER):
                return 0
            remove_tree(path)
            return 1
        if stat.S_ISREG(mode) and not held.claim(path, _REAP):
            return 0
        return int(unlink(path))
    except FileNotFoundError:
        return 0  # its writer, or another sweep, was faster
    finally:
        held.close()

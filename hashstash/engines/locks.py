"""Locks on files: between threads and processes, released by the system when a holder dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

from hashstash.errors import ConfigurationError

if sys.platform != "win32":
    import fcntl

T = TypeVar("T")

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)

_HELD: set[int] = set()
"""Descriptors that a fork would hand to a child, which must not go on holding their locks."""


def need_file_locks(what: str) -> None:
    """Refuse to go on where the system has no ``flock``.

    Raises:
        ConfigurationError: ``what`` cannot work here.
    """
    if sys.platform == "win32":
        raise ConfigurationError(f"{what} needs a POSIX system; use engine='sqlite' on this one.")


class HeldFile:
    """An open file with an exclusive lock on it: no one else's in any thread or process.

    Each has a description of its own in the system, so threads exclude each other too.
    """

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = -1

    def wait_for(self, path: str) -> None:
        """Open the lock file at ``path``, making it if need be, and wait until it is ours."""
        while True:
            self.fd = os.open(path, _FLAGS, 0o600)
            _HELD.add(self.fd)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if os.fstat(self.fd).st_nlink:
                return
            self.close()  # removed while we waited: others lock its successor

    def claim(self, path: str, flags: int) -> bool:
        """Open ``path`` with ``flags``; report whether its lock was free, so that it is ours."""
        self.fd = os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
        _HELD.add(self.fd)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Release the lock and close the file. Safe to call twice."""
        fd = self.fd
        if fd < 0:
            return
        try:
            # A child forked this instant shares the description: closing ours alone would not do.
            fcntl.flock(fd, fcntl.LOCK_UN)
        finally:
            self.fd = -1
            _HELD.discard(fd)
            os.close(fd)


def under_lock(path: str, act: Callable[..., T], *arguments: object) -> T:
    """Return ``act(*arguments)``, called while the lock file at ``path`` is ours alone."""
    held = HeldFile()
    try:
        try:
            held.wait_for(path)
            return act(*arguments)
        finally:
            held.close()
    finally:
        held.close()  # once more: an interrupt may have hit the first


def _let_go_in_child() -> None:
    """Close what threads of the parent held at the fork: they do not run here."""
    while _HELD:
        os.close(_HELD.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)

"""Opening an LMDB environment: with which rights, how large a map, and again after a fork."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lmdb
from lmdb import Error

from . import folders

if TYPE_CHECKING:
    from lmdb import Environment

GIB = 1 << 30
MANY_TABLES = 128
MANY_READERS = 1024
WEAKER = "this thread is in a transaction there that need not survive power loss"
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_SMALLEST_MAP = 1 << 20


class UnopenableError(Exception):
    """The environment cannot be opened; the message says why."""


def open_as_allowed(
    path: str, write: bool, durable: bool, map_size: int
) -> tuple[Environment, bool, bool]:
    """Open an environment for writing where that is wanted and allowed, for reading otherwise.

    Returns:
        The environment, whether it can be written to, and whether writing was not allowed.
    """
    denied, lock = False, True
    while True:
        try:
            env = lmdb.open(
                path,
                map_size=map_size,
                subdir=False,
                create=False,
                readonly=not write,
                lock=lock,
                sync=durable,
                metasync=durable,
                mode=folders.PRIVATE_FILE,
                max_readers=MANY_READERS,
                max_dbs=MANY_TABLES,
            )
        except lmdb.MapResizedError:
            continue  # another process wrote between the opening and the first look
        except Error as exc:
            if exc.code == errno.ENOMEM and map_size > _SMALLEST_MAP:
                map_size //= 2  # fewer addresses than wanted, by far more than needed
            elif exc.code in _DENIED and write:
                write, denied = False, True
            elif exc.code in _DENIED and lock:
                denied, lock = True, False  # then nobody may write meanwhile
            elif exc.code == errno.ENOENT:
                raise FileNotFoundError(path) from exc
            else:
                raise UnopenableError(str(exc)) from exc
        else:
            return env, write, denied


def make_environment(path: str) -> None:
    """Make an empty environment's file."""
    mode, size = folders.PRIVATE_FILE, _SMALLEST_MAP
    lmdb.open(path, map_size=size, subdir=False, mode=mode, sync=False, metasync=False).close()


def fill_up(env: Environment, path: str) -> None:
    """Lengthen a file that is shorter than its header says, if nothing is lost.

    LMDB leaves it short if the last pages were allocated and freed in one transaction. But if
    it was cut off, the system kills (SIGBUS) who reads past its end, and LMDB ends the process
    when it walks into zeros. So every page is looked at: that takes long, and is rarely needed.

    Raises:
        UnopenableError: the file was cut off.
    """
    with env.begin(write=True):  # so that no other process writes meanwhile
        used = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        if os.stat(path).st_size < used:
            if damage := _damage(path):
                raise UnopenableError(f"the file is cut off, it should have {used} bytes: {damage}")
            os.truncate(path, used)


def _damage(path: str) -> str | None:
    """Return what is wrong with a file, if anything, without having LMDB read it."""
    if sys.maxsize < 1 << 32:  # such files cannot be looked at
        return None
    from lmdb.verify import VerifyError, verify

    try:
        found: list[str] = verify(path)  # type: ignore[no-untyped-call]
    except VerifyError as exc:
        return str(exc)
    return found[0] if found else None


def default_map_size() -> int:
    """Return how many addresses to reserve: many where they cost nothing."""
    if sys.maxsize < 1 << 32 or os.name == "nt":
        return 64 << 20
    import resource

    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return 64 << 20  # what we take is not there for the rest of the program
    return 64 * GIB


def rounded(size: int) -> int:
    """Return ``size`` as a whole number of pages, on every system."""
    return -(-size // 65536) * 65536


def identity(path: str) -> tuple[Any, ...]:
    """Return what py-lmdb knows an open environment's files by."""
    from lmdb import _envid

    keys: Callable[[str, bool], tuple[Any, ...]] = _envid.env_keys
    return keys(path, False)


_inherited: set[Any] = set()


def let_open_again(keys: tuple[Any, ...]) -> None:
    """Have py-lmdb open files in this child that are open in the parent.

    It refuses to open an environment twice in a process and, after a fork, takes the parent's
    for the child's, though it tells us to open a new one and to leave the old one alone.
    """
    from lmdb import _envid

    if not _inherited:
        all_keys: Callable[[str, bool], tuple[Any, ...]] = _envid.env_keys
        _envid.env_keys = lambda path, subdir: tuple(
            key for key in all_keys(path, subdir) if key not in _inherited
        )
    _inherited.update(keys)

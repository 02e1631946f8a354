"""Folders and files of stores kept in one file: private, made whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

if sys.platform != "win32":
    import fcntl

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
_UNFINISHED = ".new"
_GONE = ".gone"
_ATTEMPTS = 10
_PATIENCE = 5.0


def make_folder(folder: str, durable: bool = False) -> None:
    """Make a folder and those above it that are missing, for this user alone.

    Args:
        folder: an absolute path.
        durable: whether the new names must survive power loss.
    """
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for each in reversed(missing):
        try:
            os.mkdir(each, PRIVATE_FOLDER)
        except FileExistsError:
            if not os.path.isdir(each):  # a file where a folder should be
                raise
        if durable:
            sync_folder(os.path.dirname(each))


def sync_folder(folder: str) -> None:
    """Have the names in a folder survive power loss."""
    if os.name == "nt":  # folders cannot be opened there, and names are written through
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(path: str, build: Callable[[str], None], durable: bool = False) -> None:
    """Have a file appear at ``path`` at once and whole, unless there is one already.

    So a file of no bytes is never one that was being made: it is one that was damaged.

    Args:
        path: where it is to be.
        build: makes the file at the path it is given, and closes it.
        durable: whether it must survive power loss.
    """
    for left in reversed(range(_ATTEMPTS)):
        try:
            _publish(path, build, durable)
            break
        except FileNotFoundError:  # somebody removed the store, or swept up, meanwhile
            if not left:
                raise


def _publish(path: str, build: Callable[[str], None], durable: bool) -> None:
    folder, name = os.path.split(path)
    make_folder(folder, durable)
    start = f".{name}.{os.getpid()}-{secrets.token_hex(4)}"
    unfinished = os.path.join(folder, start + _UNFINISHED)
    try:
        with held(folder):
            build(unfinished)
            if durable:
                _sync_file(unfinished)
            _name_it(unfinished, path)
            if durable:
                sync_folder(folder)
    finally:
        for each in _entries(folder):
            if each.startswith(start):
                _unlink(os.path.join(folder, each))


def _name_it(unfinished: str, path: str) -> None:
    try:
        os.link(unfinished, path)
    except FileExistsError:
        pass  # another process was first; its file is as good
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        if not os.path.exists(path):
            os.rename(unfinished, path)


@contextmanager
def held(folder: str, exclusive: bool = False) -> Iterator[None]:
    """Keep a folder from being removed while the files in it are opened, or the reverse.

    A store has several files, opened one after the other by their names. If the folder were
    replaced in between, an old file would be used together with a new one.

    Args:
        folder: which folder; whoever opens files in it shares it.
        exclusive: whoever removes it waits for those, but not for ever: a process that was
            forked while its parent opened a file holds the folder as long as it lives.

    Raises:
        FileNotFoundError: the folder is not there, or not any more.
    """
    if sys.platform == "win32":  # a folder with open files cannot be removed there
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _lock(descriptor, exclusive) and time.monotonic() < deadline:
            time.sleep(0.001)
        if not os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            raise FileNotFoundError(f"{folder} was replaced just now")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, exclusive: bool) -> bool:
    """Try to lock a folder; report whether there is nothing to wait for."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without such locks
        return True
    return True


def remove_folder(folder: str) -> None:
    """Remove a folder with all in it, all names at once as far as others can see."""
    gone = f"{folder}.{os.getpid()}-{secrets.token_hex(4)}{_GONE}"
    try:
        with held(folder, exclusive=True):
            os.rename(folder, gone)
    except FileNotFoundError:
        return  # another process was faster
    except OSError:
        if os.name != "nt":  # where a folder with open files can be emptied at best
            raise
        gone = folder
    shutil.rmtree(gone, ignore_errors=True)


def sweep(folder: str) -> int:
    """Remove what processes left that died while making or removing a store; count it."""
    removed = 0
    for each in _entries(folder):
        name, _, rest = each.partition(_UNFINISHED)
        if rest in {"", "-lock", "-wal", "-shm", "-journal"} and _abandoned(name, each):
            removed += _unlink(os.path.join(folder, each))
    above, own = os.path.split(folder)
    for each in _entries(above):
        start = each.removesuffix(_GONE)
        if start.startswith(own + ".") and _abandoned(start, each):
            shutil.rmtree(os.path.join(above, each), ignore_errors=True)
            removed += 1
    return removed


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _unlink(path: str) -> bool:
    """Remove a file, unless another process is faster or this one may not."""
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def _abandoned(start: str, whole: str) -> bool:
    """Report whether ``<name>.<pid>-<random>`` names a process that is not there any more."""
    owner, dash, _ = start.rpartition(".")[2].partition("-")
    return start != whole and bool(dash) and owner.isdecimal() and not _alive(int(owner))


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return True
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _sync_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

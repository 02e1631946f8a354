"""Folders and files of engines: private, never through a link, flushed when asked."""

from __future__ import annotations

import errno
import os
import stat
import sys

if sys.platform == "darwin":
    import fcntl

PRIVATE_FOLDER = 0o700
ATTEMPTS = 100
"""How often a removal begins again because others still write."""

FOLDER = os.O_RDONLY  # how a folder is opened: never through a link
for _flag in ("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC"):
    FOLDER |= getattr(os, _flag, 0)


class NotOursError(OSError):
    """Something stands in the place of a file or folder of ours, such as a symbolic link."""


def is_folder(path: str) -> bool:
    """Report whether there is a folder at ``path``.

    Raises:
        NotOursError: something else is there; links are not followed.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(mode):
        raise NotOursError(f"{path} is {kind(mode)} and not a folder; it is not followed")
    return True


def make_folder(path: str) -> None:
    """Make a private folder unless it is there; its parent must be.

    Raises:
        NotOursError: something else is there.
    """
    try:
        os.mkdir(path, PRIVATE_FOLDER)
    except FileExistsError:
        is_folder(path)


def make_folders(path: str) -> None:
    """Make a folder and the missing ones above it, all private; links are followed.

    Raises:
        FileNotFoundError: others removed a folder at the same time.
    """
    try:
        os.mkdir(path, PRIVATE_FOLDER)
    except FileExistsError:
        if os.path.isdir(path):
            return
        if os.path.lexists(path):
            raise
        raise FileNotFoundError(errno.ENOENT, "removed as it was made", path) from None
    except FileNotFoundError:
        above = os.path.dirname(path)
        if above == path:
            raise
        make_folders(above)
        make_folders(path)


def kind(mode: int) -> str:
    """Return what a file of this mode is, as a person says it: ``a symbolic link``."""
    names = [
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISREG, "a file"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ]
    return next((name for test, name in names if test(mode)), "a device")


def regular_size(fd: int) -> int:
    """Return the size of an open file.

    Raises:
        NotOursError: it is a pipe, a folder or the like.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise NotOursError(f"it is {kind(status.st_mode)}")
    return status.st_size


def read_whole(fd: int) -> bytes:
    """Return all of an open file, copied once.

    Raises:
        NotOursError: it is a pipe, a folder or the like.
    """
    size = regular_size(fd)
    data = os.read(fd, size)
    if len(data) == size:
        return data
    parts = [data]  # one call to the system reads no more than 2 GiB
    while parts[-1]:
        size -= len(parts[-1])
        parts.append(os.read(fd, size))
    return b"".join(parts)


def write_whole(fd: int, data: bytes) -> None:
    """Write all of ``data``, however many calls it takes."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def flush(fd: int) -> None:
    """Have the system write a file or folder to where it survives power loss."""
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync stops at the drive's cache there
    else:
        os.fsync(fd)


def flush_folder(path: str) -> int:
    """Flush the names in a folder; return the folder's inode."""
    fd = os.open(path, FOLDER)
    try:
        flush(fd)
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


def flush_folders_above(path: str) -> None:
    """Flush the names in every folder above ``path`` that we may read."""
    path = os.path.realpath(path)
    while (above := os.path.dirname(path)) != path:
        try:
            flush_folder(above)
        except PermissionError:
            return  # not ours, so we did not make what is in it either
        path = above


def size_of_files(path: str) -> int:
    """Return the sum of the sizes of the files right in a folder; 0 if it is not there."""
    total = 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue  # removed meanwhile
    except FileNotFoundError:
        return 0
    return total


def remove_tree(path: str) -> None:
    """Remove a folder and all in it; others may be doing the same. Links are not followed."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            for name in os.listdir(path):
                _remove(f"{path}/{name}")
            os.rmdir(path)
        except FileNotFoundError:
            return  # another process got there first
        except OSError as exc:
            # A writer that was under way as the folder was moved here may add to it once more.
            if exc.errno != errno.ENOTEMPTY or attempt == ATTEMPTS:
                raise
        else:
            return


def _remove(path: str) -> None:
    try:
        unlink(path)
    except (IsADirectoryError, PermissionError) as exc:  # macOS says the second of a folder
        if os.path.islink(path):
            raise
        try:
            remove_tree(path)  # which is content if others have removed it meanwhile
        except NotADirectoryError:
            raise exc from None


def unlink(path: str) -> bool:
    """Remove a file; report whether it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True

"""``shm``: rows in memory that all processes of this user share, until the machine restarts."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import ClassVar
from urllib.parse import quote

from hashstash.errors import ConfigurationError

from . import folders
from .base import Place
from .lmdb import LmdbEngine

MEMORY = "/dev/shm"  # noqa: S108 - the folder within it is checked to be ours alone
LONGEST_NAME = 200


class ShmEngine(LmdbEngine):
    """An LMDB environment on a file system in memory, one for each name.

    All processes of the user that use the same ``root_dir`` and ``dbname`` share its rows,
    whatever their working folder. The rows take memory until they are removed or the machine
    restarts; no process needs to live for that.

    Args:
        place: where the rows are kept: its name alone counts.
        map_size: how many bytes of addresses to reserve at first; not a limit.
    """

    name: ClassVar[str] = "shm"
    title: ClassVar[str] = "SharedMemory"
    persistent: ClassVar[bool] = False
    durabilities: ClassVar[frozenset[str]] = frozenset({"process"})

    def __init__(self, place: Place, *, map_size: int | None = None) -> None:
        if not os.path.isdir(MEMORY):
            raise ConfigurationError(
                f"The shm engine needs a file system in memory at {MEMORY}, which this system "
                "does not have; choose 'memory' for one process or 'lmdb' for several."
            )
        self._folder = os.path.join(own_folder(MEMORY), file_name(place.name))
        super().__init__(place, map_size=map_size)

    @property
    def folder(self) -> str:
        """The folder in memory that belongs to this name."""
        return self._folder

    def preparation(self) -> Callable[[], None]:
        """Return what makes sure that the folder around all stores is this user's own."""
        return partial(guard, os.path.dirname(self._folder))


def own_folder(memory: str) -> str:
    """Return the folder of this user's stores in memory; there may be none yet."""
    return os.path.join(memory, f"hashstash-{os.geteuid()}")


def guard(folder: str) -> None:
    """Make a folder that is this user's alone, or make sure that it is.

    Everybody may make names in the folder above, so what is there may be somebody else's, or
    lead elsewhere.

    Raises:
        PermissionError: it is not this user's own.
    """
    try:
        os.mkdir(folder, folders.PRIVATE_FOLDER)
    except FileExistsError:
        pass
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{folder} is not a folder: somebody else put it there")
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user (uid {found.st_uid})")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(
            f"{folder} is open to other users: remove it, or make it private with chmod 700"
        )


def file_name(name: str) -> str:
    """Return a file name for any stash's name; no two share one.

    >>> file_name("root/main")
    'root%2Fmain'
    >>> file_name("..")
    '%2E%2E'
    """
    plain = quote(name, safe="", errors="surrogatepass").replace(".", "%2E")
    if 0 < len(plain) <= LONGEST_NAME:
        return plain
    digest = hashlib.blake2b(plain.encode(), digest_size=16).hexdigest()
    return f"{plain[: LONGEST_NAME - 40]}={digest}"  # no quoted name has a "=" in it

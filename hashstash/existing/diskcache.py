"""Existing folders of ``diskcache.Cache``."""

from __future__ import annotations

import os
import stat
import time
import zlib
from collections.abc import Iterator

from hashstash.encoders.bounded import decompress
from hashstash.errors import ConfigurationError, CorruptRowError, SizeLimitError

from .database import Database
from .view import ExistingView, Handle, Source, from_json, unpickled

FORMATS = ("disk", "json")
"""What wrote it: ``diskcache.Disk``, the library's default, or ``diskcache.JSONDisk``."""

_RAW, _BINARY, _TEXT, _PICKLE = 1, 2, 3, 4
"""The library's numbers for how a value is kept."""

_LIVE = "(expire_time IS NULL OR expire_time > ?)"
_PAGE = 1000
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# A pipe in the place of a value must not keep us waiting.


class DiskcacheView(ExistingView):
    """A ``diskcache.Cache`` as an engine that only reads."""

    name = "diskcache"
    title = "Diskcache"


class DiskcacheSource(Source):
    """The entries of a ``diskcache.Cache`` that have not expired.

    Args:
        path: the cache's folder.
        written_as: one of ``FORMATS``.
        trusted: whether pickles in it may be loaded.
        max_bytes: the largest value to read.
    """

    def __init__(self, path: str, *, written_as: str, trusted: bool, max_bytes: int) -> None:
        self.path = path
        self._json, self._trusted, self._max_bytes = written_as == "json", trusted, max_bytes
        self._database = Database(os.path.join(path, "cache.db"), "diskcache")
        self._checked = False

    def handles(self) -> Iterator[Handle]:
        """Yield key and raw flag of every entry, in the library's own order."""
        self._check_path()
        where, after = "key IS NOT NULL", ()
        while True:
            page = self._database.rows(
                f"SELECT key, raw FROM Cache WHERE {_LIVE} AND {where} "
                f"ORDER BY key, raw LIMIT {_PAGE}",
                (time.time(), *after),
            )
            yield from page
            if len(page) < _PAGE:
                return
            where, after = "(key, raw) > (?, ?)", page[-1]

    def stores_plainly(self, key: object) -> bool:
        """Tell whether the library keeps such a key as it is."""
        if self._json:
            return False
        if type(key) is int:
            return -(1 << 63) <= key < 1 << 63
        return type(key) in {str, bytes, float}

    def handle_of(self, key: object) -> Handle | None:
        """Return the handle of the entry under ``key``, if it is there."""
        self._check_path()
        try:
            found = self._database.rows(
                f"SELECT key, raw FROM Cache WHERE key = ? AND raw = 1 AND {_LIVE}",
                (key, time.time()),
            )
        except UnicodeEncodeError:  # a lone surrogate, which SQLite does not take
            return None
        return found[0] if found else None

    def key(self, handle: Handle) -> object:
        """Return the key of an entry."""
        cell, raw = handle
        if not raw:
            return unpickled(_bytes(cell), "A key", self.path, trusted=self._trusted)
        return self._from_json(cell, "A key") if self._json else cell

    def value(self, handle: Handle) -> object:
        """Return the value of an entry, from the database or from its file."""
        found = self._database.rows(
            f"SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = ? AND {_LIVE}",
            (*handle, time.time()),
        )
        if not found:
            raise KeyError(handle)
        mode, filename, cell = found[0]
        what = f"The value of {handle[0]!r:.80}"
        if filename is not None:
            cell = self._file(filename, what)
        if mode == _PICKLE:
            return unpickled(_bytes(cell), what, self.path, trusted=self._trusted)
        if mode == _TEXT:
            return _text(_bytes(cell), what)
        if mode not in {_RAW, _BINARY}:
            raise CorruptRowError(f"{what} is kept in an unknown way: {mode!r}", stage="existing")
        return self._from_json(cell, what) if self._json else cell

    def count(self) -> int:
        """Return how many entries there are."""
        self._check_path()
        ((count,),) = self._database.rows(
            f"SELECT COUNT(*) FROM Cache WHERE {_LIVE} AND key IS NOT NULL",
            (time.time(),),
        )
        return int(count)

    def state(self) -> int:
        """Return a number that changes when another connection changes the entries."""
        return self._database.state()

    def size_bytes(self) -> int:
        """Return about how many bytes the entries take, files included."""
        self._check_path()
        ((size,),) = self._database.rows(
            "SELECT TOTAL(size + COALESCE(LENGTH(value), 0) + LENGTH(key)) FROM Cache"
        )
        return int(size)

    def close(self) -> None:
        """Release the database."""
        self._database.close()

    def _check_path(self) -> None:
        if self._checked or os.path.isfile(self._database.path):
            self._checked = True
            return
        shards = os.path.join(self.path, "000", "cache.db")
        hint = (
            " It is a FanoutCache: open each of its folders 000, 001, ... as one cache."
            if os.path.isfile(shards)
            else ""
        )
        raise ConfigurationError(
            f"existing: there is no cache of diskcache in {self.path} (no cache.db).{hint}"
        )

    def _from_json(self, cell: object, what: str) -> object:
        data = decompress("zlib", zlib.decompressobj(), _bytes(cell), self._max_bytes, zlib.error)
        return from_json(data, what, self.path)

    def _file(self, filename: object, what: str) -> bytes:
        """Return what a file of the cache holds, and nothing that lies elsewhere.

        Raises:
            KeyError: it is gone, as it is when the entry is replaced meanwhile.
        """
        top = os.path.realpath(self.path)
        name = str(filename)
        path = "" if "\0" in name else os.path.realpath(os.path.join(top, name))
        if not path.startswith(os.path.join(top, "")):
            raise CorruptRowError(
                f"{what} is said to be in {name!r}, which is not in the cache", stage="existing"
            )
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError as exc:
            raise KeyError(name) from exc
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise CorruptRowError(f"{what} is said to be in {path}, no file", stage="existing")
            if found.st_size > self._max_bytes:
                raise SizeLimitError(
                    f"{what} has {found.st_size} bytes; raise max_value_bytes to read it",
                    stage="existing",
                )
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(found.st_size)
        finally:
            os.close(descriptor)


def _bytes(cell: object) -> bytes:
    if not isinstance(cell, bytes):
        raise CorruptRowError(f"Bytes were expected, not {cell!r:.80}", stage="existing")
    return cell


def _text(data: bytes, what: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise CorruptRowError(f"{what} is not UTF-8: {exc}", stage="existing") from exc
    # The library writes texts in the system's own way of ending lines.
    return text.replace("\r\n", "\n") if os.name == "nt" else text

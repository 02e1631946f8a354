"""What another library stored, seen as stored rows that are made while reading."""

from __future__ import annotations

import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from hashstash.codec import PLAIN
from hashstash.engines.base import Encode, Engine, Place
from hashstash.errors import (
    ConfigurationError,
    CorruptRowError,
    EngineError,
    UnstableKeyError,
    UntrustedRowError,
)
from hashstash.keys import decode_canonical, stored_key

if TYPE_CHECKING:
    from typing_extensions import Self

Handle = tuple[Any, ...]
"""What finds an entry in the other library's table: cells of its key."""

Index = tuple[dict[bytes, Handle], "UntrustedRowError | None"]

_PLAIN = bytes((PLAIN,))


class Source(ABC):
    """Another library's entries, as objects. Reads only, and runs no pickle without trust."""

    @abstractmethod
    def handles(self) -> Iterator[Handle]:
        """Yield the handle of every entry once, with bounded memory."""

    @abstractmethod
    def stores_plainly(self, key: object) -> bool:
        """Tell whether the library keeps such a key as it is, so that ``handle_of`` finds it."""

    @abstractmethod
    def handle_of(self, key: object) -> Handle | None:
        """Return the handle of the entry under a key that is stored plainly, if it is there."""

    @abstractmethod
    def key(self, handle: Handle) -> object:
        """Return the key of an entry.

        Raises:
            UntrustedRowError: it is a pickle.
        """

    @abstractmethod
    def value(self, handle: Handle) -> object:
        """Return the value of an entry.

        Raises:
            KeyError: the entry is gone.
            UntrustedRowError: it is a pickle.
        """

    @abstractmethod
    def count(self) -> int:
        """Return how many entries there are."""

    @abstractmethod
    def state(self) -> int:
        """Return a number that changes when another connection changes the entries."""

    @abstractmethod
    def size_bytes(self) -> int:
        """Return about how many bytes the entries take."""

    @abstractmethod
    def close(self) -> None:
        """Release files. The next use opens them again."""


class ExistingView(Engine):
    """An engine that reads another library's cache and refuses to write.

    Each entry becomes a stored row when it is read: sealed by the stash's own codec, and so
    signed where its value is an instance of a class. Its time is the time of reading.

    Args:
        place: the place of the stash.
        path: where the entries are.
        source: the entries, or None for a sibling table, which an existing cache has not.
        encode: makes rows.
    """

    borrowed: ClassVar[frozenset[str]] = frozenset(
        {"existing", "existing_table", "existing_format", "trust_existing"}
    )

    def __init__(self, place: Place, path: str, source: Source | None, encode: Encode) -> None:
        super().__init__(place)
        self._path, self._source, self._encode = path, source, encode
        self._index: tuple[int, Index] | None = None
        self._last: tuple[int, bytes, bytes] | None = None

    @property
    def location(self) -> str:
        """The other library's file or folder."""
        return self._path

    def get(self, key: bytes) -> bytes | None:
        """Return the row made of the entry under ``key``, or None if there is none."""
        handle = self._find(key)
        if handle is None or self._source is None:
            return None
        return self._row(self._source, key, handle)

    def contains(self, key: bytes) -> bool:
        """Report whether there is an entry, without reading its value."""
        return self._find(key) is not None

    def keys(self) -> Iterator[bytes]:
        """Yield the stored key of every entry."""
        if self._source is not None:
            for handle in self._source.handles():
                yield stored_key(self._source.key(handle))[0]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield stored key and row of every entry."""
        source = self._source
        if source is not None:
            for handle in source.handles():
                key = stored_key(source.key(handle))[0]
                row = self._row(source, key, handle)
                if row is not None:
                    yield key, row

    def count(self) -> int:
        """Return how many entries there are."""
        return 0 if self._source is None else self._source.count()

    def size_bytes(self) -> int:
        """Return about how many bytes the entries take."""
        return 0 if self._source is None else self._source.size_bytes()

    def put(self, key: bytes, row: bytes) -> None:
        """Refuse."""
        self._refuse("put")

    def delete(self, key: bytes) -> bool:
        """Refuse, unless there is nothing to remove."""
        return False if self._source is None else self._refuse("delete")

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Refuse."""
        self._refuse("compare_and_set")

    def clear(self) -> None:
        """Refuse, unless there is nothing to remove."""
        if self._source is not None:
            self._refuse("clear")

    def destroy(self) -> None:
        """Refuse: what another library made is not ours to remove."""
        self._refuse("destroy")

    def sibling(self, table: str) -> Self:
        """Return an empty table: an existing cache has entries only."""
        if table == self.place.table:
            return self
        return type(self)(replace(self.place, table=table), self._path, None, self._encode)

    def close(self) -> None:
        """Release the files."""
        if self._source is not None:
            self._source.close()

    def _refuse(self, operation: str) -> NoReturn:
        raise EngineError(
            f"{self.location} was opened with existing=..., which only reads. To change what is in "
            "it, copy it into a stash first: HashStash('name').update(this_stash)",
            engine=self.name,
            operation=operation,
            place=self.location,
        )

    def _row(self, source: Source, key: bytes, handle: Handle) -> bytes | None:
        """Return the row of an entry, with the same ETag when it is read twice in a row."""
        state = source.state()
        if self._last is not None and self._last[:2] == (state, key):
            return self._last[2]
        try:
            value = source.value(handle)
        except KeyError:
            return None
        key_object = source.key(handle)
        row = self._encode(value, key, stored_key(key_object)[1], key_object)
        self._last = state, key, row
        return row

    def _find(self, key: bytes) -> Handle | None:
        """Return the handle of the entry whose stored key is ``key``."""
        source = self._source
        if source is None:
            return None
        if key[:1] == _PLAIN:
            wanted = decode_canonical(key[1:])
            if source.stores_plainly(wanted):
                handle = source.handle_of(wanted)
                # To SQLite 1 is 1.0; to us they are two keys.
                found = handle is not None and stored_key(source.key(handle))[0] == key
                return handle if found else None
        handles, untrusted = self._indexed(source)
        if key not in handles and untrusted is not None:
            # The key may be one of those that are not loaded.
            raise UntrustedRowError(str(untrusted), stage=untrusted.stage)
        return handles.get(key)

    def _indexed(self, source: Source) -> Index:
        """Return the entries that can only be found by looking at all of them.

        Returns:
            Their handles by stored key, and why others were passed over, if any were.
        """
        state = source.state()
        if self._index is None or self._index[0] != state:
            self._index = state, _index_of(source)
        return self._index[1]


def _index_of(source: Source) -> Index:
    handles: dict[bytes, Handle] = {}
    untrusted: UntrustedRowError | None = None
    for handle in source.handles():
        try:
            key = source.key(handle)
            stored = stored_key(key)[0]
        except UntrustedRowError as exc:
            untrusted = exc
        except UnstableKeyError:
            pass  # nobody can ask for it: looking it up raises this too
        else:
            if stored[:1] != _PLAIN or not source.stores_plainly(key):
                handles[stored] = handle
    return handles, untrusted


def unpickled(data: bytes, what: str, path: str, *, trusted: bool) -> object:
    """Return what a pickle holds, if whoever opened the cache said that they trust it.

    Args:
        data: the pickle.
        what: ``"a key"`` or the like, for messages.
        path: the cache.
        trusted: whether ``trust_existing=True`` was given.

    Raises:
        UntrustedRowError: it was not.
        CorruptRowError: the pickle cannot be loaded.
    """
    if not trusted:
        raise UntrustedRowError(
            f"{what} in {path} is a pickle, and loading it runs whatever code it names. If you "
            "trust everybody who could write there, open it with trust_existing=True.",
            stage="existing",
        )
    try:
        return pickle.loads(data)  # noqa: S301 - the caller vouched for it
    except Exception as exc:  # a pickle may raise anything at all
        raise CorruptRowError(
            f"{what} in {path} is a pickle that cannot be loaded: {type(exc).__name__}: {exc}",
            stage="existing",
        ) from exc


def from_json(text: str | bytes, what: str, path: str) -> object:
    """Return what a JSON text says.

    Raises:
        CorruptRowError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise CorruptRowError(f"{what} in {path} is not JSON: {exc}", stage="existing") from exc


def check_options(formats: tuple[str, ...], given: str, *, trusted: bool, safe: bool) -> None:
    """Refuse options of an existing cache that cannot be meant.

    Args:
        formats: what ``existing_format`` may be.
        given: what it is.
        trusted: whether pickles may be loaded.
        safe: whether the stash takes data only.

    Raises:
        ConfigurationError: the format is unknown, or the stash is safe and runs nothing.
    """
    if given not in formats:
        raise ConfigurationError(
            f"existing_format is one of {', '.join(map(repr, formats))}, not {given!r}"
        )
    if trusted and safe:
        raise ConfigurationError(
            "trust_existing=True runs the pickles of an existing cache, and safe=True refuses "
            "to run anything: choose one."
        )

"""The dict interface of a stash, over an engine and a codec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from .codec import Codec, key_needs_row
from .engines.base import ETAG, PAGE, Engine, pages
from .keys import stored_key
from .rows import time_of
from .versions import VersionedEngine, keeps_versions
from .views import StashItemsView, StashKeysView, StashValuesView

if TYPE_CHECKING:
    from typing_extensions import Self

D = TypeVar("D")
_MISSING: Any = object()


class EncodedValue(bytes):
    """A stored row that remembers the stored key it is readable under."""

    stored_key: bytes

    def __new__(cls, row: bytes, stored: bytes) -> Self:
        """Return ``row`` with the stored key it belongs to."""
        made = super().__new__(cls, row)
        made.stored_key = stored
        return made


class StashMapping(MutableMapping[Any, Any]):
    """A dict over stored rows.

    Iterating while writing is allowed on every engine: an item that is there throughout comes
    exactly once, one that is written or deleted meanwhile may or may not come.

    Args:
        engine: where the rows are kept.
        codec: turns values into rows and back.
        append_mode: whether every version is kept.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, engine: Engine, codec: Codec, *, append_mode: bool) -> None:
        self._engine = engine
        self._codec = codec
        self._versions = VersionedEngine(engine) if append_mode else None
        self._writer: Engine | None = self._versions
        self._stored_key: Callable[[Any], tuple[bytes, bytes | None]] = stored_key
        self._get, self._encode, self._decode = engine.get, codec.encode, codec.decode

    # -- one item ---------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        stored, canonical = self._stored_key(key)
        row = self._get(stored)
        if row is None:
            raise KeyError(key)
        return self._decode(row, stored, canonical)

    def get(self, key: Any, default: Any = None, *, version: int | None = None) -> Any:
        """Return the value under ``key``, or ``default`` if there is none.

        Args:
            key: any object with a stable form.
            default: what to return where there is nothing.
            version: the number of an earlier version, in append mode; counted from 1.
        """
        stored, canonical = self._stored_key(key)
        row = self._get(stored) if version is None else self._history.version(stored, version)
        if row is None:
            return default
        return self._decode(row, stored, canonical)

    def __setitem__(self, key: Any, value: Any) -> None:
        stored, canonical = self._stored_key(key)
        (self._writer or self._open_writer()).put(
            stored, self._encode(value, stored, canonical, key)
        )

    def __delitem__(self, key: Any) -> None:
        stored, _ = self._known_key(key)
        if not (self._writer or self._open_writer()).delete(stored):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        stored, canonical = self._stored_key(key)
        if canonical is None:
            return self._engine.contains(stored)
        row = self._get(stored)
        return row is not None and self._codec.holds(row, stored, canonical)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value under ``key``, storing ``default`` first if there is none.

        Exactly one of several callers at once stores; all of them return the same value.
        """
        stored, canonical = self._stored_key(key)
        writer = self._writer or self._open_writer()
        new: bytes | None = None
        while True:
            row = self._engine.latest(stored)
            if row is not None:
                return self._decode(row, stored, canonical)
            new = new or self._encode(default, stored, canonical, key)
            if writer.compare_and_set(stored, None, new):
                return self._decode(new, stored, canonical)

    def pop(self, key: Any, default: Any = _MISSING) -> Any:
        """Remove ``key`` and return its value; exactly one of several callers gets it.

        Args:
            key: the key.
            default: what to return if there is none.

        Raises:
            KeyError: there is none and no default was given.
        """
        stored, canonical = self._stored_key(key)
        writer = self._writer or self._open_writer()
        while (row := self._engine.latest(stored)) is not None:
            value = self._decode(row, stored, canonical)
            if writer.compare_and_set(stored, row[ETAG], None):
                return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[Any, Any]:
        """Remove and return some item, in no particular order.

        Raises:
            KeyError: the stash is empty.
        """
        writer = self._writer or self._open_writer()
        for stored, row in self._engine.items():
            pair = self._codec.decode_key(stored, row), self._decode(row, stored)
            if writer.compare_and_set(stored, row[ETAG], None):
                return pair
        raise KeyError("popitem(): the stash is empty")

    # -- many items -------------------------------------------------------------------------

    def get_many(self, keys: Iterable[Any], default: Any = None) -> list[Any]:
        """Return the values under ``keys``, in their order, ``default`` where there is none."""
        known = [(key, *self._stored_key(key)) for key in keys]
        rows = self._engine.get_many([stored for _, stored, _ in known])
        return [
            default if row is None else self._decode(row, stored, canonical)
            for (_, stored, canonical), (_, row) in zip(known, rows, strict=True)
        ]

    def set_many(self, items: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> None:
        """Store many items: a mapping, a stash, or pairs (whose keys need not be hashable).

        All of them are encoded and written in one transaction where the engine has them.
        """
        pairs = items.items() if hasattr(items, "items") else items
        (self._writer or self._open_writer()).put_many(self._rows_of(pairs))

    def delete_many(self, keys: Iterable[Any]) -> int:
        """Remove many keys; return how many were there."""
        stored = [self._known_key(key)[0] for key in keys]
        return (self._writer or self._open_writer()).delete_many(stored)

    def update(self, other: Any = (), /, **kwargs: Any) -> None:
        """Store the items of a mapping, of another stash, of pairs, and keywords."""
        if not hasattr(other, "items") and hasattr(other, "keys"):
            self.set_many((key, other[key]) for key in other.keys())
        else:
            self.set_many(other)
        if kwargs:
            self.set_many(kwargs)

    def clear(self) -> Self:  # type: ignore[override] # so that HashStash(...).clear() is one
        """Remove every item of this stash and nothing else; return the stash."""
        (self._writer or self._open_writer()).clear()
        return self

    def batch(self) -> AbstractContextManager[None]:
        """Group the writes of this thread into one transaction until the block ends.

        On engines with transactions (lmdb, sqlite, memory, ...) all of them become visible at
        once, or none if the block raises. On the others each write stands alone.
        """
        return (self._writer or self._open_writer()).transaction()

    # -- iteration --------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        for page in pages(self._engine.keys(), PAGE):
            rows = dict(self._engine.get_many([k for k in page if key_needs_row(k)]))
            for stored in page:
                row = rows.get(stored)
                if row is not None or not key_needs_row(stored):
                    yield self._codec.decode_key(stored, row)

    def __len__(self) -> int:
        return self._engine.count()

    def __bool__(self) -> bool:
        return next(self._engine.keys(), None) is not None

    def keys(self) -> StashKeysView:
        """Return a live view of the keys."""
        return StashKeysView(self)

    def values(self, *, all_versions: bool = False) -> StashValuesView:
        """Return a live view of the values; of all versions on request."""
        return StashValuesView(self, all_versions=all_versions)

    def items(self, *, all_versions: bool = False) -> StashItemsView:
        """Return a live view of the items; of all versions on request."""
        return StashItemsView(self, all_versions=all_versions)

    def iter_values(self, *, all_versions: bool = False) -> Iterator[Any]:
        """Yield the values, as the view does."""
        for stored, row in self._rows(all_versions=all_versions):
            yield self._decode(row, stored)

    def iter_items(self, *, all_versions: bool = False) -> Iterator[tuple[Any, Any]]:
        """Yield pairs of key and value, as the view does."""
        for stored, row in self._rows(all_versions=all_versions):
            yield self._codec.decode_key(stored, row), self._decode(row, stored)

    # -- versions ---------------------------------------------------------------------------

    def get_all(
        self, key: Any, default: D | None = None, *, with_metadata: bool = False
    ) -> list[Any] | D | None:
        """Return all versions of the value under ``key``, oldest first.

        Args:
            key: the key.
            default: what to return if there is none.
            with_metadata: whether each comes as a dict of ``_version`` (from 1),
                ``_timestamp`` (seconds since the epoch) and ``_value``.
        """
        stored, canonical = self._stored_key(key)
        found = [
            {"_version": number, "_timestamp": time_of(row) / 1e9, "_value": value}
            if with_metadata
            else value
            for number, row in self._history.history(stored)
            for value in (self._decode(row, stored, canonical),)
        ]
        return found or default

    def versions(self, key: Any) -> list[int]:
        """Return the numbers of the versions that are kept of ``key``, oldest first."""
        return [number for number, _ in self._history.history(self._known_key(key)[0])]

    def prune_versions(self, *, keep: int) -> int:
        """Remove all but the ``keep`` latest versions of every key; return how many went."""
        if keep < 1:
            raise ValueError(f"keep is the number of versions to keep, 1 or more, not {keep}")
        return self._history.prune(keep)

    # -- whole mappings ---------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        if self is other:
            return True
        found = 0
        for key, value in self.items():
            try:
                match = other.get(key, _MISSING)
            except TypeError:  # an unhashable key, which a dict cannot hold
                return False
            if match is _MISSING or not _same(match, value):
                return False
            found += 1
        return found == len(other)

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        return self

    # -- under the hood ---------------------------------------------------------------------

    def encode_key(self, key: Any) -> bytes:
        """Return the bytes under which ``key`` is stored."""
        return self._stored_key(key)[0]

    def decode_key(self, encoded_key: bytes) -> Any:
        """Return the key that ``encoded_key`` stands for; some are read from their row.

        Raises:
            KeyError: it is a digest, and no row is there to say of what.
        """
        row = self._get(encoded_key) if key_needs_row(encoded_key) else None
        if row is None and key_needs_row(encoded_key):
            raise KeyError(encoded_key)
        return self._codec.decode_key(encoded_key, row)

    def encode_value(self, value: Any) -> bytes:
        """Return ``value`` serialized, encoded and framed, as it would be stored."""
        return self._encode(value, b"")

    def decode_value(self, encoded_value: bytes) -> Any:
        """Return what ``encode_value`` was given, or what ``_values`` and ``_items`` gave."""
        return self._decode(bytes(encoded_value), getattr(encoded_value, "stored_key", b""))

    def _keys(self) -> Iterator[bytes]:
        """Yield the stored keys."""
        return self._engine.keys()

    def _values(self) -> Iterator[EncodedValue]:
        """Yield the stored rows."""
        return (row for _, row in self._items())

    def _items(self) -> Iterator[tuple[bytes, EncodedValue]]:
        """Yield stored keys and rows."""
        return ((stored, EncodedValue(row, stored)) for stored, row in self._engine.items())

    # -- inside -----------------------------------------------------------------------------

    @property
    def _history(self) -> VersionedEngine:
        """The versions, also of a stash that is not in append mode (of one each)."""
        return self._versions or VersionedEngine(self._engine)

    def _open_writer(self) -> Engine:
        """Return what to write to: versions go on where earlier writers kept them."""
        if keeps_versions(self._engine):
            self._versions = self._writer = VersionedEngine(self._engine)
        else:
            self._writer = self._engine
        return self._writer

    def _rows(self, *, all_versions: bool) -> Iterator[tuple[bytes, bytes]]:
        if not all_versions:
            return self._engine.items()
        return ((stored, row) for stored, _, row in self._history.items_of_all())

    def _rows_of(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[bytes, bytes]]:
        encode, stored_key = self._encode, self._stored_key
        for key, value in pairs:
            stored, canonical = stored_key(key)
            yield stored, encode(value, stored, canonical, key)

    def _known_key(self, key: Any) -> tuple[bytes, bytes | None]:
        """Return the stored key, after comparing the whole key where that is a digest."""
        stored, canonical = self._stored_key(key)
        if canonical is not None:
            row = self._get(stored)
            if row is not None:
                self._codec.holds(row, stored, canonical)
        return stored, canonical


def _same(one: Any, other: Any) -> bool:
    """Compare two values, also those whose ``==`` is an array or a table."""
    if one is other:
        return True
    equals = getattr(one, "equals", None)
    if equals is not None and type(one) is type(other):
        return bool(equals(other))
    if getattr(one, "shape", ()) != getattr(other, "shape", ()):
        return False
    match = one == other
    return bool(match.all()) if hasattr(match, "all") else bool(match)

"""An engine around another one, the base of those that add something to any engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

from .base import Engine

_TRAITS = (
    *("name", "title", "persistent", "remote", "private", "transactions", "durabilities"),
    *("max_row_bytes", "borrowed"),
)


class EngineAround(Engine):
    """Do what the engine inside does; a subclass overrides what it does differently.

    Siblings are the inner engine's own: what is added holds for one table.

    Args:
        engine: the engine inside.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.place)
        self.inner = engine
        vars(self).update((trait, getattr(engine, trait)) for trait in _TRAITS)

    @property
    def location(self) -> str:
        """Where the rows are."""
        return self.inner.location

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        return self.inner.get(key)

    def latest(self, key: bytes) -> bytes | None:
        """Return the row that is in the store itself now."""
        return self.inner.latest(key)

    def get_if_changed(self, key: bytes, etag: bytes) -> tuple[bool, bytes | None]:
        """Return whether the row is another than that of ``etag``, and then what it is."""
        return self.inner.get_if_changed(key, etag)

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``."""
        return self.inner.contains(key)

    def get_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each key, in the order given, with its row or None."""
        return self.inner.get_many(keys)

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one atomically."""
        self.inner.put(key, row)

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows."""
        self.inner.put_many(items)

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        return self.inner.delete(key)

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Remove many keys; return how many were there."""
        return self.inner.delete_many(keys)

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen."""
        return self.inner.compare_and_set(key, etag, row)

    def keys(self) -> Iterator[bytes]:
        """Yield every key once."""
        return self.inner.keys()

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its row."""
        return self.inner.items()

    def count(self) -> int:
        """Return how many keys there are."""
        return self.inner.count()

    def clear(self) -> None:
        """Remove this table's rows and nothing else."""
        self.inner.clear()

    def size_bytes(self) -> int:
        """Return about how many bytes the rows take."""
        return self.inner.size_bytes()

    def sibling(self, table: str) -> Engine:  # type: ignore[override]
        """Return the inner engine's own sibling."""
        return self.inner.sibling(table)

    def transaction(self) -> AbstractContextManager[None]:
        """Group what this thread writes, as the inner engine does."""
        return self.inner.transaction()

    def sweep(self) -> int:
        """Remove what dead writers left behind."""
        return self.inner.sweep()

    def close(self) -> None:
        """Release connections and files."""
        self.inner.close()

    def destroy(self) -> None:
        """Remove the store itself."""
        self.inner.destroy()

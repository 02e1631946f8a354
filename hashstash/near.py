"""A near cache: an engine that answers reads of one key from copies close by.

Everything else means the far side: writes go there first, and iteration, counting, siblings
(versions, leases), transactions and bulk reads know nothing of the copies. A copy is the row as
it is, so that whoever decodes it checks and verifies it as if it came from the far side.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident, local
from time import time_ns
from typing import TYPE_CHECKING

from .engines.around import EngineAround
from .engines.base import ETAG, PAGE, Engine, pages
from .engines.batches import batches
from .errors import ConfigurationError, CorruptRowError
from .near_copies import Copies
from .rows import LARGE
from .settings import NEAR_BYTES

if TYPE_CHECKING:
    from .stash import HashStash

Decode = Callable[..., object]
"""As ``Codec.decode``."""

_EVERYTHING = b""  # no stored key is empty

_groups: dict[tuple[int, str, str], set[bytes]] = {}
"""The keys written in the transactions under way, by thread and place."""


class NearEngine(EngineAround):
    """An engine that keeps copies of the rows it reads in another engine, close by.

    Args:
        far: where the rows are.
        near: where the copies are kept.
        immutable: whether a copy is used as it is, as rows are never replaced; otherwise it is
            used if the far side says that it has the same row.
        max_age: seconds for which a copy is used without asking.
        max_bytes: how many bytes of copies are kept.
    """

    def __init__(
        self,
        far: Engine,
        near: Engine,
        *,
        immutable: bool = False,
        max_age: float | None = None,
        max_bytes: int = NEAR_BYTES,
    ) -> None:
        super().__init__(far)
        self.copies = Copies(near, max_bytes)
        self._immutable, self._max_age = immutable, max_age
        self._given = local()
        """In each thread, the copy that was returned last, if it was not checked."""
        self._group = far.place.folder, far.place.name

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        if _groups and self._written() is not None:
            return self.inner.get(key)
        row = self.copies.get(key, unchecked=True)
        asked = time_ns()
        if row is None:
            row = self.inner.get(key)
            if row is not None:
                self.copies.keep({key: row}, asked)
            return row
        if len(row) >= LARGE:
            self._given.row = row
        if self._trusts(key, row):
            return row
        changed, new = self.inner.get_if_changed(key, row[ETAG])
        if changed:
            self._keep(key, new, asked)
            return new
        if self._max_age is not None:
            self.copies.confirm(key, row, asked)
        return row

    def latest(self, key: bytes) -> bytes | None:
        """Return the row that is on the far side now."""
        asked = time_ns()
        row = self.inner.get(key)
        if not _groups or self._written() is None:
            self._keep(key, row, asked)
        return row

    def decoder(self, decode: Decode) -> Decode:
        """Return ``decode`` that takes a row of the far side in place of a damaged copy.

        The checksum of a large row takes longer than reading it, so that it is computed once.
        """

        def decode_or_ask(row: bytes, key: bytes, canonical: bytes | None = None) -> object:
            if len(row) < LARGE:
                return decode(row, key, canonical)
            given, self._given.row = getattr(self._given, "row", None), None
            try:
                return decode(row, key, canonical)
            except CorruptRowError:
                if given is not row:
                    raise
                self.copies.drop([key])
                there = self.inner.get(key)
                if there is None or there == row:
                    raise
                return decode(there, key, canonical)

        return decode_or_ask

    def unasked(self, key: bytes) -> bytes | None:
        """Return the copy that is used without asking the far side, or None."""
        row = self.copies.get(key)
        return row if row is not None and self._trusts(key, row) else None

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``."""
        if self._asks_always or (_groups and self._written() is not None):
            return self.inner.contains(key)
        return self.unasked(key) is not None or self.inner.contains(key)

    # -- writes: the far side first, and no copy of what may not be there --------------------

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one atomically."""
        asked = time_ns()
        with self._dropped_on_failure([key]):
            self.inner.put(key, row)
        self._changed(key, row, asked)

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows; copies come with the reads."""
        keys: list[bytes] = []

        def noting() -> Iterator[tuple[bytes, bytes]]:
            for key, row in items:
                keys.append(key)
                yield key, row

        # a copy that the far side is asked about need not be dropped
        with self._dropped(keys):
            self.inner.put_many(items if self._asks_always else noting())

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        with self._dropped([key]):
            return self.inner.delete(key)

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Remove many keys; return how many were there."""
        removed = 0
        with self.transaction():
            for page in pages(keys, PAGE):
                with self._dropped(page):
                    removed += self.inner.delete_many(page)
        return removed

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row on the far side is still the one that was seen."""
        asked = time_ns()
        with self._dropped_on_failure([key]):
            done = self.inner.compare_and_set(key, etag, row)
        self._changed(key, row if done else None, asked)
        return done

    def clear(self) -> None:
        """Remove this table's rows and nothing else."""
        with self._dropped([_EVERYTHING]):
            self.inner.clear()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group what this thread writes, as the far side does; until then no copies are used."""
        group = get_ident(), *self._group
        if not self.transactions or group in _groups:
            with self.inner.transaction():
                yield
            return
        written = _groups[group] = set()
        try:
            with self.inner.transaction():
                yield
        finally:
            del _groups[group]
            self._drop(written)

    # -- the near side ----------------------------------------------------------------------

    def warm(self, keys: Iterable[bytes] | None = None) -> int:
        """Copy the rows under ``keys``, or all; return how many were copied."""
        wanted = self.inner.keys() if keys is None else keys
        kept = 0
        for page in pages(wanted, PAGE):
            asked = time_ns()
            found = self.inner.get_many(page)
            rows = ((key, row) for key, row in found if row is not None)
            kept += sum(self.copies.keep(batch, asked) for batch in batches(rows, PAGE))
        return kept

    def sweep(self) -> int:
        """Remove what dead writers left behind."""
        self.copies.sweep()
        return self.inner.sweep()

    def close(self) -> None:
        """Release connections and files, on both sides."""
        self.copies.close()
        self.inner.close()

    def destroy(self) -> None:
        """Remove the store itself, with its copies."""
        self.inner.destroy()
        self.copies.destroy()

    # -- inside -----------------------------------------------------------------------------

    @property
    def _asks_always(self) -> bool:
        return not self._immutable and self._max_age is None

    def _trusts(self, key: bytes, row: bytes) -> bool:
        if self._immutable:
            return True
        return self._max_age is not None and self.copies.is_younger(key, row, self._max_age)

    def _written(self) -> set[bytes] | None:
        """Return the keys that this thread's transaction has written; None if there is none."""
        return _groups.get((get_ident(), *self._group))

    def _keep(self, key: bytes, row: bytes | None, asked: int) -> None:
        if row is None:
            self.copies.drop([key])
        else:
            self.copies.keep({key: row}, asked)

    def _changed(self, key: bytes, row: bytes | None, asked: int) -> None:
        """Keep a row that was written, unless a transaction may still take it back."""
        written = self._written() if _groups else None
        if written is None:
            self._keep(key, row, asked)
        else:
            written.add(key)

    def _drop(self, keys: Collection[bytes]) -> None:
        written = self._written() if _groups else None
        if written is not None:
            written.update(keys)
        elif _EVERYTHING in keys:
            self.copies.clear()
        else:
            self.copies.drop(keys)

    @contextmanager
    def _dropped(self, keys: list[bytes]) -> Iterator[None]:
        try:
            yield
        finally:
            self._drop(keys)

    @contextmanager
    def _dropped_on_failure(self, keys: list[bytes]) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._drop(keys)
            raise


def warm(stash: HashStash, keys: Iterable[object] | None) -> int:
    """Copy items of ``stash`` to its near side; return how many.

    Raises:
        ConfigurationError: it has none.
    """
    engine = stash._engine
    if not isinstance(engine, NearEngine):
        raise ConfigurationError(f"{stash!r} has no near side to warm: open it with near='lmdb'")
    return engine.warm(None if keys is None else map(stash.encode_key, keys))

"""Append mode: every version of a key is kept, on any engine.

The latest version is the row under the key itself, so reading it costs what it always costs.
Older versions live in the sibling table ``versions`` under history id and number. A history's
id is the ETag of its first row, so what a killed delete leaves behind belongs to a history
that no key names any more, and is never mixed with a later one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

from .engines.base import ETAG, PAGE, Engine, pages
from .errors import CorruptRowError
from .rows import check, parse, version_of, with_version

_MOST_LOST = 1 << 20
"""A damaged row may claim any number; this many are looked up at the most."""

MARK = b"append-mode"
"""The key in the sibling table that says: this place keeps versions."""


def keeps_versions(engine: Engine) -> bool:
    """Tell whether the place of ``engine`` was ever written to in append mode."""
    return engine.sibling("versions").contains(MARK)


class VersionedEngine(Engine):
    """An engine that keeps what it replaces.

    Args:
        engine: where the rows are kept.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.place)
        self._engine = engine
        self._older = engine.sibling("versions")
        self._marked = False
        self.get, self.contains, self.get_many = engine.get, engine.contains, engine.get_many  # type: ignore[method-assign]

    @property
    def location(self) -> str:
        """Where the rows are."""
        return self._engine.location

    def get(self, key: bytes) -> bytes | None:  # replaced in __init__ by the engine's own
        """Return the latest row."""
        return self._engine.get(key)

    def keys(self) -> Iterator[bytes]:
        """Yield every key once, however many versions it has."""
        return self._engine.keys()

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its latest row."""
        return self._engine.items()

    def count(self) -> int:
        """Return how many keys there are."""
        return self._engine.count()

    def put(self, key: bytes, row: bytes) -> None:
        """Add ``row`` as the next version of ``key``."""
        while True:
            head = self._engine.latest(key)
            if self._follow(key, head, row):
                return

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Add many rows, each as the next version of its key."""
        with self.transaction():
            for key, row in items:
                self.put(key, row)

    def delete(self, key: bytes) -> bool:
        """Remove ``key`` with its whole history."""
        while True:
            head = self._engine.latest(key)
            if head is None:
                return False
            if self._remove(key, head):
                return True

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Add a version, or remove the history, only if the latest is the one that was seen."""
        head = self._engine.latest(key)
        if (None if head is None else head[ETAG]) != etag:
            return False
        if row is not None:
            return self._follow(key, head, row)
        return head is None or self._remove(key, head)

    def history(self, key: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield number and row of every version that is kept, oldest first."""
        head = self._engine.latest(key)
        if head is not None:
            yield from self._history_of(key, head)

    def items_of_all(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Yield key, number and row of every version of every key."""
        for key, head in self._engine.items():
            for number, row in self._history_of(key, head):
                yield key, number, row

    def version(self, key: bytes, number: int) -> bytes | None:
        """Return the row of version ``number``, or None if it is not kept."""
        head = self._engine.latest(key)
        if head is None:
            return None
        latest, history = _placed(head, key)
        if number == latest:
            return head
        if not 1 <= number < latest:
            return None
        return self._older.get(_slot(history, number))

    def prune(self, keep: int) -> int:
        """Remove all but the ``keep`` latest versions of every key; return how many."""
        slots = list(self._older.keys())  # before the heads: a history begun later is not in it
        first_kept: dict[bytes, int] = {}
        first_unnamed = 1 << 64
        for key, head in self._engine.items():
            try:
                latest, history = _placed(head, key)
            except CorruptRowError:
                first_unnamed = 0  # what no other head names may be its history, to be restored
                continue
            first = latest - keep + 1
            first_kept[history] = min(first, first_kept.get(history, first))
        unwanted = (
            slot
            for slot in slots
            if slot != MARK and _number(slot) < first_kept.get(slot[:16], first_unnamed)
        )
        return sum(self._older.delete_many(page) for page in pages(unwanted, PAGE))

    def drop(self, row: bytes, key: bytes, number: int) -> None:
        """Remove version ``number`` of ``key``, if it still is ``row``."""
        head = self._engine.latest(key)
        if head is not None:
            slot = _slot(_placed(head, key)[1], number)
            self._older.compare_and_set(slot, row[ETAG], None)

    def restore(self, key: bytes, lost: bytes) -> bool:
        """Make the latest whole version before ``lost``, a damaged latest one, the latest.

        What the damaged row says of its number and history is only used to look versions up.
        """
        try:
            number, history = version_of(lost)
        except (IndexError, struct.error):
            return False
        for earlier in range(min(number, _MOST_LOST) - 1, 0, -1):
            row = self._older.get(_slot(history, earlier))
            if row is not None and _is_whole(row, key):
                return self._engine.compare_and_set(key, None, row)
        return False

    def adopt(
        self, key: bytes, seen: bytes | None, head: bytes, older: Iterable[tuple[int, bytes]]
    ) -> bool:
        """Make ``head`` the latest of ``key`` as it is, with versions that came before it.

        Args:
            key: the stored key.
            seen: the ETag of the row that was seen there; None: there was no row.
            head: the latest row of a history.
            older: numbers and rows of earlier versions of that history.

        Returns:
            Whether the row there was still that one, so that the change was made.
        """
        self._mark()
        history = version_of(head)[1]
        self._older.put_many((_slot(history, number), row) for number, row in older)
        return self._engine.compare_and_set(key, seen, head)

    def clear(self) -> None:
        """Remove every key with its history."""
        self._engine.clear()
        for page in pages((slot for slot in self._older.keys() if slot != MARK), PAGE):
            self._older.delete_many(page)

    def transaction(self) -> AbstractContextManager[None]:
        """Group writes as the engine does."""
        self._mark()  # before the block, which may be taken back
        return self._engine.transaction()

    def sibling(self, table: str) -> Engine:  # type: ignore[override]
        """Return the engine's own sibling: features keep no versions."""
        return self._engine.sibling(table)

    def size_bytes(self) -> int:
        """Return about how many bytes all versions take."""
        return self._engine.size_bytes()

    def sweep(self) -> int:
        """Remove what dead writers left behind, versions of deleted keys included."""
        return self._engine.sweep() + self.prune(keep=1 << 62)

    def close(self) -> None:
        """Release connections."""
        self._older.close()
        self._engine.close()

    def destroy(self) -> None:
        """Remove the store itself."""
        self._older.close()
        self._engine.destroy()

    def _follow(self, key: bytes, head: bytes | None, row: bytes) -> bool:
        """Put ``row`` after ``head``; report whether ``head`` was still the latest."""
        self._mark()
        if head is None:
            return self._engine.compare_and_set(key, None, row)
        number, history = _placed(head, key)
        # Written before the head moves, and the same bytes whoever writes them: a kill or a
        # lost race in between leaves a copy of the latest version, which is never looked at.
        self._older.put(_slot(history, number), head)
        return self._engine.compare_and_set(
            key, head[ETAG], with_version(row, key, number + 1, history)
        )

    def _mark(self) -> None:
        """Say that this place keeps versions."""
        if not self._marked:
            if not self._older.contains(MARK):
                self._older.put(MARK, b"1")
            self._marked = True

    def _remove(self, key: bytes, head: bytes) -> bool:
        if not self._engine.compare_and_set(key, head[ETAG], None):
            return False
        try:
            latest, history = _placed(head, key)
        except CorruptRowError:
            return True  # whose history it was cannot be known: what is left of it, ``sweep`` finds
        for page in pages(range(self._first_kept(history, latest), latest + 1), PAGE):
            self._older.delete_many([_slot(history, number) for number in page])
        return True

    def _history_of(self, key: bytes, head: bytes) -> Iterator[tuple[int, bytes]]:
        yield from self.history_before(key, head)
        yield version_of(head)[0], head

    def history_before(self, key: bytes, head: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield number and row of every version of ``key`` before ``head``, oldest first.

        Raises:
            CorruptRowError: ``head`` is damaged, so that its history is not known.
        """
        latest, history = _placed(head, key)
        for page in pages(range(self._first_kept(history, latest), latest), PAGE):
            rows = self._older.get_many([_slot(history, number) for number in page])
            for slot, row in rows:
                if row is not None:
                    yield _number(slot), row

    def _first_kept(self, history: bytes, latest: int) -> int:
        """Return a number such that none before it are kept.

        Versions go from the oldest on, so a whole page of which none is kept ends the search:
        a row that was planted may claim any number, and nobody shall look for all before it.
        """
        first = latest
        while first > 1:
            page = range(max(1, first - PAGE), first)
            if not any(self._older.contains(_slot(history, n)) for n in reversed(page)):
                break
            first = page.start
        return first


def _is_whole(row: bytes, key: bytes) -> bool:
    try:
        check(row, key)
    except CorruptRowError:
        return False
    return True


def _placed(head: bytes, key: bytes) -> tuple[int, bytes]:
    """Return number and history of a latest version, which nobody shall take from damaged bytes."""
    parts = parse(head, key)
    return parts.version, parts.history


def _slot(history: bytes, number: int) -> bytes:
    return history + number.to_bytes(8, "big")


def _number(slot: bytes) -> int:
    return int.from_bytes(slot[16:], "big")

"""The near side of a near cache: copies that may be lost, damaged or refused at any moment."""

from __future__ import annotations

import random
import struct
import warnings
from collections.abc import Callable, Iterable, Mapping
from time import time_ns

from .engines.base import ETAG, PAGE, Engine, pages
from .errors import CorruptRowError, HashStashError
from .rows import FIELDS, LARGE, check

FAULTS = (HashStashError, OSError)
"""What an engine may raise; none of it matters to a stash whose rows are elsewhere."""

_NOTE = struct.Struct(">QQ16s")
_ORDER = slice(0, 16)
_STEPS = 8
_MOST_DOUBTED = 10_000

IsWhole = Callable[[bytes, bytes], bool]


class NearCacheWarning(RuntimeWarning):
    """The near side of a stash does not work: all is read from the far side."""


def is_whole(row: bytes, key: bytes) -> bool:
    """Report whether ``row`` is what was once stored under ``key``."""
    try:
        check(row, key)
    except CorruptRowError:
        return False
    return True


class Copies:
    """Copies of rows in an engine close by; nothing that goes wrong there is an error.

    Beside each copy is a note in the sibling table ``notes``: when the row was asked for (ns),
    its size, its ETag. The oldest go first when there is no room: notes sort by age. How much
    there is, in all processes, is looked up by each after it has written an eighth of what is
    allowed, and by a process that writes less than that with the same chance per byte.

    Args:
        engine: where the copies are kept.
        max_bytes: how many bytes they may take in all.
        is_whole: tells whether a copy is as it was.
    """

    def __init__(self, engine: Engine, max_bytes: int, is_whole: IsWhole = is_whole) -> None:
        self._rows, self._notes = engine, engine.sibling("notes")
        self._is_whole = is_whole
        self._max_bytes, self._step = max_bytes, max_bytes // _STEPS
        self._largest = min(max_bytes, engine.max_row_bytes or max_bytes)
        self._since = random.uniform(0, self._step)
        self._doubted: set[bytes] = set()  # what could not be dropped
        self._usable = True
        self._warned = False

    def get(self, key: bytes, *, unchecked: bool = False) -> bytes | None:
        """Return the copy under ``key``, or None if there is no whole one.

        Args:
            key: the stored key.
            unchecked: whether a large one may be damaged, as whoever decodes it finds out.
        """
        if not self._usable or key in self._doubted:
            return None
        try:
            row = self._rows.get(key)
        except FAULTS as exc:
            self._warn(exc)
            return None
        if row is None or (unchecked and _is_only_decoded(row)) or self._is_whole(row, key):
            return row
        self.drop([key])
        return None

    def is_younger(self, key: bytes, row: bytes, seconds: float) -> bool:
        """Report whether ``row``, a copy, was the far row less than ``seconds`` ago."""
        try:
            note = self._notes.get(key)
        except FAULTS as exc:
            self._warn(exc)
            return False
        if note is None or len(note) != _NOTE.size or note[ETAG] != row[ETAG]:
            return False
        age = time_ns() - int.from_bytes(note[:8], "big")
        return 0 <= age < seconds * 1e9  # a clock that was set back makes no copy younger

    def keep(self, rows: Mapping[bytes, bytes], asked: int) -> int:
        """Keep copies in place of earlier ones; return how many.

        Args:
            rows: the rows by key.
            asked: a time (ns) since when the far side is known to have had them.
        """
        fitting = {key: row for key, row in rows.items() if len(row) <= self._largest}
        if len(fitting) < len(rows):
            self.drop(rows.keys() - fitting.keys())
        try:
            self._make_room(sum(map(len, fitting.values())))
            notes = [(key, _NOTE.pack(asked, len(row), row[ETAG])) for key, row in fitting.items()]
            with self._rows.transaction():
                self._notes.put_many(notes)  # first: what has no note is never removed
                self._rows.put_many(fitting.items())
        except FAULTS as exc:
            self._warn(exc)
            self.drop(fitting)
            return 0
        if self._doubted:
            self._doubted.difference_update(fitting)
        return len(fitting)

    def confirm(self, key: bytes, row: bytes, asked: int) -> None:
        """Note that the far side still had ``row`` at the time ``asked``."""
        try:
            self._notes.put(key, _NOTE.pack(asked, len(row), row[ETAG]))
        except FAULTS as exc:
            self._warn(exc)

    def drop(self, keys: Iterable[bytes]) -> None:
        """Remove copies; those that cannot be removed are not used by this process."""
        keys = list(keys)
        for table in (self._rows, self._notes):
            try:
                there = [key for key in keys if table.contains(key)]
                if there:
                    table.delete_many(there)
            except FAULTS as exc:
                self._warn(exc)
                self._doubted.update(keys)
                self._usable = self._usable and len(self._doubted) < _MOST_DOUBTED

    def clear(self) -> None:
        """Remove all copies."""
        self._usable = self._each(lambda table: table.clear())
        self._doubted = set()

    def close(self) -> None:
        """Release files and connections."""
        self._each(lambda table: table.close())

    def destroy(self) -> None:
        """Remove the near side itself."""
        self._each(lambda table: table.destroy())

    def sweep(self) -> None:
        """Remove what dead writers left behind."""
        self._each(lambda table: table.sweep())

    def _each(self, act: Callable[[Engine], object]) -> bool:
        """Do something to both tables; report whether it could be done."""
        done = True
        for table in (self._notes, self._rows):
            try:
                act(table)
            except FAULTS as exc:
                self._warn(exc)
                done = False
        return done

    def _make_room(self, size: int) -> None:
        """Remove the oldest copies if that is due before ``size`` bytes more are kept."""
        self._since += size
        if self._since <= self._step:
            return
        self._since = size
        notes = sorted(note[_ORDER] for _, note in self._notes.items())
        total, first_kept = sum(map(_size_in, notes)), 0
        while first_kept < len(notes) and total > self._max_bytes - max(size, self._step):
            total -= _size_in(notes[first_kept])
            first_kept += 1
        if first_kept:
            last = notes[first_kept - 1]
            oldest = (key for key, note in self._notes.items() if note[_ORDER] <= last)
            for page in pages(oldest, PAGE):
                self.drop(page)

    def _warn(self, exc: Exception) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"The near side at {self._rows.location} does not work, so that the far side is "
                f"read: {exc} The near side may be removed at any time.",
                NearCacheWarning,
                stacklevel=2,
            )


def _is_only_decoded(row: bytes) -> bool:
    """Tell whether checking a row costs much, and nobody looks into it without decoding it."""
    return len(row) >= LARGE and not row[3] & FIELDS


def _size_in(order: bytes) -> int:
    return int.from_bytes(order[8:], "big")

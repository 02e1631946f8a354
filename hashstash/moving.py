"""Entries from one stash to another, of any two engines, each row as it is where that can be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from .engines.base import ETAG, PAGE, Engine
from .engines.batches import batches
from .errors import DecodeError, SerializationError, UntrustedRowError
from .functions.progress import Progress
from .rows import SIGNED, check, parse, with_mac
from .versions import VersionedEngine, keeps_versions

if TYPE_CHECKING:
    from .stash import HashStash

THREADS = 16
"""How many questions a server is asked at once."""

Items = Iterable[tuple[bytes, bytes]]


def copy_entries(source: HashStash, target: HashStash, progress: bool | None) -> int:
    """Copy the entries of ``source``, earlier versions included; return how many were copied.

    An entry that ``target`` has already is passed over, so what was interrupted is taken up by
    calling it again, and what was added since is copied by calling it later.
    """
    engine = source._engine
    versioned = any(map(keeps_versions, (engine, target._engine))) or target._versions is not None
    with ExitStack() as ends:
        bar = Progress(
            progress, lambda: f"Copying to {target!r}", None if progress is False else len(source)
        )
        ends.callback(bar.close)
        copy = _Copy(source, target, ends)
        copied = 0
        for batch in batches(engine.items(), PAGE):
            copied += copy.with_versions(batch) if versioned else copy.latest(batch)
            bar.add(len(batch))
    if versioned:
        target._writer = target._versions  # opened anew: there are versions now
    return copied


def migrate(src: Any, dst: Any, progress: bool | None) -> int:
    """Copy all entries from one stash to another, each given as such or as its settings."""
    return copy_entries(_stash(src), _stash(dst), progress)


def _stash(given: Any) -> HashStash:
    from .stash import HashStash

    if isinstance(given, HashStash):
        return given
    if isinstance(given, Mapping):
        return HashStash.from_dict(given)
    if isinstance(given, (str, os.PathLike)):
        return HashStash(given)
    raise TypeError(
        f"A stash is given as such, as a path or URL, or as its settings, not as a "
        f"{type(given).__name__}"
    )


class _Copy:
    """One run.

    Args:
        source: where the entries are.
        target: where they go.
        ends: closes what the run opens.
    """

    def __init__(self, source: HashStash, target: HashStash, ends: ExitStack) -> None:
        self._source, self._target, self._ends = source, target, ends
        self._to: Engine = target._engine
        self._from_versions = VersionedEngine(source._engine)
        self._to_versions = VersionedEngine(target._engine)
        self._fresh = next(self._to.keys(), None) is None
        self._pool: ThreadPoolExecutor | None = None

    def latest(self, batch: dict[bytes, bytes]) -> int:
        """Copy rows to a target that keeps no versions."""
        items = batch.items() if self._fresh else [item for *item, _ in self._missing(batch)]
        self._to.put_many((key, self._fit(row, key)) for key, row in items)
        return len(items)

    def with_versions(self, batch: dict[bytes, bytes]) -> int:
        """Copy rows, and the versions before them, to a target that keeps versions."""
        found = ((*item, None) for item in batch.items()) if self._fresh else self._missing(batch)
        with self._to.transaction():
            return sum(self._settle(key, row, there) for key, row, there in found)

    def _missing(self, batch: dict[bytes, bytes]) -> Iterator[tuple[bytes, bytes, bytes | None]]:
        """Yield keys and rows that the target lacks, with what it has instead."""

        def ask(item: tuple[bytes, bytes]) -> tuple[bool, bytes | None]:
            return self._to.get_if_changed(item[0], item[1][ETAG])

        if self._to.remote and self._pool is None:
            self._pool = self._ends.enter_context(ThreadPoolExecutor(THREADS, "hashstash-copy"))
        answers = (self._pool.map if self._pool is not None else map)(ask, batch.items())
        for (key, row), (changed, there) in zip(batch.items(), answers, strict=True):
            if changed:
                yield key, row, there

    def _settle(self, key: bytes, row: bytes, there: bytes | None) -> int:
        """Copy one key with its versions; return whether there was anything to do."""
        changed = True
        while changed and not self._is_ahead(key, row, there):
            if self._follow(key, row, there):
                return 1
            changed, there = self._to.get_if_changed(key, row[ETAG])
        return 0

    def _follow(self, key: bytes, row: bytes, there: bytes | None) -> bool:
        """Copy one key if ``there`` is still what the target has.

        Where it has nothing, or an earlier version of the row, numbers, times and histories stay
        as they are; where it has a history of its own, the row becomes the next version of that.
        """
        if there is not None and not _is_version_of(self._from_versions, key, there, row):
            return self._to_versions.compare_and_set(key, there[ETAG], self._fit(row, key))
        older = self._from_versions.history_before(key, row)
        return self._to_versions.adopt(
            key,
            None if there is None else there[ETAG],
            self._fit(row, key),
            ((number, self._fit(one, key)) for number, one in older),
        )

    def _is_ahead(self, key: bytes, row: bytes, there: bytes | None) -> bool:
        """Tell whether the target has ``row`` as an earlier version: it has grown since."""
        return there is not None and _is_version_of(self._to_versions, key, row, there)

    def _fit(self, row: bytes, key: bytes) -> bytes:
        """Return ``row`` as the target can read it: signed for it, if it is signed.

        Raises:
            CorruptRowError: it is damaged.
            UntrustedRowError: the source itself does not believe its signature.
            SerializationError: the target is safe and takes no rows that need code.
        """
        try:
            if not check(row, key) & SIGNED:
                return row
            if self._target._settings.safe:
                raise SerializationError(
                    f"An entry of {self._source!r} needs code to be read, and {self._target!r} is "
                    "safe=True: open that with safe=False, or delete such entries before."
                )
            parts = parse(row, key)
            if self._target._keyring.verifies(key, parts.signed, parts.payload, parts.mac):
                return row
            if not self._source._keyring.verifies(key, parts.signed, parts.payload, parts.mac):
                raise UntrustedRowError(
                    "The row needs code and its signature does not verify, so that it cannot be "
                    "signed for another stash.",
                    stage="signature",
                )
        except DecodeError as exc:
            raise self._source._codec._located(exc, key) from exc
        mac = self._target._keyring.mac
        return with_mac(row, key, lambda header, payload: mac(key, header, payload))


def _is_version_of(versions: VersionedEngine, key: bytes, row: bytes, head: bytes) -> bool:
    """Tell whether ``row`` is a version before ``head``, the latest of ``key``."""
    one, latest = parse(row, key), parse(head, key)
    if one.history != latest.history or one.version >= latest.version:
        return False
    earlier = versions.version(key, one.version)
    return earlier is not None and earlier[ETAG] == row[ETAG]

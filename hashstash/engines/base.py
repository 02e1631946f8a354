"""The contract of engines: stored bytes under stored bytes, and one atomic primitive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from hashstash.errors import EngineError

if TYPE_CHECKING:
    from typing_extensions import Self

Durability = Literal["process", "system"]
T = TypeVar("T")

Encode = Callable[[object, bytes, "bytes | None", object], bytes]
"""Makes the row of a value, from it, its stored key, its whole key if that is long, its key."""

ETAG = slice(16, 32)
"""Where a stored row keeps its ETag: all that an engine knows about rows."""

PAGE = 1000
"""How many keys an iteration holds in memory at a time."""


@dataclass(frozen=True)
class Place:
    """Where an engine keeps its rows.

    Attributes:
        folder: the absolute folder that belongs to this engine and this stash alone, for
            engines that live in files. It may not exist yet.
        name: the same place as a short name (``root/dbname``), for engines that live
            elsewhere: a server's key prefix, a bucket's folder.
        table: the part of the place. ``entries`` holds the items of the stash; features
            keep rows of their own in siblings (``versions``, ``leases``, ...).
        durability: ``process`` (a write survives the death of the process) or ``system``
            (it survives power loss too).
    """

    folder: str
    name: str
    table: str = "entries"
    durability: Durability = "process"


class Engine(ABC):
    """Store bytes under bytes. Implement the abstract methods; override the rest only for speed.

    Constructing an engine touches nothing: it opens on first use, and opens again after
    ``close`` or a fork. An engine may be used by many threads at once. Options of its own are
    keyword-only arguments of its ``__init__``; they become options of ``HashStash``.

    Args:
        place: where the rows are kept.
    """

    name: ClassVar[str]
    """What a user types."""
    title: ClassVar[str]
    """How ``repr`` writes it: ``LMDB``."""
    persistent: ClassVar[bool] = True
    """Rows outlive the process."""
    remote: ClassVar[bool] = False
    """Other machines can write here, so that ``safe=True`` is the default."""
    private: ClassVar[bool] = False
    """Only this process sees the rows."""
    transactions: ClassVar[bool] = False
    """``transaction()`` groups writes: all or nothing."""
    durabilities: ClassVar[frozenset[str]] = frozenset({"process"})
    """The durabilities it can give."""
    max_row_bytes: ClassVar[int | None] = None
    """The largest row it takes, if there is a bound."""
    borrowed: ClassVar[frozenset[str]] = frozenset()
    """Options that name what others made, so that a temporary stash does not take them over."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @classmethod
    def complete(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a stash with those that the environment decides.

        Called once, where a stash is constructed; what it returns is what the stash pickles.
        """
        return options

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the rows are, as a person would type it: a path or a URL without passwords."""

    @abstractmethod
    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""

    @abstractmethod
    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one atomically."""

    @abstractmethod
    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""

    @abstractmethod
    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen.

        One atomic step with respect to every writer, in any thread, process or host.

        Args:
            key: the stored key.
            etag: the ETag (``row[ETAG]``) of the row that was seen; None: there was no row.
            row: what to store; None: remove the row.

        Returns:
            Whether the row there was still that one, so that the change was made.
        """

    @abstractmethod
    def keys(self) -> Iterator[bytes]:
        """Yield every key once, in any order, with bounded memory.

        A key that is there throughout is yielded exactly once, whatever is written meanwhile;
        nothing is locked between two keys, and a change of the store is not an error.
        """

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``."""
        return self.get(key) is not None

    def latest(self, key: bytes) -> bytes | None:
        """Return the row that is in the store itself now, on an engine that keeps copies too.

        What a change is based on: a copy may be older.
        """
        return self.get(key)

    def get_if_changed(self, key: bytes, etag: bytes) -> tuple[bool, bytes | None]:
        """Return whether the row is another than the one that was seen, and then what it is.

        Where the store can tell without sending the row, an engine overrides this.

        Args:
            key: the stored key.
            etag: the ETag of the row that was seen.

        Returns:
            ``(False, None)`` if that row is still there; else True with the row that is there
            now, or None if there is none.
        """
        row = self.get(key)
        if row is not None and row[ETAG] == etag:
            return False, None
        return True, row

    def get_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each key, in the order given, with its row or None."""
        for key in keys:
            yield key, self.get(key)

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows; in one transaction where the engine has them."""
        with self.transaction():
            for key, row in items:
                self.put(key, row)

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Remove many keys; return how many were there."""
        with self.transaction():
            return sum(self.delete(key) for key in keys)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its row, as ``keys`` does."""
        for page in pages(self.keys(), PAGE):
            for key, row in self.get_many(page):
                if row is not None:
                    yield key, row

    def count(self) -> int:
        """Return how many keys there are."""
        return sum(1 for _ in self.keys())

    def clear(self) -> None:
        """Remove this table's rows and nothing else."""
        for page in pages(self.keys(), PAGE):
            self.delete_many(page)

    def size_bytes(self) -> int:
        """Return about how many bytes the rows take where they are kept."""
        return sum(len(key) + len(row) for key, row in self.items())

    def under_stash(self, encode: Encode, *, safe: bool, max_value_bytes: int) -> Engine:
        """Return the engine that a stash uses: this one, unless it reads what are no rows yet.

        Args:
            encode: the stash's own way to make rows, signatures included.
            safe: whether the stash takes data only.
            max_value_bytes: the most bytes that a value may have.
        """
        return self

    def sibling(self, table: str) -> Self:
        """Return an engine of this kind over another table of the same place."""
        return self._at(replace(self.place, table=table))

    def _at(self, place: Place) -> Self:
        """Return an engine with this one's options at another place."""
        return type(self)(place)

    def transaction(self) -> AbstractContextManager[None]:
        """Group what this thread writes until the block ends, siblings included.

        Where ``transactions`` is true: all of it becomes visible at once, or nothing if the
        block raises; reads of this thread inside see it already; blocks nest. Elsewhere each
        write stands alone.
        """
        return nullcontext()

    def sweep(self) -> int:
        """Remove what dead writers left behind; return how many things were removed."""
        return 0

    def close(self) -> None:  # noqa: B027 - an engine without connections has nothing to release
        """Release connections and files. Safe to call twice; the next use opens again."""

    def destroy(self) -> None:
        """Remove the store itself, all its tables included, and close."""
        self.clear()
        self.close()

    def failure(self, operation: str, exc: BaseException) -> EngineError:
        """Return the error to raise ``from exc`` when ``operation`` failed in the driver."""
        return EngineError(
            f"{self.name} {operation} failed at {self.location}: {exc}",
            engine=self.name,
            operation=operation,
            place=self.location,
        )


def pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield ``items`` in lists of at most ``size``."""
    iterator = iter(items)
    while page := list(islice(iterator, size)):
        yield page

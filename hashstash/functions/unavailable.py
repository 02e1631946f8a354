"""Results without their server: while it is away, functions compute as if nothing were stored."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from hashstash.engines.around import EngineAround
from hashstash.engines.base import Engine, pages
from hashstash.errors import EngineUnavailableError
from hashstash.near import NearEngine

if TYPE_CHECKING:
    from .function_stash import FunctionStash

T = TypeVar("T")

PAUSE = 30.0
"""Seconds after which a server that was away is asked again, by one caller."""

_ASKED_AT_ONCE = 1000


class CacheUnavailableWarning(RuntimeWarning):
    """A server that keeps results is away: functions compute without it until it is back."""


class Outage:
    """Whether a server is away, as far as this process knows."""

    def __init__(self) -> None:
        self._until: float | None = None

    @property
    def known(self) -> bool:
        """Whether the server was away when it was last asked."""
        return self._until is not None

    def lasts(self) -> bool:
        """Tell whether the server is not to be asked; one caller is told to try now and then."""
        if self._until is None:
            return False
        now = monotonic()
        if now < self._until:
            return True
        self._until = now + PAUSE  # for the others, while this one waits for the answer
        return False

    def attempt(self, act: Callable[[], T], otherwise: T) -> T:
        """Return ``act()``, or ``otherwise`` if the server is away."""
        if self.lasts():
            return otherwise
        try:
            result = act()
        except EngineUnavailableError as exc:
            self._begin(exc)
            return otherwise
        self._until = None
        return result

    def _begin(self, exc: EngineUnavailableError) -> None:
        first = self._until is None
        self._until = monotonic() + PAUSE
        if first:
            warnings.warn(
                f"Results are computed and not stored, and the server is tried again every "
                f"{PAUSE:g} s: {exc}",
                CacheUnavailableWarning,
                stacklevel=2,
            )


_outages: dict[str, Outage] = {}
"""By server."""


def outage_of(engine: Engine) -> Outage:
    """Return what is known of the server behind ``engine``."""
    while isinstance(engine, EngineAround):
        engine = engine.inner
    return _outages.setdefault(str(getattr(engine, "url", engine.location)), Outage())


class ForgivingEngine(EngineAround):
    """An engine that is empty, and takes everything, while its server is away.

    Who asks for a lease then gets it. Listing, counting and clearing raise as ever.

    Args:
        engine: the engine inside.
        outage: whether its server is away.
    """

    def __init__(self, engine: Engine, outage: Outage) -> None:
        super().__init__(engine)
        self._outage, self._attempt = outage, outage.attempt

    def writer(self) -> Engine:
        """Return what rows are written to."""
        return self.inner

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None."""
        return self._attempt(lambda: self.inner.get(key), None)

    def latest(self, key: bytes) -> bytes | None:
        """Return the row that is in the store itself now, or None."""
        return self._attempt(lambda: self.inner.latest(key), None)

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``, as far as can be told."""
        return self._attempt(lambda: self.inner.contains(key), False)

    def get_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each key, in the order given, with its row or None."""
        for page in pages(keys, _ASKED_AT_ONCE):
            missing: list[tuple[bytes, bytes | None]] = [(key, None) for key in page]
            yield from self._attempt(lambda: list(self.inner.get_many(page)), missing)  # noqa: B023

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, if the server is there."""
        self._attempt(lambda: self.writer().put(key, row), None)

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows, if the server is there."""
        rows = list(items)
        self._attempt(lambda: self.writer().put_many(rows), None)

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        return self._attempt(lambda: self.writer().delete(key), False)

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row if it is the one that was seen; nobody objects in an outage."""
        return self._attempt(lambda: self.writer().compare_and_set(key, etag, row), True)

    def sibling(self, table: str) -> Engine:  # type: ignore[override]
        """Return a sibling that forgives too."""
        return ForgivingEngine(self.inner.sibling(table), self._outage)


class ForgivingResults(ForgivingEngine):
    """The results of a function, while their server may be away.

    What somebody wants to be gone must not stay unnoticed: removing raises as ever.

    Args:
        stash: the results.
    """

    def __init__(self, stash: FunctionStash) -> None:
        super().__init__(stash._engine, outage_of(stash._engine))
        self._stash = stash

    def writer(self) -> Engine:
        """Return what rows are written to: versions, where they are kept."""
        return self._stash._writer or self._stash._open_writer()

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None; a copy close by may need no server."""
        row = self._attempt(lambda: self.inner.get(key), None)
        if row is None and isinstance(self.inner, NearEngine):
            return self.inner.unasked(key)
        return row

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        return self.writer().delete(key)

    def clear(self) -> None:
        """Remove all results."""
        self.writer().clear()


def forgiving(stash: FunctionStash) -> FunctionStash:
    """Return the same results for callers that do without them while their server is away."""
    made = object.__new__(type(stash))
    vars(made).update(vars(stash))
    made._engine = made._writer = engine = ForgivingResults(stash)
    made._get = engine.get
    return made

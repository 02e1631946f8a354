"""Claims: leases of many calls taken together, and results that are stored together.

Where an engine has transactions, a hundred leases cost little more than one. What must not
suffer is everybody else: whoever waits for a call that is claimed and has not begun gets it,
and results do not wait for a slow call that comes after theirs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from hashstash.engines.base import Engine
from hashstash.errors import HashStashError

from .leases import Lease, Lessor
from .renewing import renewer

R = TypeVar("R")

EARLY = 0.25
"""Seconds that results wait for others to be stored with, at the most."""

Settle = Callable[[Any, Exception | None], None]


class Claim:
    """The right to compute some calls, one after another on one thread.

    Args:
        lessor: gives out the leases.
        results: where results are stored.
        settle: is told the tag of each call whose result is stored, or could not be, and why.
    """

    def __init__(self, lessor: Lessor, results: Engine, settle: Settle) -> None:
        self._lessor, self._results, self._settle = lessor, results, settle
        self._lock = threading.RLock()
        self._held: dict[bytes, Lease] = {}
        self._begun: Lease | None = None
        self._row: bytes | None = None
        self._done: list[_Done] = []
        self._stored_at = time.monotonic()

    @property
    def pace(self) -> float:
        """How many seconds may go by before somebody looks after it."""
        return EARLY / 2

    def take(self, keys: Iterable[bytes], is_good: Callable[[bytes, bytes], bool]) -> set[bytes]:
        """Take the leases that nobody has; return the keys whose results are there already.

        Args:
            keys: stored keys of the calls.
            is_good: tells whether a row, under a key, is a result that may be used.
        """
        sheet = self._lessor.sheet()
        with self._lessor.table.transaction():
            leases = [self._lessor.lease(key, sheet) for key in keys]
            held = {lease.key: lease for lease in leases if lease.take()}
        self._held = dict(held)
        _open.add(self)
        renewer.add(self)
        try:
            # they may have come between an earlier look and our leases
            rows = self._results.get_many(held)
            found = {key for key, row in rows if row is not None and is_good(row, key)}
        except BaseException:
            self.end()
            raise
        with self._lock:
            for key in found:
                if (lease := self._held.pop(key, None)) is not None:
                    self._done.append(_Done(lease, None, None, None))
        return found

    def holds(self, key: bytes) -> bool:
        """Tell whether the call has been taken, and not been begun or given up."""
        return key in self._held

    def run(self, key: bytes, work: Callable[[], R]) -> R:
        """Return what ``work`` returns, which computes a call that has been begun."""
        try:
            return work()
        except BaseException as exc:
            with self._lock:
                begun, self._begun, self._row = self._begun, None, None
                if begun is not None:
                    self._done.append(_Done(begun, None, exc, None))
            raise

    def begin(self, key: bytes) -> bool:
        """Tell whether the call is ours to compute, which begins now."""
        with self._lock:
            self._begun = self._held.pop(key, None)
            return self._begun is not None

    def put(self, key: bytes, row: bytes) -> None:
        """Store a result: soon, if it is that of the call that was begun, and at once if not."""
        if self._begun is not None and self._begun.key == key:
            self._row = row
        else:
            self._results.put(key, row)

    def finish(self, tag: object) -> bool:
        """End the call that was begun; report whether its result is yet to be stored.

        Args:
            tag: what ``settle`` is told when it is.
        """
        with self._lock:
            begun, row, self._begun, self._row = self._begun, self._row, None, None
            if begun is None:
                return False
            self._done.append(_Done(begun, row, None, tag))
        return row is not None

    def lend(self, key: bytes) -> Lease | None:
        """Return the lease of a call that has not begun: another thread of ours computes it."""
        with self._lock:
            return self._held.pop(key, None)

    def store(self) -> None:
        """Store what is done, and release its leases."""
        settled: list[tuple[object, Exception | None]] = []
        with self._lock:
            done, self._done = self._done, []
            self._stored_at = time.monotonic()
            if done:
                try:
                    self._store_together(done)
                    settled = [(one.tag, None) for one in done if one.row is not None]
                except HashStashError:
                    ends = [(one, _store_alone(one, self._results)) for one in done]
                    settled = [(one.tag, error) for one, error in ends if one.row is not None]
        for tag, error in settled:
            self._settle(tag, error)

    def give_up(self) -> None:
        """Release the leases of what has not begun; it is computed one by one, by anybody."""
        with self._lock:
            held, self._held = self._held, {}
            if held:
                with self._lessor.table.transaction():
                    for lease in held.values():
                        lease.release()

    def end(self) -> None:
        """Store what is done, and hold nothing any more."""
        try:
            self.store()
        finally:
            renewer.drop(self)
            _open.drop(self)
            try:
                self.give_up()
            except HashStashError:
                pass  # their terms will end

    def tick(self, now: float) -> None:
        """Keep nobody waiting for what is done, or has not begun, while a call takes long."""
        if not self._lock.acquire(blocking=False):
            return  # it is at it; other leases must not wait
        try:
            if now - self._stored_at > EARLY:
                self.store()
                self.give_up()
            if self._begun is not None:
                self._begun.tick(now)
        finally:
            self._lock.release()

    def _store_together(self, done: list[_Done]) -> None:
        rows = [(one.lease.key, one.row) for one in done if one.row is not None]
        with self._results.transaction():
            self._results.put_many(rows)
            for one in done:
                one.release()


class _Done:
    """A call that ended: its row to be stored, if it has one, or what it raised."""

    __slots__ = ("error", "lease", "row", "tag")

    def __init__(
        self, lease: Lease, row: bytes | None, error: BaseException | None, tag: object
    ) -> None:
        self.lease, self.row, self.error, self.tag = lease, row, error, tag

    def release(self) -> None:
        """Give its lease up."""
        if self.error is None:
            self.lease.release()
        else:
            self.lease.fail(self.error)


def _store_alone(one: _Done, results: Engine) -> Exception | None:
    """Store what could not be stored together with others; return what went wrong."""
    try:
        if one.row is not None:
            results.put(one.lease.key, one.row)
    except HashStashError as exc:
        one.error = exc
    try:
        one.release()
    except HashStashError:
        pass  # its term will end
    return one.error if isinstance(one.error, Exception) else None


class _Open:
    """The claims of this process."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, in a child after a fork."""
        self._claims: dict[Claim, None] = {}

    def add(self, claim: Claim) -> None:
        self._claims[claim] = None

    def drop(self, claim: Claim) -> None:
        self._claims.pop(claim, None)

    def lend(self, lessor: Lessor, key: bytes) -> Lease | None:
        """Return the lease of a call that one of the claims holds and has not begun."""
        if not self._claims:
            return None
        for claim in list(self._claims):
            if claim._lessor.table.place == lessor.table.place:
                lease = claim.lend(key)
                if lease is not None:
                    return lease
        return None

    def settle(self) -> None:
        """Have others wait for nothing that this process holds, as it is going to wait itself."""
        for claim in list(self._claims):
            claim.store()
            claim.give_up()


_open = _Open()
lend, settle_all = _open.lend, _open.settle
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.begin_anew)

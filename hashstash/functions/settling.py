"""Which calls of a map are answered, by the stash or by workers, and what is made of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from hashstash.errors import HashStashError

from .chunks import FAILED, FOUND, UNBEGUN, UNSTORABLE, VALUE, Outcome
from .flight import AbandonedError
from .lookup import Lookup
from .refreshing import warn_of_refresh
from .runs import NOTHING, Run, Runs

if TYPE_CHECKING:
    from .progress import Progress


class Settler:
    """Ends the calls of a map.

    Args:
        runs: the calls.
        lookup: finds their results.
        progress: is told of every call that ends.
        stashed: whether results of single calls are stored.
        stores: whether that is for this process to do, as workers cannot.
    """

    def __init__(
        self, runs: Runs, lookup: Lookup, progress: Progress, *, stashed: bool, stores: bool
    ) -> None:
        self._runs, self._lookup, self._progress = runs, lookup, progress
        self._stashed, self._stores = stashed, stores
        self._target = lookup.target
        self._twins: dict[bytes, list[Run]] = {}
        self._joined: set[bytes] = set()
        self.elsewhere: dict[Future[Any], Run] = {}
        """Calls that somebody else in this process computes: what to wait for."""
        self.stale: deque[Run] = deque()
        """Calls that are answered, but are to be computed anew."""
        self.problems: list[str] = []
        """Why results could not be stored."""

    def look_up(self, page: list[Run], *, preload: bool) -> list[Run]:
        """End the calls whose results are stored; return those to be computed, equals once."""
        page = self._callable(page)
        if not self._stashed:
            return page
        ended, left = [], []
        rows = self._lookup.rows(page, 0) if preload else ((run, None) for run in page)
        for run, row in rows:
            stored = self._lookup.stored(run)
            if row is not None:
                run.was_cached = True
                ended.append(run)
                if self._lookup.stashed.is_stale(row):
                    self.stale.append(run)
            elif stored in self._twins:
                self._twins[stored].append(run)
            elif self._raised_before(stored, run):
                ended.append(run)
            else:
                self._twins[stored] = []
                left.append(run)
        self.end(ended)
        return left

    def forget(self) -> None:
        """Forget the calls that are to be computed: they are looked up anew."""
        self._twins.clear()

    def _callable(self, page: list[Run]) -> list[Run]:
        """Find the keys of calls; one that the function does not take has failed already."""
        found, failed = [], []
        for run in page:
            try:
                if self._stashed:
                    self._lookup.stored(run)
                else:
                    self._lookup.check(run)
                found.append(run)
            except Exception as exc:  # noqa: BLE001 - it is the item's, told where it is asked for
                run.error = exc
                failed.append(run)
        self.end(failed)
        return found

    def _raised_before(self, stored: bytes, run: Run) -> bool:
        """Find the exception that is kept for a call; workers that store look for themselves."""
        if self._stores and self._target.kept:
            run.error = self._target.kept_error(stored)
        return run.error is not None

    # -- for results that this process stores -----------------------------------------------

    def join(self, chunk: list[Run], since: int) -> list[Run]:
        """Return the calls that nobody else in this process computes; others wait for them.

        Only for results that this process stores by itself: elsewhere workers have leases.
        """
        flight = self._target.flight
        if not self._stores or flight is None:
            return chunk
        mine = []
        for run in chunk:
            stored = self._lookup.stored(run)
            if stored in self._joined:
                mine.append(run)
            elif (other := flight.join(stored)) is not None:
                self.elsewhere[other] = run
            elif self._target.latest_row(stored, since) is not None:  # it has come since we looked
                flight.leave(stored, error=AbandonedError())
                self.settle([run], [(FOUND, None)])
            else:
                self._joined.add(stored)
                mine.append(run)
        return mine

    def leave(self, stored: bytes) -> None:
        """Let those who wait for a call look for themselves."""
        if stored in self._joined:
            self._joined.discard(stored)
            assert self._target.flight is not None
            self._target.flight.leave(stored, error=AbandonedError())

    def leave_all(self) -> None:
        """Let nobody wait any more."""
        for stored in list(self._joined):
            self.leave(stored)

    def _store(self, run: Run) -> None:
        """Store what a worker sent back, and let others of this process have it."""
        stored = self._lookup.stored(run)
        assert run.address is not None
        try:
            if run.error is None and run.value is not NOTHING:
                key_part = self._target.key_part(run.address, run.key)
                problem = self._target.store(stored, key_part, run.value)
                if problem is None:
                    run.value = NOTHING
                elif problem:
                    self.problems.append(problem)
            elif isinstance(run.error, Exception) and isinstance(run.error, self._target.kept):
                self._target.keep_error(stored, run.error)
        except HashStashError as exc:
            run.error = exc
        finally:
            self.leave(stored)

    # -- what came of it --------------------------------------------------------------------

    def settle(self, runs: Sequence[Run], outcomes: Sequence[Outcome]) -> None:
        """End calls as it came out."""
        ended = []
        for run, (code, value) in zip(runs, outcomes, strict=True):
            if run.done or code == UNBEGUN:
                continue
            self._note(run, code, value)
            if self._stores:
                self._store(run)
            ended.append(run)
            if self._stashed:
                for twin in self._twins.pop(self._lookup.stored(run), ()):
                    twin.error, twin.value, twin.was_cached = run.error, run.value, run.was_cached
                    ended.append(twin)
        self.end(ended)

    def _note(self, run: Run, code: int, value: Any) -> None:
        if code == FAILED:
            run.error = value
        elif code == VALUE:
            run.value = value
        elif code == UNSTORABLE:
            run.value, problem = value
            if problem:
                self.problems.append(problem)
        elif code == FOUND:
            run.was_cached = True

    def end(self, ended: list[Run]) -> None:
        """Let those who wait know that calls have ended."""
        shown = [run for run in ended if run.index >= 0]
        for run in ended:
            if run.index < 0:  # it was computed anew, and nobody waits for it
                run.done = True
                if isinstance(run.error, Exception):
                    warn_of_refresh(repr(self._lookup.stashed.__wrapped__), run.error)
        if shown:
            self._runs.end(shown)
            self._progress.add(len(shown))

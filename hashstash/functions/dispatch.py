"""Which calls of a map are run when, together with which others, and again after a fault."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from itertools import islice
from typing import TYPE_CHECKING, Any

from hashstash.errors import HashStashError

from .chunks import FAILED, STORED, UNBEGUN, Outcome
from .jobs import Job
from .lookup import Lookup
from .pools import Pool, pool_of
from .runs import SLICE, Run, Runs
from .settling import Settler
from .workers import JobError

if TYPE_CHECKING:
    from .maps import MapOptions

LOOKED_UP = 256
"""How many results are looked up together."""
CHUNK_SECONDS = 0.05
"""How long a chunk of calls should take: long enough for its way to be cheap."""
LARGEST_CHUNK = 1000
SHARES = 8
"""Into how many chunks a worker's share is cut at the least when the end is near, so that nobody
waits for one chunk."""
PER_WORKER = 2
"""How many chunks are under way for each worker."""
OVERDUE = 1.0
"""Seconds after which a chunk's results are looked for in the stash, while a slow call in it
keeps it from coming back."""


class WorkerDiedError(HashStashError):
    """A worker process died while it ran this call, and once more when it was tried again."""


class _Flying:
    """A chunk under way."""

    def __init__(self, chunk: list[Run], since: int) -> None:
        self.chunk, self.since = chunk, since
        self.looked = time.monotonic()


class Dispatcher:
    """Runs the calls of a map.

    Args:
        runs: the calls.
        job: what is common to them.
        lookup: makes them ready for workers.
        settler: is told how they end.
        settings: how the map works.
        alone: whether the thread that calls ``drive`` runs them itself.
    """

    def __init__(
        self, runs: Runs, job: Job, lookup: Lookup, settler: Settler, settings: MapOptions,
        *, alone: bool,
    ) -> None:  # fmt: skip
        self._runs, self._job, self._lookup, self._settler = runs, job, lookup, settler
        self._settings, self._alone = settings, alone
        self._pool: Pool | None = None
        self._chunk = 1
        self._since = 0
        self._todo: deque[Run] = deque()
        self._retries: deque[Run] = deque()
        self._flying: dict[Future[Any], _Flying] = {}
        self._exhausted = False

    def drive(self, source: Iterator[Run], *, look: bool, since: int) -> None:
        """Run the calls that ``source`` yields, until all have ended or the map is cancelled.

        Args:
            source: calls that have not ended.
            look: whether results that are stored are looked up first, many at a time.
            since: results from before this time (ns since the epoch) are computed anew.
        """
        self._exhausted, self._since = False, since
        while not self._runs.cancelled:
            self._fill(source, look=look)
            if self._alone:
                self._run_here()
            else:
                self._submit_some()
                self._take_some()
            if not (self._todo or self._retries or self._flying or self._settler.elsewhere):
                if self._exhausted:
                    return
                with self._runs.changed:
                    if not self._runs.has_room():
                        self._runs.changed.wait(SLICE)

    def stop(self) -> None:
        """Begin nothing more, and end workers of our own at once."""
        if self._pool is not None:
            self._pool.stop()
        for future in list(self._flying):
            future.cancel()

    def finish(self) -> None:
        """Let everything go."""
        if self._pool is not None:
            if self._runs.cancelled:
                self.stop()
            self._pool.finish()

    def _fill(self, source: Iterator[Run], *, look: bool) -> None:
        """Take more objects, and look their results up, as long as there is room."""
        width = 1 if self._pool is None else self._pool.width
        most = max(LOOKED_UP, self._chunk * width * PER_WORKER * 2)
        while not self._exhausted and len(self._todo) < most and self._runs.has_room():
            page = list(islice(source, LOOKED_UP))
            self._exhausted = len(page) < LOOKED_UP
            self._todo.extend(self._settler.look_up(page, preload=look))

    # -- running ----------------------------------------------------------------------------

    def _run_here(self) -> None:
        """Run a chunk on this thread; each call is told of when its result is stored."""
        if not self._todo:
            return
        chunk = self._next_chunk(1)
        start = time.perf_counter()

        def settle(number: int, outcome: Outcome) -> None:
            self._settler.settle([chunk[number]], [outcome])

        tasks = [self._lookup.task(run) for run in chunk]
        self._job.run_chunk(tasks, settle, CHUNK_SECONDS, self._since)
        self._put_back(chunk)
        self._adapt(time.perf_counter() - start, sum(run.done for run in chunk))

    def _submit_some(self) -> None:
        """Keep workers busy; a call that a worker may have died of is alone with them."""
        if self._retries:
            if not self._flying:
                self._submit([self._retries.popleft()], self._since)
            return
        if not self._todo:
            return
        if self._pool is None:
            self._pool = pool_of(self._job, self._settings.num_proc, self._settings.executor)
        width = self._pool.width
        while self._todo and len(self._flying) < width * PER_WORKER:
            self._submit(self._next_chunk(width), self._since)

    def _next_chunk(self, width: int) -> list[Run]:
        size = min(self._chunk, len(self._todo))
        if self._exhausted:
            size = min(size, max(1, len(self._todo) // (width * SHARES)))
        return [self._todo.popleft() for _ in range(size)]

    def _submit(self, chunk: list[Run], since: int) -> None:
        assert self._pool is not None
        chunk = self._settler.join(chunk, since)
        if not chunk:
            return
        tasks = [self._lookup.task(run) for run in chunk]
        seconds = CHUNK_SECONDS if self._pool.grows else 0.0
        try:
            future = self._pool.submit(tasks, seconds, since)
        except BrokenExecutor:  # it broke since: what is flying tells of it
            if not self._pool.restarts:
                raise
            self._pool.stop()
            future = self._pool.submit(tasks, seconds, since)
        self._flying[future] = _Flying(chunk, since)

    # -- what comes back --------------------------------------------------------------------

    def _take_some(self) -> None:
        elsewhere = self._settler.elsewhere
        waiting = [*self._flying, *elsewhere]
        if not waiting:
            return
        done, _ = wait(waiting, timeout=SLICE, return_when=FIRST_COMPLETED)
        for future in done:
            if future in elsewhere:
                self._todo.append(elsewhere.pop(future))  # stored now, or ours to compute
            elif future in self._flying:
                self._take(future)
        self._look_for_overdue()

    def _take(self, future: Future[Any]) -> None:
        assert self._pool is not None
        flying = self._flying.pop(future)
        chunk = flying.chunk
        try:
            found = self._pool.outcomes(future)
        except JobError:
            raise
        except BrokenExecutor as exc:
            if not self._runs.cancelled:
                self._begin_again(chunk, exc)
            return
        except Exception as exc:  # noqa: BLE001 - the executor's, or a result that cannot be read
            if not self._runs.cancelled:
                self._retry(chunk, exc)
            return
        if found is None:  # the worker asks for the job
            self._submit(chunk, flying.since)
            return
        elapsed, outcomes = found
        self._settler.settle(chunk, outcomes)
        self._put_back(chunk)
        self._adapt(elapsed, sum(code != UNBEGUN for code, _ in outcomes))

    def _put_back(self, chunk: list[Run]) -> None:
        """Put back what was not begun, in order."""
        self._todo.extendleft(run for run in reversed(chunk) if not run.done)

    def _begin_again(self, chunk: list[Run], exc: BaseException) -> None:
        """Begin with new workers, after one died; what was under way is tried one by one."""
        assert self._pool is not None
        if not self._pool.restarts:
            raise exc
        lost = [*chunk, *(run for flying in self._flying.values() for run in flying.chunk)]
        self._flying.clear()
        self._pool.stop()
        died = WorkerDiedError(
            "The worker process died twice during this call: killed, out of memory, or crashed "
            "in native code"
        )
        died.__cause__ = exc
        self._retry(lost, died)

    def _retry(self, runs: list[Run], error: BaseException) -> None:
        """Try calls again one by one; one that was alone and failed again is to blame."""
        for run in runs:
            if run.done:
                continue
            run.deaths += 1
            if run.deaths > 1 and len(runs) == 1:
                self._settler.settle([run], [(FAILED, error)])
            else:
                self._retries.append(run)

    def _adapt(self, elapsed: float, number: int) -> None:
        """Choose how many calls are sent together, by how long these took."""
        if self._pool is None or self._pool.grows:
            wanted = CHUNK_SECONDS / max(elapsed / max(number, 1), 1e-9)
            self._chunk = max(1, min(int(wanted), self._chunk * 4, LARGEST_CHUNK))

    def _look_for_overdue(self) -> None:
        """End calls whose results are stored, while a slow one keeps their chunk from coming."""
        if not self._job.store:
            return
        now = time.monotonic()
        for flying in self._flying.values():
            if now - flying.looked > OVERDUE and len(flying.chunk) > 1:
                flying.looked = now
                left = [run for run in flying.chunk if not run.done]
                rows = self._lookup.rows(left, flying.since)
                there = [run for run, row in rows if row is not None]
                self._settler.settle(there, [(STORED, None)] * len(there))

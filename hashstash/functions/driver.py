"""What drives a map: it takes objects, looks results up, and keeps workers busy."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from itertools import islice
from typing import TYPE_CHECKING, Any

from hashstash.errors import HashStashError
from hashstash.expiry import is_expired
from hashstash.keys import stored_key

from .pools import Pool, default_processes
from .workers import FAILED, STORED, Job, Outcome, Task

if TYPE_CHECKING:
    from .function_stash import FunctionStash
    from .maps import MapOptions
    from .progress import Progress
    from .results import StashedFunction

Call = tuple[tuple[Any, ...], dict[str, Any]]

LOOKED_UP = 256
"""How many results are looked up together."""
WINDOW = 10_000
"""How many results of an iterator's objects wait to be taken, before no more are computed."""
CHUNK_SECONDS = 0.05
"""How long a chunk of calls should take: long enough for its way to be cheap."""
LARGEST_CHUNK = 1000
SHARES = 8
"""Into how many chunks a worker's share is cut at the least, so that nobody waits for a chunk
when there is little to do."""
PER_WORKER = 2
"""How many chunks are under way for each worker."""

PENDING, ENDED = 0, 1
_NOTHING: Any = object()


class WorkerDiedError(HashStashError):
    """A worker process died while it ran this call, and once more when it was tried again."""


class MapCancelledError(HashStashError):
    """The map was cancelled before this call ended."""


class Run:
    """The state of one call of a map."""

    __slots__ = (
        "address",
        "args",
        "deaths",
        "error",
        "index",
        "key",
        "kwargs",
        "state",
        "value",
        "was_cached",
    )

    def __init__(self, index: int, call: Call) -> None:
        self.index = index
        self.args, self.kwargs = call
        self.key: Any = None
        self.address: tuple[bytes, bytes | None] = (b"", None)
        self.state = PENDING
        self.value: Any = _NOTHING
        self.error: BaseException | None = None
        self.was_cached = False
        self.deaths = 0

    @property
    def stored(self) -> bytes:
        """The stored key of the result."""
        return self.address[0]

    @property
    def done(self) -> bool:
        """Whether the call has ended."""
        return self.state == ENDED


class WholeMap:
    """The results of a whole map, stored together.

    Args:
        stash: the stash of the function's results.
        keys: the stored keys of all calls, in order.
    """

    def __init__(self, stash: FunctionStash, keys: list[bytes]) -> None:
        self._stash, self._table = stash, stash._engine.sibling("maps")
        self._key, _ = stored_key(("map", keys))

    def load(self) -> list[Any] | None:
        """Return the results, if they are stored."""
        row = self._table.get(self._key)
        found = None if row is None else self._stash._decode(row, self._key)
        return found if isinstance(found, list) else None

    def store(self, results: list[Any]) -> None:
        """Store the results."""
        self._table.put(self._key, self._stash._encode(results, self._key))


class Driver:
    """Runs the calls of a map on a thread of its own.

    Args:
        stashed: the function.
        calls: arguments and keyword arguments of each call.
        total: how many there are, if that is known; otherwise they are forgotten once taken.
        common: keyword arguments of every call.
        settings: how the map works.
        progress: is told of every call that ends.
    """

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        stashed: StashedFunction[..., Any],
        calls: Iterator[Call],
        total: int | None,
        common: dict[str, Any],
        settings: MapOptions,
        progress: Progress,
    ) -> None:
        self.total = total
        self._stashed, self._common, self._settings = stashed, common, settings
        self._progress = progress
        self._stash = stashed.stash
        self._calls = enumerate(calls)
        self._keeps = total is not None
        private = self._stash._engine.private
        self._num_proc = settings.num_proc or default_processes()
        in_process = settings.executor is None and self._num_proc == 1
        # Nobody else sees the rows of a private engine: its own process has to store them.
        self._parent_stores = settings.stash_runs and private and not in_process
        store = settings.stash_runs and not self._parent_stores
        self._job = Job(stashed, common, store, settings.force)
        self._changed = threading.Condition()
        self._runs: dict[int, Run] = {}
        self._ended: deque[Run] = deque()
        self._twins: dict[bytes, list[Run]] = {}
        self._unfinished = 0
        self._exhausted = self._cancelled = self._hurry = False
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._pool: Pool | None = None
        self._whole: WholeMap | None = None
        self._chunk = 1

    # -- for the map ------------------------------------------------------------------------

    def begin(self, *, compute: bool) -> None:
        """Take all objects if they are known in number; compute if that is wanted now."""
        if self._keeps:
            self._runs = {index: Run(index, call) for index, call in self._calls}
            self._calls = iter(())  # type: ignore[assignment]
            self.total = len(self._runs)
            self._unfinished = self.total
        if self._keeps and self._settings.stash_map:
            runs = list(self._runs.values())
            if all(self._is_callable(run) for run in runs):
                self._whole = WholeMap(self._stash, [run.stored for run in runs])
            if self._whole is not None and not self._settings.force:
                for run, value in zip(runs, self._whole.load() or (), strict=False):
                    run.value, run.was_cached = value, True
                    self._end(run)
        if compute:
            self._start()
        elif self._settings.preload and self._keeps and not self._settings.force:
            self._look_up(list(self._runs.values()))
            self._twins.clear()

    def iterate(self, *, ordered: bool) -> Iterator[Run]:
        """Yield the calls as they end, or in order, each when it has ended."""
        self._start()
        if self._keeps:
            yield from self._in_order() if ordered else self._as_they_end()
        else:
            yield from self._forgetting(ordered=ordered)

    def wait_for(self, run: Run) -> None:
        """Wait until ``run`` has ended."""
        self._start()
        with self._changed:
            while not run.done:
                self._changed.wait(0.2)
                self._raise_failure()

    def wait(self, timeout: float | None) -> bool:
        """Wait until all calls have ended; report whether they have."""
        if timeout != 0:
            self._start()
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._hurry = self._hurry or timeout is None
            while not self._is_over():
                left = 0.2 if end is None else min(0.2, end - time.monotonic())
                if left <= 0:
                    return False
                self._changed.wait(left)
            self._raise_failure()
            return True

    def value_of(self, run: Run) -> Any:
        """Return the result of a call that has ended well."""
        if run.value is not _NOTHING:
            return run.value
        found = self._stash.get(run.key, _NOTHING)
        if found is _NOTHING:
            raise KeyError(f"The result of item {run.index} was removed from {self._stash!r}")
        return found

    def all_runs(self) -> list[Run]:
        """Return all calls, in order."""
        return list(self._runs.values())

    def known(self, most: int) -> list[Run]:
        """Return the first calls that are in memory."""
        with self._changed:
            return list(islice(self._runs.values(), most))

    def cancel(self) -> None:
        """Stop at once; calls that have not ended never will."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
        pool = self._pool
        if pool is not None:
            pool.stop()

    # -- ways to take results ---------------------------------------------------------------

    def _in_order(self) -> Iterator[Run]:
        for run in list(self._runs.values()):
            self.wait_for(run)
            yield run

    def _as_they_end(self) -> Iterator[Run]:
        given = 0
        while True:
            with self._changed:
                while len(self._ended) <= given and not self._is_over():
                    self._changed.wait(0.2)
                self._raise_failure()
                ready = list(islice(self._ended, given, None))
            if not ready:
                return
            given += len(ready)
            yield from ready

    def _forgetting(self, *, ordered: bool) -> Iterator[Run]:
        expected = 0
        while True:
            with self._changed:
                while (run := self._next(expected if ordered else None)) is None:
                    if self._is_over():
                        self._raise_failure()
                        return
                    self._changed.wait(0.2)
                self._changed.notify_all()
            expected += 1
            yield run

    def _next(self, index: int | None) -> Run | None:
        """Take a call that has ended out of memory; the one of ``index``, if that is given."""
        if index is None:
            run = self._ended.popleft() if self._ended else None
        else:
            run = self._runs.get(index)
            if run is not None and not run.done:
                return None
        if run is not None:
            self._runs.pop(run.index, None)
        return run

    def _is_over(self) -> bool:
        if self._cancelled or self._failure is not None:
            return True
        return self._unfinished == 0 and (self._keeps or self._exhausted)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._cancelled and self._unfinished:
            raise MapCancelledError("The map was cancelled; what was done is kept")

    # -- the thread -------------------------------------------------------------------------

    def _start(self) -> None:
        with self._changed:
            if self._thread is not None or self._cancelled:
                return
            self._thread = threading.Thread(target=self._work, name="hashstash-map", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._drive()
            if self._whole is not None and not self._cancelled:
                runs = list(self._runs.values())
                if all(run.error is None for run in runs):
                    self._whole.store([self.value_of(run) for run in runs])
        except BaseException as exc:  # noqa: BLE001 - told to whoever waits for results
            with self._changed:
                if not self._cancelled:
                    self._failure = exc
                self._changed.notify_all()
        finally:
            if self._pool is not None:
                self._pool.stop() if self._cancelled else self._pool.finish()
            self._progress.close()

    def _drive(self) -> None:
        todo: deque[Run] = deque()
        flying: dict[Future[Any], list[Run]] = {}
        alone: deque[Run] = deque()  # calls during which a worker died: tried again one by one
        source = self._source()
        while not self._cancelled:
            self._fill(source, todo)
            if alone and not flying:
                self._submit([alone.popleft()], flying)
            while todo and not alone and len(flying) < self._width() * PER_WORKER:
                size = min(self._chunk, max(1, len(todo) // (self._width() * SHARES)))
                self._submit([todo.popleft() for _ in range(min(size, len(todo)))], flying)
            if not flying:
                if self._exhausted and not todo and not alone:
                    return
                with self._changed:
                    self._changed.wait(0.05)
                continue
            done, _ = wait(list(flying), timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                if future in flying:
                    self._take(future, flying, alone)

    def _source(self) -> Iterator[Run]:
        if self._keeps:
            yield from [run for run in self._runs.values() if not run.done]
            return
        for index, call in self._calls:
            run = Run(index, call)
            with self._changed:
                self._runs[index] = run
                self._unfinished += 1
            yield run

    def _fill(self, source: Iterator[Run], todo: deque[Run]) -> None:
        """Take more objects, and look their results up, as long as there is room."""
        most = max(LOOKED_UP, self._chunk * self._width() * PER_WORKER)
        while not self._exhausted and len(todo) < most:
            if not self._keeps and not self._hurry and len(self._runs) > WINDOW:
                return
            page = list(islice(source, LOOKED_UP))
            if len(page) < LOOKED_UP:
                self._exhausted = True
                if not self._keeps and page:
                    self.total = page[-1].index + 1
            todo.extend(self._look_up(page))
            if not page:
                with self._changed:
                    self._changed.notify_all()

    def _look_up(self, page: list[Run]) -> list[Run]:
        """End the calls whose results are stored; return those to be computed, twins once."""
        left = []
        page = [run for run in page if self._is_callable(run)]
        if not self._settings.stash_runs:
            return page
        rows: dict[bytes, bytes | None] = {}
        if self._settings.preload and not self._settings.force:
            rows = dict(self._stash._engine.get_many([run.stored for run in page]))
        for run in page:
            row = rows.get(run.stored)
            if row is not None and not is_expired(row, run.stored):
                run.was_cached = True
                self._end(run)
            elif run.stored in self._twins:
                self._twins[run.stored].append(run)
            else:
                self._twins[run.stored] = []
                left.append(run)
        return left

    def _is_callable(self, run: Run) -> bool:
        """Find the key of a call; one that the function does not take has failed already."""
        try:
            call = self._stashed.complete(run.args, {**self._common, **run.kwargs})
            run.key = self._stash.call_key(*call)
            run.address = stored_key(run.key)
        except Exception as exc:  # noqa: BLE001 - it is the item's, and told where it is asked for
            run.error = exc
            self._end(run)
            return False
        return True

    def _submit(self, chunk: list[Run], flying: dict[Future[Any], list[Run]]) -> None:
        if self._pool is None:
            self._pool = Pool(self._job, self._num_proc, self._settings.executor)
        tasks = [Task(run.args, run.kwargs, run.key, run.address) for run in chunk]
        try:
            flying[self._pool.submit(tasks)] = chunk
        except BrokenExecutor:  # it broke since: what is flying tells of it
            self._pool.restart()
            flying[self._pool.submit(tasks)] = chunk

    def _width(self) -> int:
        return self._pool.width if self._pool is not None else self._num_proc

    def _take(
        self, future: Future[Any], flying: dict[Future[Any], list[Run]], alone: deque[Run]
    ) -> None:
        assert self._pool is not None
        chunk = flying.pop(future)
        try:
            elapsed, outcomes = self._pool.outcomes(future)
        except (BrokenExecutor, CancelledError) as exc:
            if self._cancelled:
                return
            if self._settings.executor is not None:
                raise
            lost = [chunk, *flying.values()]
            flying.clear()
            self._pool.restart()
            self._retry([run for runs in lost for run in runs], alone, exc)
            return
        self._adapt(elapsed, len(chunk))
        for run, outcome in zip(chunk, outcomes, strict=True):
            self._settle(run, outcome)

    def _retry(self, runs: list[Run], alone: deque[Run], exc: BaseException) -> None:
        """Try calls again that a dying worker took along; one that was alone is to blame."""
        for run in runs:
            run.deaths += 1
            if run.deaths > 1 and len(runs) == 1:
                error = WorkerDiedError(
                    f"The worker process died twice at item {run.index}: killed, out of memory, "
                    "or crashed in native code"
                )
                error.__cause__ = exc
                run.error = error
                self._end(run)
            else:
                alone.append(run)

    def _adapt(self, elapsed: float, size: int) -> None:
        assert self._pool is not None
        if self._pool.in_process:
            return  # one at a time: there is no way to save, and each is told of at once
        if elapsed < CHUNK_SECONDS / 2 and size >= self._chunk:
            self._chunk = min(self._chunk * 4, LARGEST_CHUNK)
        elif elapsed > CHUNK_SECONDS * 2:
            self._chunk = max(1, self._chunk // 2)

    def _settle(self, run: Run, outcome: Outcome) -> None:
        kind, value = outcome
        if kind == FAILED:
            run.error = value[0] if isinstance(value, tuple) else value
        elif kind != STORED:
            run.value = value
            if self._parent_stores:
                self._stash[run.key] = value
                run.value = _NOTHING
        self._end(run)
        for twin in self._twins.pop(run.stored, ()):
            twin.error, twin.value = run.error, run.value
            self._end(twin)

    def _end(self, run: Run) -> None:
        with self._changed:
            run.state = ENDED
            self._unfinished -= 1
            self._ended.append(run)
            self._changed.notify_all()
        self._progress.add(1)

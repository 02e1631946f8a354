"""Where the calls of a map are run: worker processes of our own, threads, or any executor."""

from __future__ import annotations

import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from time import monotonic, perf_counter
from typing import Any

from hashstash.origin import MAIN_FILE, MAIN_NAME

from .chunks import LARGE, UNBEGUN, Outcome, Task, pack, pack_tasks, unpack_outcomes
from .jobs import Job, pack_job
from .workers import Parcel, Shelf, digest_of, prepare, run_chunk

Chunk = tuple[float, list[Outcome]]

GRACE = 2.0
"""Seconds that a worker process has to end after it was asked to, before it is killed."""

_ASK_AGAIN = 5.0
"""Seconds after which a cluster is asked again how many workers it has."""

_starting = threading.Lock()


def default_processes() -> int:
    """Return how many processes a map uses unless told: all but two, and at least one."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    return max(1, cores - 2)


def pool_of(job: Job, num_proc: int | None, executor: Executor | None) -> Pool:
    """Return where to run the calls of ``job``."""
    if executor is None:
        return OwnProcesses(job, num_proc or default_processes())
    if runs_here(executor):
        return Threads(job, executor, num_proc)
    return Foreign(job, executor, num_proc)


def runs_here(executor: Executor | None) -> bool:
    """Tell whether an executor runs calls on threads of this process."""
    return isinstance(executor, ThreadPoolExecutor)


class Pool(ABC):
    """Runs chunks of a map's calls in one place.

    Args:
        job: what is common to all calls.
    """

    grows = True
    """Whether it pays to send many small calls together."""
    restarts = False
    """Whether it can begin with new workers, after one died."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @property
    @abstractmethod
    def width(self) -> int:
        """How many calls are run at a time."""

    @abstractmethod
    def submit(self, tasks: Sequence[Task], seconds: float, since: int) -> Future[Any]:
        """Begin to run a chunk for some seconds; ``outcomes`` reads its result."""

    @abstractmethod
    def outcomes(self, done: Future[Any]) -> Chunk | None:
        """Return the seconds a chunk took and how its calls ended; None: submit it again."""

    def stop(self) -> None:  # noqa: B027 - most have nothing of their own to end
        """End workers of our own at once."""

    def finish(self) -> None:  # noqa: B027 - as above
        """Let everything go; what was stopped has ended then."""


class Threads(Pool):
    """Threads of an executor of this process."""

    grows = False

    def __init__(self, job: Job, executor: Executor, num_proc: int | None) -> None:
        super().__init__(job)
        self._executor = executor
        self._width = num_proc or int(getattr(executor, "_max_workers", 1))

    @property
    def width(self) -> int:
        """How many calls are run at a time."""
        return self._width

    def submit(self, tasks: Sequence[Task], seconds: float, since: int) -> Future[Any]:
        """Begin to run a chunk."""
        return self._executor.submit(self._run, tasks, seconds, since)

    def outcomes(self, done: Future[Any]) -> Chunk | None:
        """Return how the calls of a chunk ended."""
        found: Chunk = done.result()
        return found

    def _run(self, tasks: Sequence[Task], seconds: float, since: int) -> Chunk:
        start = perf_counter()
        outcomes: list[Outcome] = [(UNBEGUN, None)] * len(tasks)
        self.job.run_chunk(tasks, outcomes.__setitem__, seconds, since)
        return perf_counter() - start, outcomes


class Foreign(Pool):
    """Any executor that takes calls elsewhere; it stays open."""

    def __init__(self, job: Job, executor: Executor, num_proc: int | None) -> None:
        super().__init__(job)
        self._executor, self._num_proc = executor, num_proc
        self._packed = pack_job(job)
        self._shelf = Shelf(job.stashed.stash)
        place = self._shelf.put(self._packed)
        along = None if len(self._packed) > LARGE else self._packed
        shelf = pack(job.stashed.stash) if place else None
        self._parcel = Parcel(digest_of(self._packed), along, shelf, place)
        self._asked_for = 0
        self._width, self._asked = 0, -_ASK_AGAIN

    @property
    def width(self) -> int:
        """How many calls are run at a time; of some executors it changes."""
        if self._num_proc is not None:
            return self._num_proc
        if monotonic() - self._asked > _ASK_AGAIN:
            self._width, self._asked = _width_of(self._executor), monotonic()
        return self._width

    def submit(self, tasks: Sequence[Task], seconds: float, since: int) -> Future[Any]:
        """Begin to run a chunk."""
        parcel = self._parcel
        if self._asked_for:  # by a worker that could not get hold of the job
            self._asked_for -= 1
            parcel = parcel._replace(job=self._packed)
        return self._executor.submit(run_chunk, parcel, pack_tasks(tasks), seconds, since)

    def outcomes(self, done: Future[Any]) -> Chunk | None:
        """Return how the calls of a chunk ended."""
        found = done.result()
        if found is None:
            self._asked_for += 1
            return None
        return found[0], unpack_outcomes(found[1])

    def finish(self) -> None:
        """Take away what waited for workers."""
        self._shelf.clear()


def _width_of(executor: Executor) -> int:
    """Return how many calls an executor runs at a time, as far as it tells."""
    for name in ("_max_workers", "num_workers"):  # the standard library and loky; MPI
        told = getattr(executor, name, None)
        if isinstance(told, int) and told > 0:
            return told
    cores = getattr(getattr(executor, "_client", None), "ncores", None)  # Dask
    if callable(cores):
        return max(1, sum(int(number) for number in cores().values()))
    return os.cpu_count() or 1


class OwnProcesses(Pool):
    """Worker processes of the standard library's pool, started afresh."""

    restarts = True

    def __init__(self, job: Job, num_proc: int) -> None:
        super().__init__(job)
        self._size = num_proc
        self._packed = pack_job(job)
        self._parcel = Parcel(digest_of(self._packed), None, None, b"")
        self._executor: ProcessPoolExecutor | None = None
        self._ending: list[Any] = []

    @property
    def width(self) -> int:
        """How many calls are run at a time."""
        return self._size

    def submit(self, tasks: Sequence[Task], seconds: float, since: int) -> Future[Any]:
        """Begin to run a chunk."""
        executor = self._executor
        if executor is None:
            executor = self._executor = ProcessPoolExecutor(
                self._size, get_context("spawn"), prepare, (self._packed,)
            )
        with _starting, _main_hidden(), _deaf_to_ctrl_c():  # processes start at first submits
            return executor.submit(run_chunk, self._parcel, pack_tasks(tasks), seconds, since)

    def outcomes(self, done: Future[Any]) -> Chunk | None:
        """Return how the calls of a chunk ended."""
        elapsed, found = done.result()
        return elapsed, unpack_outcomes(found)

    def stop(self) -> None:
        """Drop what has not begun, and end the worker processes at once."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        workers = list((getattr(executor, "_processes", None) or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        self._ending += workers
        for worker in workers:
            worker.terminate()

    def finish(self) -> None:
        """Let the workers go, when all is done."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)
        end = monotonic() + GRACE
        for worker in self._ending:
            worker.join(max(0.0, end - monotonic()))
            if worker.is_alive():
                worker.kill()
        self._ending.clear()


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep new processes from running the script again: what they need of it is sent to them.

    So a map works in a script without ``if __name__ == "__main__"``, and from a prompt. Who the
    script is stays known under other names meanwhile.
    """
    main = vars(sys.modules["__main__"])
    kept: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main[MAIN_FILE] = kept.get("__file__")
    main[MAIN_NAME] = getattr(kept.get("__spec__"), "name", None)
    main["__spec__"] = None
    main.pop("__file__", None)
    try:
        yield
    finally:
        main.update(kept)
        del main[MAIN_FILE], main[MAIN_NAME]


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Have new processes begin deaf to Ctrl-C, which is the parent's to answer."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Stoppable(ABC):
    """Something that must not go on when the main thread has ended."""

    @abstractmethod
    def cancel(self) -> None:
        """Stop at once."""


class _Guard:
    """Stops what is under way when the main thread ends, as the pools would wait for it."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, in a child after a fork."""
        self._lock = threading.Lock()
        self._watched: set[Stoppable] = set()
        self._thread: threading.Thread | None = None

    def add(self, one: Stoppable) -> None:
        """Stop it when the main thread ends."""
        with self._lock:
            self._watched.add(one)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="hashstash-map-end", daemon=True
                )
                self._thread.start()

    def drop(self, one: Stoppable) -> None:
        """It has ended."""
        with self._lock:
            self._watched.discard(one)

    def _work(self) -> None:
        main = threading.main_thread()
        while True:
            main.join(0.2)
            with self._lock:
                watched = list(self._watched)
                if main.is_alive() and not watched:
                    self._thread = None
                    return
            if not main.is_alive():
                for one in watched:
                    one.cancel()
                return


guard = _Guard()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=guard.begin_anew)

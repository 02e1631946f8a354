"""Where the calls of a map are run: worker processes of our own, a thread, or any executor."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from time import perf_counter
from typing import Any

from hashstash.origin import MAIN_FILE, MAIN_NAME

from .workers import Job, Outcome, Task, digest_of, pack, pack_job, prepare, run_chunk, unpack

Chunk = tuple[float, list[Outcome]]
_starting = threading.Lock()


def default_processes() -> int:
    """Return how many processes a map uses unless told: all but two, and at least one."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    return max(1, cores - 2)


class Pool:
    """Runs chunks of a map's calls in one place.

    Args:
        job: what is common to all calls.
        num_proc: how many worker processes; with 1, one thread of this process.
        executor: any executor to use instead; it stays open.
    """

    def __init__(self, job: Job, num_proc: int, executor: Executor | None) -> None:
        self._job, self._size, self._given = job, num_proc, executor
        self.in_process = isinstance(executor, ThreadPoolExecutor) if executor else num_proc == 1
        self._packed = b"" if self.in_process else pack_job(job)
        self._digest = digest_of(self._packed)
        self._executor: Executor | None = executor
        self.width = getattr(executor, "_max_workers", None) or num_proc

    def submit(self, tasks: list[Task]) -> Future[Any]:
        """Begin to run a chunk; ``outcomes`` reads its result."""
        executor = self._executor or self._start()
        if self.in_process:
            return executor.submit(self._run_here, tasks)
        chunk = pack([tuple(task) for task in tasks])
        if self._given is not None:
            return executor.submit(run_chunk, self._digest, self._packed, chunk)
        with _starting, _main_hidden():  # processes start at a first submit
            return executor.submit(run_chunk, self._digest, None, chunk)

    def outcomes(self, done: Future[Any]) -> Chunk:
        """Return the seconds a chunk took and how its calls ended."""
        elapsed, found = done.result()
        return elapsed, found if self.in_process else unpack(found)

    def restart(self) -> None:
        """Begin with new workers, after one died."""
        self.stop()

    def stop(self) -> None:
        """Drop what has not begun; end worker processes of our own at once."""
        executor = self._executor
        if executor is None or self._given is not None:
            return
        self._executor = None
        workers = list((getattr(executor, "_processes", None) or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()

    def finish(self) -> None:
        """Let the workers go, when all is done."""
        if self._executor is not None and self._given is None:
            self._executor.shutdown(wait=False)
            self._executor = None

    def _start(self) -> Executor:
        if self.in_process:
            self._executor = ThreadPoolExecutor(self._size, "hashstash-map")
        else:
            self._executor = ProcessPoolExecutor(
                self._size, get_context("spawn"), prepare, (self._packed,)
            )
        return self._executor

    def _run_here(self, tasks: list[Task]) -> Chunk:
        start = perf_counter()
        found = [self._job.run(task) for task in tasks]
        return perf_counter() - start, found


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

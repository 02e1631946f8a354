"""What runs in a worker: chunks of a map's calls, for processes and clusters alike.

A job is serialized once by our own serializer, so lambdas, closures and functions of
``__main__`` go along. Workers keep the jobs they have seen; a large one waits for them in the
stash, or is sent to those that ask for it.
"""

from __future__ import annotations

import os
import signal
import threading
from hashlib import blake2b
from multiprocessing import parent_process
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, NamedTuple

from hashstash.errors import CorruptRowError, HashStashError
from hashstash.rows import codec_header, parse, seal, time_of

from .chunks import LARGE, UNBEGUN, Outcome, pack_outcomes, unpack, unpack_tasks
from .jobs import Job, unpack_job

if TYPE_CHECKING:
    from hashstash.engines import Engine

    from .function_stash import FunctionStash

MOST_JOBS = 64
"""How many jobs a worker keeps."""

FORGOTTEN = 24 * 3600 * 10**9
"""Nanoseconds after which a large job that was left behind by a killed parent is removed."""

_HEADER = codec_header("job")
_jobs: dict[bytes, Job] = {}
_own: dict[bytes, bytes] = {}
"""The packed job of a worker process of our own."""


class JobError(HashStashError):
    """A worker cannot make anything of the function, or what goes with it."""


class Parcel(NamedTuple):
    """What a worker needs to get hold of a job.

    Attributes:
        digest: what the packed job is known by; whatever is taken for it is compared with it.
        job: the packed job, if it goes along.
        shelf: otherwise the packed stash whose table of jobs it is in, if it is in one.
        place: and where.
    """

    digest: bytes
    job: bytes | None
    shelf: bytes | None
    place: bytes


def digest_of(job: bytes) -> bytes:
    """Return what a packed job is known by."""
    return blake2b(job, digest_size=32).digest()


def prepare(job: bytes) -> None:
    """Make a worker process of our own ready: it knows the job, and lives as long as its parent.

    Ctrl-C is left to the parent.
    """
    signal.signal(signal.SIGINT, _do_nothing)  # unlike SIG_IGN, not handed on to subprocesses
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, name="hashstash-parent", daemon=True).start()
    _own[digest_of(job)] = job


def _do_nothing(number: int, frame: object) -> None:
    pass


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_chunk(
    parcel: Parcel, tasks: bytes, seconds: float, since: int
) -> tuple[float, bytes] | None:
    """Run several calls; return the seconds they took and how each ended, packed.

    None asks for the job: it is not known here, and not to be found.

    Args:
        parcel: how to get hold of the job.
        tasks: the packed calls.
        seconds: how long to go on; what is not begun then is left to be sent again.
        since: results from before this time (ns since the epoch) are computed anew.
    """
    job = _job_of(parcel)
    if job is None:
        return None
    start = perf_counter()
    calls = unpack_tasks(tasks)
    outcomes: list[Outcome] = [(UNBEGUN, None)] * len(calls)
    job.run_chunk(calls, outcomes.__setitem__, seconds, since)
    packed = pack_outcomes(outcomes)
    return perf_counter() - start, packed


def _job_of(parcel: Parcel) -> Job | None:
    known = _jobs.get(parcel.digest)
    if known is None:
        packed = parcel.job or _own.get(parcel.digest)
        if packed is None and parcel.shelf is not None:
            packed = _taken(parcel.shelf, parcel.place)
        if packed is None or digest_of(packed) != parcel.digest:
            return None
        if len(_jobs) >= MOST_JOBS:
            _jobs.clear()
        try:
            known = _jobs[parcel.digest] = unpack_job(packed)
        except Exception as exc:
            told = f"{type(exc).__name__}: {exc}"
            raise JobError(f"The function cannot be loaded in a worker: {told}") from exc
    return known


def _taken(shelf: bytes, place: bytes) -> bytes | None:
    """Return the packed job that was put on a shelf, if it can be had."""
    stash: FunctionStash = unpack(shelf)
    try:
        row = stash._engine.sibling("jobs").get(place)
        return None if row is None else bytes(parse(row, place).payload)
    except HashStashError:
        return None
    finally:
        stash.close()


class Shelf:
    """A table of a stash in which a large job waits for workers, during its map.

    Args:
        stash: the stash of the function's results.
    """

    def __init__(self, stash: FunctionStash) -> None:
        self.stash = stash
        self._place = b""

    def put(self, job: bytes) -> bytes:
        """Put a packed job on the shelf, if it is large and the stash is shared; say where."""
        engine = self.stash._engine
        if len(job) <= LARGE or engine.private:
            return b""
        table = engine.sibling("jobs")
        place = digest_of(job)[:16] + os.urandom(8)
        try:
            _forget_old(table)
            table.put(place, seal(place, _HEADER, job))
        except HashStashError:  # larger than a row may be, say: it is sent to those who ask
            return b""
        self._place = place
        return place

    def clear(self) -> None:
        """Take the job off the shelf."""
        place, self._place = self._place, b""
        if place:
            self.stash._engine.sibling("jobs").delete(place)


def _forget_old(table: Engine) -> None:
    for place in list(table.keys()):
        row = table.get(place)
        if row is not None and _age(row, place) > FORGOTTEN:
            table.delete(place)


def _age(row: bytes, place: bytes) -> int:
    try:
        parse(row, place)
    except CorruptRowError:
        return FORGOTTEN + 1
    return time_ns() - time_of(row)

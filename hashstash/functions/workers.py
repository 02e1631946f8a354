"""What runs in a worker: chunks of a map's calls, for processes and clusters alike.

A job (the function, the stash, common arguments) is serialized once by our own serializer, so
lambdas, closures and functions of ``__main__`` go along. Workers keep the jobs they have seen.
"""

from __future__ import annotations

import signal
import traceback
from hashlib import blake2b
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from hashstash.errors import SerializationError
from hashstash.serializers import SERIALIZERS

if TYPE_CHECKING:
    from .function_stash import FunctionStash
    from .results import StashedFunction

STORED, VALUE, FAILED = "stored", "value", "failed"
"""How a call ended: its result is in the stash, or comes with this, or it raised."""

Outcome = tuple[str, Any]


Address = tuple[bytes, bytes | None]


class Task(NamedTuple):
    """One call of a map.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments that are not common to all.
        key: the key of its result.
        address: its stored key and canonical key, as the map made them: classes that were sent
            to a worker are not quite those of the parent.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: Any
    address: Address


class Job(NamedTuple):
    """What is common to all calls of a map.

    Attributes:
        stashed: the function and how its results are kept.
        common: keyword arguments of every call.
        store: whether workers store results; otherwise they send them back.
        force: whether stored results are computed anew.
    """

    stashed: StashedFunction[..., Any]
    common: dict[str, Any]
    store: bool
    force: bool

    def run(self, task: Task, *, keep: bool = True) -> Outcome:
        """Return how one call ended.

        Args:
            task: the call.
            keep: whether a result that was stored is left in the stash and not sent back.
        """
        call = task.args, {**self.common, **task.kwargs}
        try:
            if not self.store:
                return VALUE, self.stashed.compute_unstored(call)
            value, stored = self.stashed.compute_keyed(
                call, task.key, task.address, force=self.force
            )
        except Exception as exc:  # noqa: BLE001 - it is the item's, and told where it is asked for
            return FAILED, exc
        return (STORED, None) if keep and stored else (VALUE, value)


def pack(value: object) -> bytes:
    """Return ``value`` as bytes for a worker, or from one."""
    return SERIALIZERS.load("hashstash")().dumps(value)


def unpack(data: bytes) -> Any:
    """Return what ``pack`` was given; what comes from our own workers is trusted."""
    return SERIALIZERS.load("hashstash")().loads(data, trusted=True)


def digest_of(job: bytes) -> bytes:
    """Return what a packed job is known by."""
    return blake2b(job, digest_size=32).digest()


_jobs: dict[bytes, Job] = {}


def prepare(job: bytes) -> None:
    """Make a worker process of our own ready: it knows the job and leaves Ctrl-C to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _jobs[digest_of(job)] = unpack_job(job)


def pack_job(job: Job) -> bytes:
    """Return a job as bytes; signing keys go along, as workers act for their parent."""
    stashed = job.stashed
    function, identity, options = stashed.portable()
    stash: FunctionStash = stashed.stash
    return pack((function, identity, options, stash._settings, stash._keyring.given, job[1:]))


def unpack_job(data: bytes) -> Job:
    """Return the job that ``pack_job`` was given, to be run in this process."""
    from .results import StashedFunction

    function, identity, options, settings, keys, rest = unpack(data)
    return Job(StashedFunction.from_portable(function, identity, options, settings, keys), *rest)


def run_chunk(digest: bytes, job: bytes | None, tasks: bytes) -> tuple[float, bytes]:
    """Run several calls; return the seconds they took and how each ended, packed.

    Args:
        digest: what the job is known by.
        job: the packed job, for workers that may not know it yet.
        tasks: the packed calls.
    """
    known = _jobs.get(digest)
    if known is None:
        if job is None:
            raise RuntimeError("This worker does not know the job, and was not told")
        if len(_jobs) > 64:
            _jobs.clear()
        known = _jobs[digest] = unpack_job(job)
    start = perf_counter()
    outcomes = [_packable(known.run(Task(*task))) for task in unpack(tasks)]
    try:
        packed = pack(outcomes)
    except SerializationError:
        packed = pack([_one_packable(outcome) for outcome in outcomes])
    return perf_counter() - start, packed


def _packable(outcome: Outcome) -> Outcome:
    kind, value = outcome
    if kind != FAILED:
        return outcome
    # The traceback stays behind in this process, so its text goes along.
    return FAILED, (value, "".join(traceback.format_exception(value)))


def _one_packable(outcome: Outcome) -> Outcome:
    try:
        pack(outcome)
    except SerializationError as exc:
        kind, value = outcome
        if kind == FAILED:
            error, text = value
            return FAILED, (RuntimeError(f"{type(error).__name__}: {error}"), text)
        return FAILED, (SerializationError(f"The result cannot be sent back: {exc}"), str(exc))
    return outcome

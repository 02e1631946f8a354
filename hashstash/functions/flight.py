"""Single flight: of all callers that miss the same key, one computes and the others wait.

Threads of a process wait on a future. Processes and hosts wait on a lease, a row in the
sibling table ``leases`` that its owner renews.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from hashstash.codec import Codec
from hashstash.engines.base import Engine, Place

from .claims import Claim, lend, settle_all
from .leases import TERM, Lease, Lessor, Watch
from .renewing import renewer

R = TypeVar("R")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.25

Name = tuple[Place, bytes]
Aside = Callable[[Callable[[], Any]], Awaitable[Any]]


class AbandonedError(Exception):
    """The computation was interrupted: somebody else shall begin it anew."""


class Found(Generic[R]):
    """A result that somebody else stored."""

    def __init__(self, value: R) -> None:
        self.value = value


Look = Callable[[], "Found[R] | None"]


class Flight:
    """Runs one computation at a time per key, among all callers on an engine.

    Args:
        engine: the engine that keeps the results.
        codec: encodes an exception for those who wait in other processes.
        term: seconds of a lease.
    """

    def __init__(self, engine: Engine, codec: Codec, *, term: float = TERM) -> None:
        self._place = engine.place
        self.lessor = None if engine.private else Lessor(engine.sibling("leases"), codec, term)
        self.claims = engine.transactions and not engine.private
        """Whether it pays to take the leases of many calls together."""

    def run(
        self, key: bytes, look: Look[R], work: Callable[[], R], claim: Claim | None = None
    ) -> R:
        """Return what ``look`` finds, or what ``work`` returns; one caller at a time works.

        Args:
            key: the stored key of the result.
            look: returns the stored result, or None.
            work: computes the result and stores it.
            claim: may hold the lease already, and then has looked too.
        """
        name = (self._place, key)
        under_way = _under_way.get()
        if name in under_way:  # a function that calls itself with the same key
            return work()
        while (flying := _here.join(name)) is not None:
            try:
                result: R = flying.result()
            except AbandonedError:
                continue  # the owner was interrupted, which is nothing to us
            return result
        token = _under_way.set(under_way | {name})
        try:
            result = self._run_leased(key, look, work, claim)
        except BaseException as exc:
            _here.leave(name, error=exc)
            raise
        else:
            _here.leave(name, result)
            return result
        finally:
            _under_way.reset(token)

    def join(self, key: bytes) -> Future[Any] | None:
        """Return None, and let others of this process wait for ``leave``; or what to wait for."""
        return _here.join((self._place, key))

    def leave(self, key: bytes, result: Any = None, error: BaseException | None = None) -> None:
        """Let those who wait have the result, or the error."""
        _here.leave((self._place, key), result, error)

    def _run_leased(
        self, key: bytes, look: Look[R], work: Callable[[], R], claim: Claim | None = None
    ) -> R:
        if self.lessor is None:
            found = look()  # it may have come between the caller's look and the flight
            return found.value if found is not None else work()
        if claim is not None and claim.begin(key):
            return claim.run(key, work)
        way = _Way(self.lessor, key, look)
        try:
            for pause in way.steps():
                time.sleep(pause)
            if way.found is not None:
                return way.found.value
            result = work()
        except BaseException as exc:
            way.fail(exc)
            raise
        way.end()
        return result

    async def run_async(
        self, key: bytes, look: Look[R], work: Callable[[], Awaitable[R]], aside: Aside
    ) -> R:
        """Return what ``look`` finds, or what awaiting ``work()`` gives; one caller works.

        Args:
            key: the stored key of the result.
            look: returns the stored result, or None.
            work: computes the result and stores it.
            aside: runs a function in a thread, so that the event loop goes on.
        """
        name = (self._place, key)
        under_way = _under_way.get()
        if name in under_way:
            return await work()
        while (flying := _here.join(name)) is not None:
            try:
                result: R = await asyncio.shield(asyncio.wrap_future(flying))
            except AbandonedError:
                continue
            return result
        token = _under_way.set(under_way | {name})
        try:
            result = await self._run_leased_async(key, look, work, aside)
        except BaseException as exc:  # cancelled, perhaps: somebody else goes on
            _here.leave(name, error=exc)
            raise
        else:
            _here.leave(name, result)
            return result
        finally:
            _under_way.reset(token)

    async def _run_leased_async(
        self, key: bytes, look: Look[R], work: Callable[[], Awaitable[R]], aside: Aside
    ) -> R:
        if self.lessor is None:
            found = await aside(look)
            return found.value if found is not None else await work()
        way = _Way(self.lessor, key, look)
        steps = way.steps()
        stepping: Awaitable[float | None] | None = None
        try:
            while True:
                stepping = asyncio.ensure_future(aside(lambda: next(steps, None)))
                pause = await asyncio.shield(stepping)
                stepping = None
                if pause is None:
                    break
                await asyncio.sleep(pause)
            if way.found is not None:
                return way.found.value
            result = await work()
        except BaseException as exc:
            failure, under_way = exc, stepping
            await asyncio.shield(_ended(under_way, lambda: way.fail(failure), aside))
            raise
        await asyncio.shield(aside(way.end))
        return result


async def _ended(stepping: Awaitable[Any] | None, fail: Callable[[], None], aside: Aside) -> None:
    """Give a lease up; a step on the way to it that a cancelled caller left ends first."""
    if stepping is not None:
        await asyncio.gather(stepping, return_exceptions=True)
    await aside(fail)


class _Way(Generic[R]):
    """How a caller comes to a lease, or to what somebody else stored."""

    def __init__(self, lessor: Lessor, key: bytes, look: Look[R]) -> None:
        self._lessor, self._key, self._look = lessor, key, look
        self._lease: Lease | None = None
        self.found: Found[R] | None = None

    def steps(self) -> Iterator[float]:
        """Yield seconds to pause, until the lease is ours or somebody stored the result.

        In the end ``found`` holds what was stored meanwhile, or None: then the lease is ours.
        """
        watch, pause = Watch(self._lessor, self._key), _FIRST_PAUSE
        self._lease = self._lessor.lease(self._key)
        while not self._take():
            seen = watch.seen()
            if seen is None:
                continue
            if watch.is_over(*seen):
                watch.raise_failure(seen[1])
                if self._lease.take(seen[0]):
                    break
                continue
            self.found = self._look()
            if self.found is not None:
                self._lease = None
                return
            watch.wait_for(*seen)
            settle_all()
            yield pause * random.uniform(0.5, 1.0)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        renewer.add(self._lease)
        self.found = self._look()  # it may have come between our look and our lease
        if self.found is not None:
            self.end()

    def end(self) -> None:
        """Give the lease up."""
        lease, self._lease = self._lease, None
        if lease is not None:
            renewer.drop(lease)
            lease.release()

    def fail(self, error: BaseException) -> None:
        """Give the lease up; those who wait get the error."""
        lease, self._lease = self._lease, None
        if lease is not None:
            renewer.drop(lease)
            lease.fail(error)

    def _take(self) -> bool:
        assert self._lease is not None
        if self._lease.take():
            return True
        lent = lend(self._lessor, self._key)
        if lent is not None:
            self._lease = lent
        return lent is not None


class _Here:
    """The computations under way in this process."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, in a child after a fork: the parent's threads are not in it."""
        self._lock = threading.Lock()
        self._flights: dict[Name, Future[Any] | None] = {}

    def join(self, name: Name) -> Future[Any] | None:
        """Return what to wait for; None if there is nothing: the caller computes, then leaves."""
        with self._lock:
            if name not in self._flights:
                self._flights[name] = None
                return None
            flying = self._flights[name]
            if flying is None:  # the first who waits
                flying = self._flights[name] = Future()
            return flying

    def leave(self, name: Name, result: Any = None, error: BaseException | None = None) -> None:
        """Let those who wait have the result, or the error."""
        with self._lock:
            flying = self._flights.pop(name, None)
        if flying is None:
            return
        if error is None:
            flying.set_result(result)
        elif isinstance(error, Exception):
            flying.set_exception(error)
        else:
            flying.set_exception(AbandonedError())


_here = _Here()
_under_way: ContextVar[frozenset[Name]] = ContextVar("hashstash_under_way", default=frozenset())
"""What is being computed by whoever called this, in the end."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_here.begin_anew)

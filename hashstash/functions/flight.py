"""Single flight: of all callers that miss the same key, one computes and the others wait.

Threads of a process wait on a future. Processes and hosts wait on a lease, a row in the
sibling table ``leases`` that its owner renews. Whoever sees a lease unchanged for its whole
term, by the own monotonic clock, takes it over; so does whoever sees that the owner's process
on this machine is gone. No clocks are compared, and nothing is left when the owner is done.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import json
import os
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from functools import lru_cache
from secrets import token_hex
from typing import Any, Generic, TypeVar

from hashstash.codec import Codec
from hashstash.engines.base import ETAG, Engine
from hashstash.errors import CorruptRowError, HashStashError
from hashstash.rows import codec_header, parse, seal

R = TypeVar("R")

TERM = 10.0
"""Seconds after which a lease that is not renewed is up for others."""

LONGEST_TERM = 300.0
"""A lease that claims more is not believed: waits are bounded."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.25
_ERROR_KEPT = 5.0
_HEADER = codec_header("lease")


class _AbandonedError(Exception):
    """The computation was interrupted: somebody else shall begin it anew."""


class Found(Generic[R]):
    """A result that somebody else stored."""

    def __init__(self, value: R) -> None:
        self.value = value


Aside = Callable[[Callable[[], Any]], Awaitable[Any]]
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
        self._leases = None if engine.private else engine.sibling("leases")
        self._codec, self._term = codec, term

    def run(self, key: bytes, look: Look[R], work: Callable[[], R]) -> R:
        """Return what ``look`` finds, or what ``work`` returns; one caller at a time works.

        Args:
            key: the stored key of the result.
            look: returns the stored result, or None.
            work: computes the result and stores it.
        """
        name = (self._place, key)
        while True:
            mine: Future[R] = Future()
            with _here.lock:
                flying, owner = _here.flights.setdefault(name, (mine, threading.get_ident()))
            if flying is mine:
                return self._fly(name, mine, look, work)
            if owner == threading.get_ident():  # a function that calls itself with the same key
                return work()
            try:
                result: R = flying.result()
            except _AbandonedError:
                continue  # the owner was interrupted, which is nothing to us
            return result

    def _fly(self, name: Any, mine: Future[R], look: Look[R], work: Callable[[], R]) -> R:
        try:
            result = self._run_leased(name[1], look, work)
        except Exception as exc:
            mine.set_exception(exc)
            raise
        except BaseException:
            mine.set_exception(_AbandonedError())
            raise
        else:
            mine.set_result(result)
            return result
        finally:
            with _here.lock:
                _here.flights.pop(name, None)

    def _run_leased(self, key: bytes, look: Look[R], work: Callable[[], R]) -> R:
        if self._leases is None:
            found = look()  # it may have come between the caller's look and the flight
            return found.value if found is not None else work()
        lease = _Lease(self._leases, key, self._codec, self._term)
        for pause in lease.steps(look):
            time.sleep(pause)
        if lease.found is not None:
            found_elsewhere: R = lease.found.value
            return found_elsewhere
        _renewer.add(lease)
        try:
            result = work()
        except BaseException as exc:
            _renewer.drop(lease)
            lease.fail(exc)
            raise
        _renewer.drop(lease)
        lease.release()
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
        while True:
            mine: Future[R] = Future()
            task = asyncio.current_task()
            with _here.lock:
                flying, owner = _here.flights.setdefault(name, (mine, task))
            if flying is mine:
                return await self._fly_async(name, mine, look, work, aside)
            if owner is task:
                return await work()
            try:
                result: R = await asyncio.shield(asyncio.wrap_future(flying))
            except _AbandonedError:
                continue
            return result

    async def _fly_async(
        self, name: Any, mine: Future[R], look: Look[R], work: Callable[[], Awaitable[R]],
        aside: Aside,
    ) -> R:  # fmt: skip
        try:
            result = await self._run_leased_async(name[1], look, work, aside)
        except Exception as exc:
            mine.set_exception(exc)
            raise
        except BaseException:  # cancelled: somebody else goes on
            mine.set_exception(_AbandonedError())
            raise
        else:
            mine.set_result(result)
            return result
        finally:
            with _here.lock:
                _here.flights.pop(name, None)

    async def _run_leased_async(
        self, key: bytes, look: Look[R], work: Callable[[], Awaitable[R]], aside: Aside
    ) -> R:
        if self._leases is None:
            found = await aside(look)
            return found.value if found is not None else await work()
        lease = _Lease(self._leases, key, self._codec, self._term)
        steps = lease.steps(look)
        while (pause := await aside(lambda: next(steps, None))) is not None:
            await asyncio.sleep(pause)
        if lease.found is not None:
            found_elsewhere: R = lease.found.value
            return found_elsewhere
        _renewer.add(lease)
        try:
            result = await work()
        except BaseException as error:
            _renewer.drop(lease)
            failure = error
            await asyncio.shield(aside(lambda: lease.fail(failure)))
            raise
        _renewer.drop(lease)
        await asyncio.shield(aside(lease.release))
        return result


class _Lease:
    """The right to compute one key, held by one caller at a time."""

    def __init__(self, engine: Engine, key: bytes, codec: Codec, term: float) -> None:
        self._engine, self._key, self._codec = engine, key, codec
        self.term = term
        self.renewed = 0.0
        self.found: Found[Any] | None = None
        self._id = token_hex(8)

    def steps(self, look: Look[R]) -> Iterator[float]:
        """Yield seconds to pause, until the lease is ours or somebody stored the result.

        In the end ``found`` holds what was stored meanwhile, or None: then the lease is ours.
        """
        watch = _Watch()
        pause = _FIRST_PAUSE
        while True:
            if self._engine.compare_and_set(self._key, None, self._row()):
                return self._own(look)
            row = self._engine.get(self._key)
            if row is None:
                continue
            other = _read(row, self._key)
            if other is None:  # not a lease: somebody else's bytes stand in the way
                self._engine.delete(self._key)
                continue
            if watch.is_over(row[ETAG], other):
                self._raise_failure(other, watch)
                if self._engine.compare_and_set(self._key, row[ETAG], self._row()):
                    return self._own(look)
                continue
            self.found = look()
            if self.found is not None:
                return None
            if not other["waited_for"]:
                marked = _write(self._key, {**other, "waited_for": True})
                self._engine.compare_and_set(self._key, row[ETAG], marked)
            watch.waited_for = other["id"]
            yield pause * random.uniform(0.5, 1.0)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def renew(self) -> None:
        """Show that the owner lives."""
        self._change(lambda row: _write(self._key, row))
        self.renewed = time.monotonic()

    def release(self) -> None:
        """Give the lease up; its row is gone."""
        self._change(lambda row: None)

    def fail(self, error: BaseException) -> None:
        """Give the lease up; those who wait get the error."""
        waited_for = False

        def to_failed(row: dict[str, Any]) -> bytes | None:
            nonlocal waited_for
            waited_for = row["waited_for"] and isinstance(error, Exception)
            if not waited_for:
                return None
            return _write(self._key, {**row, "error": self._encoded(error)})

        self._change(to_failed)
        if waited_for:
            _renewer.release_later(self)

    def _own(self, look: Look[R]) -> None:
        self.renewed = time.monotonic()
        self.found = look()  # it may have come between our look and our lease
        if self.found is not None:
            self.release()

    def _row(self) -> bytes:
        host, pid, start = _process()
        return _write(
            self._key,
            {"id": self._id, "term": self.term, "host": host, "pid": pid, "start": start,
             "waited_for": False, "error": None},
        )  # fmt: skip

    def _change(self, make: Callable[[dict[str, Any]], bytes | None]) -> None:
        """Replace our row, if it still is ours; waiters may mark it in between."""
        while True:
            row = self._engine.get(self._key)
            told = None if row is None else _read(row, self._key)
            if row is None or told is None or told["id"] != self._id:
                return
            if self._engine.compare_and_set(self._key, row[ETAG], make(told)):
                return

    def _encoded(self, error: BaseException) -> str:
        try:
            row = self._codec.encode(error, self._key)
        except HashStashError:  # it cannot be told; those who wait compute for themselves
            return ""
        return base64.b64encode(row).decode("ascii")

    def _raise_failure(self, other: dict[str, Any], watch: _Watch) -> None:
        """Raise the owner's error, if we waited while it computed."""
        if not other["error"] or watch.waited_for != other["id"]:
            return
        try:
            error = self._codec.decode(base64.b64decode(other["error"]), self._key)
        except HashStashError:  # not for us to read: compute
            return
        if isinstance(error, Exception):
            raise error


class _Watch:
    """What a waiter has seen of the lease it waits for."""

    def __init__(self) -> None:
        self._etag = b""
        self._since = 0.0
        self.waited_for: str | None = None

    def is_over(self, etag: bytes, lease: dict[str, Any]) -> bool:
        """Tell whether the lease was given up, or its owner is dead."""
        now = time.monotonic()
        if etag != self._etag:
            self._etag, self._since = etag, now
        if lease["error"] is not None:
            return True
        if now - self._since > lease["term"]:
            return True
        host, _, _ = _process()
        return bool(lease["host"] == host and _start_of(lease["pid"]) != lease["start"])


def _write(key: bytes, lease: dict[str, Any]) -> bytes:
    return seal(key, _HEADER, json.dumps(lease).encode())


def _read(row: bytes, key: bytes) -> dict[str, Any] | None:
    """Return what a lease says, or None if it is not one."""
    try:
        lease = json.loads(bytes(parse(row, key).payload))
    except (CorruptRowError, ValueError, RecursionError):
        return None
    kinds: dict[str, type | tuple[type, ...]] = {
        "id": str, "term": (int, float), "host": str, "pid": int, "start": str,
        "waited_for": bool, "error": (str, type(None)),
    }  # fmt: skip
    if not isinstance(lease, dict):
        return None
    if any(not isinstance(lease.get(name), kind) for name, kind in kinds.items()):
        return None
    if not 0 < lease["term"] <= LONGEST_TERM:
        return None
    return lease


class _Here:
    """The computations under way in this process."""

    def __init__(self) -> None:
        self.renew_after_fork()

    def renew_after_fork(self) -> None:
        self.lock = threading.Lock()
        self.flights: dict[Any, tuple[Future[Any], object]] = {}


class _Renewer:
    """One thread that renews the leases held by this process, while there are any."""

    def __init__(self) -> None:
        self.renew_after_fork()

    def renew_after_fork(self) -> None:
        self._changed = threading.Condition()
        self._held: set[_Lease] = set()
        self._ending: dict[_Lease, float] = {}
        self._thread: threading.Thread | None = None

    def add(self, lease: _Lease) -> None:
        """Renew ``lease`` until it is dropped."""
        with self._changed:
            self._held.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="hashstash-leases", daemon=True
                )
                self._thread.start()

    def drop(self, lease: _Lease) -> None:
        """Renew ``lease`` no more."""
        with self._changed:
            self._held.discard(lease)

    def release_later(self, lease: _Lease) -> None:
        """Release a failed lease when those who wait have seen it."""
        with self._changed:
            self._ending[lease] = time.monotonic() + _ERROR_KEPT

    def release_all(self) -> None:
        """Release failed leases at the end of the process."""
        with self._changed:
            ending, self._ending = list(self._ending), {}
        for lease in ending:
            lease.release()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._held and not self._ending:
                    self._changed.wait(1.0)
                if not self._held and not self._ending:
                    self._thread = None
                    return
                now = time.monotonic()
                due = [one for one in self._held if now - one.renewed > one.term / 4]
                over = [one for one, end in self._ending.items() if now > end]
                for lease in over:
                    del self._ending[lease]
            for lease in due:
                _despite_faults(lease.renew)
            for lease in over:
                _despite_faults(lease.release)
            shortest = min((one.term for one in list(self._held)), default=TERM)
            time.sleep(min(shortest / 8, 1.0))


def _despite_faults(act: Callable[[], None]) -> None:
    """Do what is tried again later anyway; a server that is away must not end the thread."""
    try:
        act()
    except HashStashError as exc:
        import logging  # only where there is something to say

        logging.getLogger("hashstash").debug("lease: %s", exc)


_here = _Here()
_renewer = _Renewer()
atexit.register(_renewer.release_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_here.renew_after_fork)
    os.register_at_fork(after_in_child=_renewer.renew_after_fork)


def _process() -> tuple[str, int, str]:
    """Return host, process id and start of this process."""
    pid = os.getpid()
    return _host(), pid, _own_start(pid)


@lru_cache(maxsize=4)
def _own_start(pid: int) -> str:
    return _start_of(pid) or ""


@lru_cache(maxsize=1)
def _host() -> str:
    """Return what tells this machine, this boot and this container from others."""
    try:
        boot = _text("/proc/sys/kernel/random/boot_id")
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


def _start_of(pid: int) -> str | None:
    """Return what tells a process from a later one of the same number; None if it is gone."""
    try:
        fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        if os.path.exists("/proc/self/stat"):
            return None
    else:
        return None if fields[0] in {"Z", "X"} else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()

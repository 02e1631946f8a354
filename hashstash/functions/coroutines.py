"""Coroutine functions whose results are stashed: awaited once, shared by all who wait."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Hashable
from time import time_ns
from typing import Any, ParamSpec, TypeVar, cast

from hashstash.asynchronous import aside
from hashstash.keys import stored_key

from .flight import Found
from .refreshing import warn_of_refresh
from .results import Arguments, StashedFunction
from .target import Address, Answer, Target

P = ParamSpec("P")
R = TypeVar("R")

Place = tuple[Target, Any, Address]

_refreshing: dict[Hashable, asyncio.Task[None]] = {}
"""What is computed anew; event loops themselves keep no hold of their tasks."""


class StashedCoroutineFunction(StashedFunction[P, Coroutine[Any, Any, R]]):
    """A coroutine function whose results are stashed; await it as the function itself."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        mark = getattr(inspect, "markcoroutinefunction", None)  # since Python 3.12
        if mark is not None:
            mark(self)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored result of this call, computed now if there is none."""
        call = self.complete(args, kwargs)
        place, found, is_stale = await aside(lambda: self._look_up(call))
        if found is None:
            return cast("R", self._told(await self._fly_async(place, call)))
        if is_stale:
            self._refresh_in_loop(place, call)
        return found.value

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call now, and store the result in place of an earlier one."""
        call = self.complete(args, kwargs)
        since = time_ns()
        place = await aside(lambda: self._place(call))
        return cast("R", self._told(await self._fly_async(place, call, since=since)))

    def compute(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what awaiting the function gives; for maps, whose workers have no event loop."""

        async def awaited() -> Any:
            return await self._callee.function(*args, **kwargs)

        return asyncio.run(awaited())

    def _place(self, call: Arguments) -> Place:
        target = self.target()
        key = target.stash.call_key(*call)
        return target, key, stored_key(key)

    def _look_up(self, call: Arguments) -> tuple[Place, Found[R] | None, bool]:
        """Return where a result is kept, the result, and whether it is to be computed anew."""
        place = target, _, address = self._place(call)
        row = target.row(address[0])
        if row is None:
            target.raise_kept(address[0])
            return place, None, False
        self._shared.hits += 1
        return place, Found(cast("R", target.value(row, address))), self.is_stale(row)

    def _refresh_in_loop(self, place: Place, call: Arguments) -> None:
        """Compute a call anew as a task of this loop, unless one is at it."""
        name = asyncio.get_running_loop(), place[0].stash._engine.place, place[2][0]
        if name in _refreshing:
            return

        async def refresh() -> None:
            try:
                answer = await self._fly_async(place, call, since=time_ns())
                _ = self._told(answer)  # a warning, if it could not be stored
            except Exception as exc:  # noqa: BLE001 - a task has nobody to raise to
                warn_of_refresh(repr(self.__wrapped__), exc)
            finally:
                _refreshing.pop(name, None)

        _refreshing[name] = asyncio.create_task(refresh())

    async def _fly_async(self, place: Place, call: Arguments, *, since: int = 0) -> Answer:
        target, key, address = place
        stored = address[0]

        def look() -> Found[Answer] | None:
            row = target.latest_row(stored, since)
            return None if row is None else Found(Answer(target.value(row, address), None, False))

        def prepare() -> Any:
            target.raise_kept(stored, since)
            # before the call, which may change its arguments
            return target.key_part(address, key)

        async def work() -> Answer:
            key_part = await aside(prepare)
            self._shared.misses += 1
            args, kwargs = call
            try:
                result = await self._callee.function(*args, **kwargs)
            except target.kept as exc:
                failure = exc
                await aside(lambda: target.keep_error(stored, failure))
                raise
            return Answer(result, await aside(lambda: target.store(stored, key_part, result)), True)

        if target.flight is None:
            return await work()
        return await target.flight.run_async(stored, look, work, aside)

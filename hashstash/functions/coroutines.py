"""Coroutine functions whose results are stashed: awaited once, shared by all who wait."""

from __future__ import annotations

from collections.abc import Coroutine
from time import time_ns
from typing import Any, ParamSpec, TypeVar, cast

from hashstash.asynchronous import aside
from hashstash.expiry import is_expired
from hashstash.keys import stored_key
from hashstash.rows import time_of

from .flight import Found
from .results import Arguments, StashedFunction, Target

P = ParamSpec("P")
R = TypeVar("R")


class StashedCoroutineFunction(StashedFunction[P, Coroutine[Any, Any, R]]):
    """A coroutine function whose results are stashed; await it as the function itself."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored result of this call, computed now if there is none."""
        call = self.complete(args, kwargs)
        target, key = await aside(lambda: self._place_of(call))
        return await self._fly_async(target, call, key, since=0)

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call now, and store the result in place of an earlier one."""
        call = self.complete(args, kwargs)
        target, key = await aside(lambda: self._place_of(call))
        return await self._fly_async(target, call, key, since=time_ns())

    def _place_of(self, call: Arguments) -> tuple[Target, Any]:
        target = self._target()
        return target, target.stash.call_key(*call)

    async def _fly_async(self, target: Target, call: Arguments, key: Any, *, since: int) -> R:
        stored, canonical = stored_key(key)

        def look() -> Found[R] | None:
            row = target.stash._get(stored)
            if row is None or time_of(row) < since or is_expired(row, stored):
                return None
            return Found(cast("R", target.stash._decode(row, stored, canonical)))

        async def work() -> R:
            await aside(lambda: self._raise_kept(target.stash, stored))
            self._shared.misses += 1
            args, kwargs = call
            # before the call, which may change its arguments
            key_part = target.stash._codec.key_part(stored, canonical, key)
            try:
                result: R = await self._callee.function(*args, **kwargs)
            except self._kept as exc:
                failure = exc
                await aside(lambda: self._keep_exception(target.stash, stored, failure))
                raise
            await aside(lambda: self._store(target.stash, stored, key_part, result))
            return result

        found = await aside(look)
        if found is not None:
            self._shared.hits += 1
            value: R = found.value
            return value
        if target.flight is None:
            return await work()
        return await target.flight.run_async(stored, look, work, aside)

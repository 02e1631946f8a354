"""Coroutine functions and stashes for event loops."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from hashstash import AsyncHashStash, HashStash

calls: list[Any] = []


async def slow_double(x: int) -> int:
    calls.append(x)
    await asyncio.sleep(0.1)
    if x < 0:
        raise ValueError(x)
    return 2 * x


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def test_a_coroutine_function_is_awaited_once(stash: HashStash) -> None:
    f = stash.stashed_result(slow_double)

    async def main() -> list[int]:
        return list(await asyncio.gather(*(f(n % 2) for n in range(20))))

    assert asyncio.run(main()) == [0, 2] * 10
    assert sorted(calls) == [0, 1]
    assert asyncio.run(main()) == [0, 2] * 10
    assert len(calls) == 2
    assert f.stash.get_func(1) == 2
    assert list(f.stash._engine.sibling("leases").keys()) == []


def test_exceptions_reach_all_who_wait(stash: HashStash) -> None:
    f = stash.stashed_result(slow_double)

    async def main() -> list[Any]:
        return list(await asyncio.gather(*(f(-1) for _ in range(5)), return_exceptions=True))

    assert {repr(found) for found in asyncio.run(main())} == {"ValueError(-1)"}
    assert calls == [-1]


def test_a_cancelled_owner_hands_over(stash: HashStash) -> None:
    f = stash.stashed_result(slow_double)

    async def main() -> int:
        owner = asyncio.create_task(f(5))
        while not calls:
            await asyncio.sleep(0.001)
        waiter = asyncio.create_task(f(5))
        await asyncio.sleep(0.02)
        owner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await owner
        return await waiter

    assert asyncio.run(main()) == 10
    assert calls == [5, 5]


def test_arun_refresh_invalidate(stash: HashStash) -> None:
    def plain(x: int) -> int:
        calls.append(x)
        return x

    async def main() -> None:
        assert await stash.arun(slow_double, 4) == 8
        assert await stash.arun(slow_double, x=4) == 8
        assert await stash.arun(plain, 1) == 1
        assert await stash.arun(plain, 1) == 1
        f = stash.stashed_result(slow_double)
        assert await f.refresh(4) == 8
        assert f.invalidate(4)
        assert not f.is_cached(4)

    asyncio.run(main())
    assert calls == [4, 1, 4]


def test_kept_exceptions_and_ttl(stash: HashStash) -> None:
    f = stash.stashed_result(slow_double, cache_exceptions=ValueError, ttl=60)

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(ValueError, match="-2"):
                await f(-2)

    asyncio.run(main())
    assert calls == [-2]


def test_methods(stash: HashStash) -> None:
    class Model:
        @stash.stashed_result(ignore=["self"], version=1)
        async def ask(self, x: int) -> int:
            calls.append(x)
            return x

    async def main() -> None:
        assert await Model().ask(1) == 1
        assert await Model().ask(1) == 1

    asyncio.run(main())
    assert calls == [1]


def test_an_asynchronous_stash(stash: HashStash) -> None:
    async def main() -> None:
        one = AsyncHashStash(stash)
        assert "AsyncHashStash" not in repr(stash)
        await one.set(["k"], 1)
        assert await one.get(["k"]) == 1
        assert await one.get("x", 5) == 5
        assert await one.contains(["k"])
        await one.update({"a": 2}, b=3)
        await one.set_many([("c", 4)])
        assert await one.length() == 4
        assert await one.get_many(["a", "b", "x"], 0) == [2, 3, 0]
        assert sorted([value async for value in one.values()]) == [1, 2, 3, 4]
        assert len([key async for key in one]) == 4
        assert ("a", 2) in [item async for item in one.items()]
        assert await one.setdefault("a", 9) == 2
        assert await one.pop("a") == 2
        assert await one.pop("a", None) is None
        await one.delete("b")
        with pytest.raises(KeyError):
            await one.delete("b")
        assert await one.delete_many(["c", "x"]) == 1
        assert await one.get_all(["k"]) == [1]
        assert await one.popitem() == (["k"], 1)
        assert await one.run(slow_double, 3) == 6
        await stash.aset("s", 1)
        assert await stash.aget("s") == 1
        await stash.adelete("s")
        assert await (await one.clear()).length() == 0
        async with one:
            pass

    asyncio.run(main())


def test_the_loop_goes_on_while_the_engine_is_slow(
    stash: HashStash, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stash._get

    def slow_get(key: bytes) -> bytes | None:
        time.sleep(0.3)
        return real(key)

    monkeypatch.setattr(stash, "_get", slow_get)

    async def main() -> int:
        ticks = 0
        waiting = asyncio.create_task(stash.aget("k"))
        while not waiting.done():
            ticks += 1
            await asyncio.sleep(0.005)
        return ticks

    assert asyncio.run(main()) > 5

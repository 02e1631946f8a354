"""Functions whose results are on a server that comes and goes."""

from __future__ import annotations

import asyncio
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers.redis import RedisServer

from hashstash import ConfigurationError, EngineUnavailableError, HashStash
from hashstash.engines import ENGINES, Engine
from hashstash.engines.sqlite import SqliteEngine
from hashstash.functions import unavailable
from hashstash.functions.unavailable import CacheUnavailableWarning, outage_of

calls: list[Any] = []
state = {"away": False, "asked": 0, "away_in_call": False}


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    calls.clear()
    unavailable._outages.clear()
    state.update(away=False, asked=0, away_in_call=False)
    yield
    state.update(away=False)
    unavailable._outages.clear()


def recover() -> None:
    """Have it seem that the pause after an outage is over."""
    for outage in unavailable._outages.values():
        outage._until = None


def double(x: int) -> int:
    calls.append(x)
    if state["away_in_call"]:
        state["away"] = True
    if x < 0:
        raise ValueError(x)
    return 2 * x


async def double_later(x: int) -> int:
    return double(x)


class Flaky(SqliteEngine):
    """An engine whose server is away when the tests say so."""


def _watched(name: str) -> Callable[..., Any]:
    def call(self: Engine, *args: Any) -> Any:
        if state["away"]:
            state["asked"] += 1
            raise EngineUnavailableError("away", engine="sqlite", operation=name, place="there")
        return getattr(super(Flaky, self), name)(*args)

    return call


for _name in ("get", "put", "delete", "compare_and_set", "contains", "get_many", "count", "clear"):
    setattr(Flaky, _name, _watched(_name))


@pytest.fixture
def stash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HashStash:
    monkeypatch.setitem(ENGINES._loaded, "sqlite", Flaky)
    return HashStash(tmp_path / "s", engine="sqlite")


@contextmanager
def one_warning() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    assert [w.category for w in found] == [CacheUnavailableWarning]


def test_raise_is_the_default(stash: HashStash) -> None:
    f = stash.stashed_result(double)
    assert f(1) == 2
    state["away"] = True
    with pytest.raises(EngineUnavailableError):
        f(1)
    with pytest.raises(EngineUnavailableError):
        stash.run(double, 2)
    assert calls == [1]


def test_compute_without_it(stash: HashStash) -> None:
    f = stash.stashed_result(double, on_unavailable="miss")
    assert [f(1), f(1)] == [2, 2]
    assert calls == [1]
    state["away"] = True
    with one_warning():
        assert [f(1), f(1), f(2)] == [2, 2, 4]
    assert calls == [1, 1, 1, 2]
    assert state["asked"] == 1, "one call found out"
    with pytest.raises(ValueError, match="-3"):
        f(-3)
    assert not f.is_cached(1)


def test_it_is_tried_again(stash: HashStash, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(unavailable, "monotonic", lambda: now)
    f = stash.stashed_result(double, on_unavailable="miss")
    state["away"] = True
    with one_warning():
        f(1)
        now += 29
        f(1)
        assert state["asked"] == 1
        now += 2
        f(1)
        assert state["asked"] == 2
        f(1)
        assert state["asked"] == 2
    state["away"] = False
    now += 31
    calls.clear()
    assert [f(1), f(1)] == [2, 2]
    assert calls == [1]
    assert list(f.stash.items()) == [(((1,), {}), 2)]
    state["away"] = True
    with one_warning():  # another outage
        f(1)


def test_it_goes_while_the_function_computes(stash: HashStash) -> None:
    f = stash.stashed_result(double, on_unavailable="miss", cache_exceptions=ValueError)
    state["away_in_call"] = True
    with one_warning():
        assert f(1) == 2
    assert calls == [1], "the result is used, though it could not be stored"
    state["away_in_call"] = state["away"] = False
    recover()
    g = stash.stashed_result(double, on_unavailable="miss", cache_exceptions=ValueError)
    state["away_in_call"] = True
    with one_warning(), pytest.raises(ValueError, match="-1"):
        g(-1)


def test_errors_of_the_function_itself_are_its_own(stash: HashStash) -> None:
    def asks_elsewhere() -> None:
        raise EngineUnavailableError("elsewhere", engine="x", operation="get", place="there")

    f = stash.stashed_result(asks_elsewhere, on_unavailable="miss")
    with pytest.raises(EngineUnavailableError, match="elsewhere"):
        f()
    assert not outage_of(f.stash._engine).lasts()


def test_functions_of_a_stash_share_what_they_know(tmp_path: Path, redis_url: str) -> None:
    one = HashStash(tmp_path / "one", engine="redis", url="redis://127.0.0.1:1/0")
    other = HashStash(tmp_path / "other", engine="redis", url="redis://127.0.0.1:1/0")
    third = HashStash(tmp_path / "third", engine="redis", url=redis_url)
    with one_warning():
        assert one.stashed_result(double, on_unavailable="miss")(1) == 2
        assert other.stashed_result(double, on_unavailable="miss")(1) == 2
    f = third.stashed_result(double, on_unavailable="miss")
    assert [f(1), f(1)] == [2, 2]
    assert calls == [1, 1, 1]
    f.stash._engine.destroy()
    third._engine.destroy()


def test_what_a_user_does_with_the_results_raises(stash: HashStash) -> None:
    f = stash.stashed_result(double, on_unavailable="miss")
    f(1)
    state["away"] = True
    with one_warning():
        f(1)
    for act in (
        lambda: f.invalidate(1),
        f.cache_clear,
        lambda: f.stash.__setitem__(((1,), {}), 3),
        lambda: f.stash[(1,), {}],
        lambda: len(f.stash),
    ):
        with pytest.raises(EngineUnavailableError):
            act()
    state["away"] = False
    recover()
    assert f.is_cached(1)
    assert f.invalidate(1)
    assert not f.is_cached(1)


def test_versions_are_kept_when_it_is_back(tmp_path: Path, stash: HashStash) -> None:
    kept = HashStash(tmp_path / "s", "versions", engine="sqlite", append_mode=True)
    f = kept.stashed_result(double, on_unavailable="miss")
    state["away"] = True
    with one_warning():
        assert f(1) == 2
    state["away"] = False
    recover()
    assert f(1) == 2
    assert f.refresh(1) == 2
    assert f.stash.get_all(((1,), {})) == [2, 2]


def test_coroutines(stash: HashStash) -> None:
    f = stash.stashed_result(double_later, on_unavailable="miss")

    async def use() -> None:
        assert await f(1) == 2
        assert await f(1) == 2
        assert calls == [1]
        state["away"] = True
        with one_warning():
            assert list(await asyncio.gather(f(1), f(1), f(2))) == [2, 2, 4]

    asyncio.run(use())
    assert sorted(calls) in ([1, 1, 1, 2], [1, 1, 2])


def test_threads_wait_for_one_computation_still(stash: HashStash) -> None:
    f = stash.stashed_result(slow, on_unavailable="miss")
    state["away"] = True
    gate.clear()
    results: list[int] = []
    with one_warning():
        threads = [threading.Thread(target=lambda: results.append(f(1))) for _ in range(3)]
        for thread in threads:
            thread.start()
        gate.set()
        for thread in threads:
            thread.join()
    assert results == [2, 2, 2]


gate = threading.Event()


def slow(x: int) -> int:
    gate.wait()
    return double(x)


def test_immutable_copies_close_by_serve_on(tmp_path: Path, stash: HashStash) -> None:
    near = HashStash(tmp_path / "s", "near", engine="sqlite", near="memory", near_mode="immutable")
    f = near.stashed_result(double, on_unavailable="miss")
    assert f(1) == 2
    state["away"] = True
    with one_warning():
        assert [f(1), f(2), f(1), f(2)] == [2, 4, 2, 4]
    assert calls == [1, 2, 2]


def test_maps(stash: HashStash) -> None:
    state["away"] = True
    with one_warning():
        f = stash.stash_mapped(num_proc=1, on_unavailable="miss")(double)
        assert f([1, 2, 3]).results == [2, 4, 6]
    assert calls == [1, 2, 3]


def test_a_server_that_is_killed_and_comes_back(
    tmp_path: Path, own_redis: Callable[..., RedisServer]
) -> None:
    server = own_redis()
    stash = HashStash(tmp_path / "s", engine="redis", url=server.url)
    f = stash.stashed_result(double, on_unavailable="miss")
    assert [f(1), f(1)] == [2, 2]
    server.kill()
    with one_warning():
        assert [f(1), f(1), f(2)] == [2, 2, 4]
    server.start()
    recover()
    calls.clear()
    assert [f(3), f(3)] == [6, 6]
    assert calls == [3]


def test_options_are_checked_and_pickled(stash: HashStash) -> None:
    with pytest.raises(ConfigurationError, match="'raise' or 'miss', not 'mis'"):
        stash.stashed_result(double, on_unavailable="mis")
    f = pickle.loads(pickle.dumps(stash.stashed_result(double, on_unavailable="miss")))
    state["away"] = True
    with one_warning():
        assert f(1) == 2

"""Results of functions: never a wrong one, never computed twice."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from stashes import MakeStash

from hashstash import (
    ConfigurationError,
    HashStash,
    UnstableKeyError,
    UnstorableResultWarning,
    stashed_result,
)

calls: list[Any] = []
gate = threading.Event()


@pytest.fixture(autouse=True)
def _no_calls() -> Iterator[None]:
    calls.clear()
    yield
    calls.clear()


def double(x: int, verbose: int = 0) -> int:
    """Double it."""
    calls.append(x)
    return 2 * x


def adder(n: int) -> Callable[[int], int]:
    return lambda x: x + n


# -- identity --------------------------------------------------------------------------------


def test_ways_to_write_a_call_are_one_entry(stash: HashStash) -> None:
    assert stash.run(double, 1) == 2
    assert stash.run(double, x=1) == 2
    assert stash.run(double, 1, verbose=0) == 2
    assert stash.run(double, 1, 0) == 2
    assert calls == [1]
    assert list(double.stash.items()) == [(((1,), {"verbose": 0}), 2)]  # type: ignore[attr-defined]


def test_a_wrong_call_raises_before_any_look_up(stash: HashStash) -> None:
    with pytest.raises(TypeError, match="typo"):
        stash.run(double, 1, typo=3)  # type: ignore[call-arg]
    assert calls == []
    assert len(stash.stashed_result(double).stash) == 0


def test_underscore_arguments_are_the_functions_own(stash: HashStash) -> None:
    def f(_x: int = 0, _force: int = 1) -> tuple[int, int]:
        return _x, _force

    assert stash.run(f, _x=5) == (5, 1)
    assert stash.run(f, _force=7) == (0, 7)


def test_lambdas_are_told_apart(stash: HashStash) -> None:
    one, other = (lambda x: x + 1), (lambda x: x + 100)
    assert (stash.run(one, 1), stash.run(other, 1)) == (2, 101)
    loop = [lambda x, n=i: x + n for i in range(3)]
    assert [stash.run(f, 10) for f in loop] == [10, 11, 12]
    closures = [adder(i) for i in range(3)]
    assert [stash.run(f, 10) for f in closures] == [10, 11, 12]


def test_closures_are_told_apart_by_value(stash: HashStash) -> None:
    def make(helper: Callable[[int], int]) -> Callable[[int], int]:
        def f(x: int) -> int:
            return helper(x)

        return f

    def local_a() -> Callable[[int], int]:
        def helper(x: int) -> int:
            return x + 1

        return helper

    def local_b() -> Callable[[int], int]:
        def helper(x: int) -> int:
            return x + 100

        return helper

    assert stash.run(make(local_a()), 1) == 2
    assert stash.run(make(local_b()), 1) == 101


def test_a_closure_that_changes_is_another_function(stash: HashStash) -> None:
    n = 1

    def f(x: int) -> int:
        return x + n

    assert stash.run(f, 1) == 2
    n = 100
    assert stash.run(f, 1) == 101


def test_a_closure_over_what_has_no_stable_form_needs_a_version(stash: HashStash) -> None:
    lock = threading.Lock()

    def f(x: int) -> int:
        with lock:
            return x

    with pytest.raises(UnstableKeyError, match="version="):
        stash.run(f, 1)
    assert stash.stashed_result(f, version=1)(1) == 1


def test_functions_without_source(stash: HashStash) -> None:
    spaces: list[dict[str, Any]] = [{}, {}]
    exec("def f(x): return x + 1", spaces[0])
    exec("def f(x): return x + 100", spaces[1])
    assert [stash.run(space["f"], 1) for space in spaces] == [2, 101]


class Counter:
    def __init__(self, start: int) -> None:
        self.start = start

    def add(self, x: int) -> int:
        calls.append(x)
        return self.start + x

    @classmethod
    def name(cls, x: int) -> str:
        calls.append(x)
        return f"{cls.__name__} {x}"

    @staticmethod
    def static(x: int) -> int:
        calls.append(x)
        return x

    def __call__(self, x: int) -> int:
        calls.append(x)
        return self.start * x


class Other(Counter):
    pass


def test_methods_of_all_kinds(stash: HashStash) -> None:
    for _ in range(2):
        assert stash.run(Counter(1).add, 2) == 3
        assert stash.run(Counter(5).add, 2) == 7
        assert stash.run(Counter.name, 1) == "Counter 1"
        assert stash.run(Other.name, 1) == "Other 1"
        assert stash.run(Counter.static, 4) == 4
        assert stash.run(Counter(3), 2) == 6
        assert stash.run(Counter(4), 2) == 8
    assert len(calls) == 7


def test_partials(stash: HashStash) -> None:
    assert stash.run(functools.partial(double, 4)) == 8
    assert stash.run(functools.partial(double, verbose=0), 4) == 8
    assert stash.run(functools.partial(functools.partial(double), 4)) == 8
    assert stash.run(double, 4) == 8
    assert calls == [4]


def test_builtins_and_classes(stash: HashStash) -> None:
    assert stash.run(max, [1, 3, 2]) == 3
    assert stash.run(max, 1, 5) == 5
    assert stash.run(int, "12") == 12
    assert stash.run(sorted, [3, 1], reverse=True) == [3, 1]
    assert stash.run("abc".upper) == "ABC"
    assert stash.run("xyz".upper) == "XYZ"


def test_a_function_that_changes_its_arguments_still_hits(stash: HashStash) -> None:
    def consume(items: list[int]) -> int:
        calls.append(1)
        items.append(0)
        return len(items)

    assert stash.run(consume, [1, 2]) == 3
    assert stash.run(consume, [1, 2]) == 3
    assert len(calls) == 1


def test_a_key_is_kept_as_it_was_before_the_call(stash: HashStash) -> None:
    def consume(counter: Counter) -> int:
        counter.start += 1
        return counter.start

    assert stash.run(consume, Counter(1)) == 2
    assert stash.run(consume, Counter(1)) == 2
    (((counter,), _),) = consume.stash.keys()  # type: ignore[attr-defined]
    assert counter.start == 1


def test_iterators_are_refused_and_not_consumed(stash: HashStash) -> None:
    numbers = (n for n in range(3))
    with pytest.raises(UnstableKeyError):
        stash.run(list, numbers)
    assert list(numbers) == [0, 1, 2]


def test_results_of_equal_names_in_two_scripts_never_meet(tmp_path: Path) -> None:
    for name, number in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.py").write_text(
            "from hashstash import HashStash\n"
            f"def f(x): return x + {number}\n"
            f"def g(x): return helper(x)\ndef helper(x): return {number}\n"
            f"stash = HashStash({str(tmp_path / 'stash')!r})\n"
            "print(stash.run(f, 0), stash.run(g, 0))\n"
        )
    for name, expected in (("a", "1 1"), ("b", "2 2"), ("a", "1 1")):
        run = subprocess.run(
            [sys.executable, str(tmp_path / f"{name}.py")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == expected


# -- changed code ----------------------------------------------------------------------------


def module_of(text: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import importlib

    (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    sys.dont_write_bytecode = True
    import linecache

    linecache.clearcache()
    return importlib.import_module(name)


CODE = """
def helper(x):
    return x + {n}

def f(x):
    {doc}
    return helper(x) * {m}
"""


def version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int = 1, m: int = 1, doc: str = "pass"
) -> Any:
    text = CODE.format(n=n, m=m, doc=doc)
    return module_of(text, tmp_path, "hashstash_changing", monkeypatch).f


def test_a_changed_body_is_computed_anew(
    stash: HashStash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stash.run(version(tmp_path, monkeypatch, m=1), 1) == 2
    assert stash.run(version(tmp_path, monkeypatch, m=10), 1) == 20
    assert stash.run(version(tmp_path, monkeypatch, n=5), 1) == 2  # its helper is not its body


def test_comments_docstrings_and_format_do_not_count(
    stash: HashStash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = set()
    for doc in ("'one'", "'other'", "'''long\n    text'''  # and a comment"):
        f = version(tmp_path, monkeypatch, doc=doc)
        places.add(stash.stashed_result(f).stash.path)
    assert len(places) == 1


def test_deps_follow_the_functions_of_the_same_package(
    stash: HashStash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(**change: int) -> int:
        f = version(tmp_path, monkeypatch, **change)  # type: ignore[arg-type]
        return int(stash.stashed_result(f, on_change="deps")(1))

    assert (run(n=1), run(n=5), run(n=1, m=2)) == (2, 6, 4)


def test_a_helper_that_is_defined_again_counts_at_once(stash: HashStash) -> None:
    space: dict[str, Any] = {"__name__": "a_notebook"}
    exec("def helper(x): return x + 1\ndef f(x): return helper(x)", space)
    f = stash.stashed_result(space["f"], on_change="deps")
    assert f(1) == 2
    exec("def helper(x): return x + 100", space)
    assert f(1) == 101


def test_ignored_changes_and_explicit_versions(
    stash: HashStash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options, expected in (
        ({"on_change": "ignore"}, [2, 2]), ({"version": "v1"}, [2, 2]),
    ):  # fmt: skip
        found = [
            stash.stashed_result(version(tmp_path, monkeypatch, m=m), **options)(1) for m in (1, 3)
        ]
        assert found == expected
    f = version(tmp_path, monkeypatch, m=3)
    assert stash.stashed_result(f, version="v2")(1) == 6
    with pytest.raises(ConfigurationError, match="on_change"):
        stash.stashed_result(f, on_change="never")


def test_earlier_results_stay_until_pruned(
    stash: HashStash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stash.stashed_result(version(tmp_path, monkeypatch, m=1))
    assert first(1) == 2
    second = stash.stashed_result(version(tmp_path, monkeypatch, m=2))
    explained = second.explain(1)
    assert (explained.hit, explained.reason) == (False, "code changed")
    assert second(1) == 4
    assert first.stash.get_func(1) == 2
    assert second.prune() == 1
    assert second.prune() == 0
    assert first.stash.get_func(1) is None
    assert second.stash.get_func(1) == 4


# -- the stash of a function ----------------------------------------------------------------


def test_the_stash_of_a_function(stash: HashStash) -> None:
    f = stash.stashed_result(double)
    assert f(3) == 6
    assert f.stash.get(((3,), {})) == 6
    assert f.stash.get(((), {"x": 3})) == 6
    assert f.stash[(3,), {"verbose": 0}] == 6
    assert f.stash.get_func(3) == f.get_func(x=3) == 6
    assert f.get_func(4) is None
    assert ((3,), {}) in f.stash
    assert f.stash.to_dict()["is_function_stash"] is True
    with pytest.raises(TypeError, match="kwargs"):
        f.stash.get("no call")
    for key, _ in f.stash.items():
        args, kwargs = key
        assert (args, kwargs) == ((3,), {"verbose": 0})
    again = pickle.loads(pickle.dumps(f.stash))
    if not stash._engine.private:
        assert list(again.items()) == list(f.stash.items())
    f.stash[(7,), {}] = 70
    assert f(7) == 70
    assert list(stash) == []


def test_ignore_key_hash_and_metadata(stash: HashStash) -> None:
    def f(x: int, verbose: bool = False) -> int:
        calls.append(x)
        return x

    ignoring = stash.stashed_result(f, ignore=["verbose"], version=1)
    assert ignoring(1, True) == ignoring(1, verbose=False) == 1
    assert len(calls) == 1
    keyed = stash.stashed_result(f, key=lambda x, verbose=False: (x % 10,), version=2)
    assert (keyed(3), keyed(13)) == (3, 3)
    assert list(keyed.stash) == [(3,)]
    assert keyed.stash.get((3,)) == 3
    hashed = stash.stashed_result(
        f, key=lambda x: (x,), hash=lambda k: f"the number {k[0]}", metadata=lambda: {"by": "me"},
        version=3,
    )  # fmt: skip
    assert hashed(5) == 5
    assert list(hashed.stash) == ["the number 5"]
    assert hashed.stash.get_metadata(5) == {"by": "me"}
    assert hashed.stash.get_metadata(6) is None
    with pytest.raises(TypeError, match="text"):
        stash.stashed_result(f, hash=lambda k: 5)(1)
    with pytest.raises(ConfigurationError, match="no parameter"):
        stash.stashed_result(f, ignore=["typo"])


def test_self_is_a_part_of_the_key_or_ignored(stash: HashStash) -> None:
    class Model:
        def __init__(self, n: int) -> None:
            self.n = n

        def __stable_key__(self) -> int:
            return self.n

        @stash.stashed_result
        def kept(self, x: int) -> int:
            return self.n + x

        @stash.stashed_result(ignore=["self"])
        def ignoring(self, x: int) -> int:
            calls.append(x)
            return self.n + x

        @classmethod
        @stash.stashed_result
        def of_class(cls, x: int) -> str:
            return f"{cls.__name__}{x}"

        @stash.stashed_result
        @staticmethod
        def static(x: int) -> int:
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstorableResultWarning)
        assert (Model(1).kept(1), Model(2).kept(1)) == (2, 3)
    assert (Model(1).ignoring(1), Model(2).ignoring(1)) == (2, 2)
    assert calls == [1]
    assert Model.static(5) == Model(1).static(5) == 5


# -- decorating ------------------------------------------------------------------------------


def test_ways_to_decorate(tmp_path: Path, stash: HashStash) -> None:
    @stash.stashed_result
    def bare(x: int) -> int:
        """Say x."""
        return x

    @stash.stashed_result()
    def empty(x: int) -> int:
        return x

    @stash.stashed_result(ttl=60)
    def options(x: int) -> int:
        return x

    @stashed_result(str(tmp_path / "other"), engine="pairtree", ttl=60)
    def settings(x: int) -> int:
        return x

    @stashed_result
    def default(x: int) -> int:
        return x

    for f in (bare, empty, options, settings, default):
        assert f(3) == f(3) == 3
        assert f.cache_info().hits >= 1
    assert (bare.__wrapped__.__name__, bare.__doc__) == ("bare", "Say x.")
    assert bare.__wrapped__(4) == 4
    assert settings.stash.path.startswith(str(tmp_path / "other"))
    default.cache_clear()
    with pytest.raises(TypeError, match="unexpected"):
        stash.stashed_result(tlt=5)
    with pytest.raises(TypeError, match="engin"):
        stashed_result("x", engin="lmdb")
    with pytest.raises(TypeError, match="callable"):
        stash.run(5)  # type: ignore[arg-type]


@stashed_result("decorated_in_a_module", engine="memory")
def decorated(x: int) -> int:
    return x + 1


def test_a_decorated_function_pickles() -> None:
    again = pickle.loads(pickle.dumps(decorated))
    assert again is decorated
    assert again(1) == 2


def test_cache_info_and_clear(stash: HashStash) -> None:
    f = stash.stashed_result(double)
    f(1), f(1), f(2)
    assert f.cache_info() == (1, 2, None, 2)
    f.cache_clear()
    assert f.cache_info() == (0, 0, None, 0)
    f(1)
    assert calls == [1, 2, 1]


def test_invalidate_and_refresh(stash: HashStash) -> None:
    f = stash.stashed_result(double)
    f(1)
    assert f.is_cached(1)
    assert f.invalidate(x=1) is True
    assert f.invalidate(x=1) is False
    assert not f.is_cached(1)
    f(1)
    assert f.refresh(1) == 2
    assert calls == [1, 1, 1]
    f(1)
    assert calls == [1, 1, 1]


def test_explain(stash: HashStash) -> None:
    f = stash.stashed_result(double)
    assert f.explain(1).reason == "no results"
    f(1), f(50, verbose=3)
    assert str(f.explain(1)).startswith("hit: stored")
    told = f.explain(2)
    assert (told.hit, told.reason) == (False, "other arguments")
    assert "argument 1: 2, and in the nearest entry 1" in str(told)
    assert "verbose" in str(f.explain(50, verbose=4))
    assert calls == [1, 50]


# -- time, exceptions, what cannot be stored -------------------------------------------------


def test_ttl(stash: HashStash) -> None:
    f = stash.stashed_result(double, ttl=0.3)
    f(1), f(1)
    assert calls == [1]
    assert f.is_cached(1)
    time.sleep(0.4)
    assert not f.is_cached(1)
    assert f.get_func(1) is None
    assert f.explain(1).reason == "expired"
    f(1)
    assert calls == [1, 1]
    for wrong in (0, -1, timedelta(0)):
        with pytest.raises(ConfigurationError, match="ttl"):
            stash.stashed_result(double, ttl=wrong)
    with pytest.raises(TypeError, match="seconds"):
        stash.stashed_result(double, ttl="1h")
    assert stash.stashed_result(double, ttl=timedelta(hours=1))(9) == 18


def test_stale_while_revalidate(stash: HashStash) -> None:
    gate.clear()

    def f(x: int) -> int:
        calls.append(x)
        if len(calls) > 1:
            assert gate.wait(10)
        return len(calls)

    g = stash.stashed_result(f, refresh_after=0.05)
    assert g(1) == 1
    time.sleep(0.1)
    assert [g(1) for _ in range(5)] == [1] * 5  # at once, while one refresh is under way
    gate.set()
    deadline = time.monotonic() + 10
    while g.get_func(1) == 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert g.get_func(1) == 2
    assert len(calls) == 2


def test_exceptions_are_raised_and_not_kept(stash: HashStash) -> None:
    def fail(x: int) -> int:
        calls.append(x)
        raise ValueError(x)

    for _ in range(2):
        with pytest.raises(ValueError, match="7"):
            stash.run(fail, 7)
    assert len(calls) == 2


def test_exceptions_are_kept_on_request(stash: HashStash) -> None:
    def fail(x: int) -> int:
        calls.append(x)
        raise TimeoutError(x) if x else KeyError(x)

    f = stash.stashed_result(fail, cache_exceptions=(TimeoutError,), exceptions_ttl=0.4)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            f(7)
    assert calls == [7]
    assert len(f.stash) == 0
    for _ in range(2):
        with pytest.raises(KeyError):
            f(0)
    assert calls == [7, 0, 0]
    time.sleep(0.5)
    with pytest.raises(TimeoutError):
        f(7)
    assert calls == [7, 0, 0, 7]
    assert f.invalidate(7)
    with pytest.raises(TypeError, match="exceptions"):
        stash.stashed_result(fail, cache_exceptions=5)


def test_what_cannot_be_stored_is_returned_with_a_warning(stash: HashStash) -> None:
    def f() -> Any:
        calls.append(1)
        return (n for n in range(3))

    with pytest.warns(UnstorableResultWarning, match="generator"):
        assert list(stash.run(f)) == [0, 1, 2]
    with pytest.warns(UnstorableResultWarning):
        assert list(stash.run(f)) == [0, 1, 2]
    from hashstash import SerializationError

    with pytest.raises(SerializationError):
        stash.stashed_result(f, strict=True)()


def test_append_mode_keeps_every_result(make: MakeStash) -> None:
    f = make(append_mode=True).stashed_result(double)
    f(1), f.refresh(1)
    assert f.stash.get_all(((1,), {})) == [2, 2]


def test_a_none_is_a_result(stash: HashStash) -> None:
    def f() -> None:
        calls.append(1)

    assert stash.run(f) is None
    assert stash.run(f) is None
    assert calls == [1]


def test_results_of_a_temporary_stash_go_with_it(stash: HashStash) -> None:
    with stash.tmp() as tmp:
        tmp.run(double, 1)
        tmp.run(double, 1)
        assert calls == [1]
        path = double.stash.path  # type: ignore[attr-defined]
    assert not Path(path).exists()
    stash.run(double, 1)
    assert calls == [1, 1]

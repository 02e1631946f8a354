# ruff: noqa: PLC3002, PLW0108 - lambdas as users write them
from __future__ import annotations

import collections
import functools
import importlib.util
import math
import os.path
import random
import types
import xml
import xml.dom.minidom
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from value_checks import HASHSTASH, as_data, round_trip

from hashstash.errors import UntrustedRowError
from hashstash.serializers.hashstash_format import functions as stored_functions

FACTOR = 7
TABLE = {"a": [1]}
SENTINEL = object()
# fmt: off
first, second = lambda x: x + 1, lambda x: x * 100
comma, colon = lambda x: (x, {"k": x}), lambda x: {"a:b": x}[f"a{':'}b"]
# fmt: on


def top_level(x: int) -> int:
    return x + FACTOR


def uses_helper(x: int) -> int:
    return top_level(x) * 2


@functools.lru_cache(maxsize=5)
def cached(x: int) -> int:
    return x + 1


def passes(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return ("passed", function(*args, **kwargs))

    return wrapper


@passes
def decorated(x: int) -> int:
    """Say something."""
    return x + 1


class Thing:
    def __init__(self, n: int = 1) -> None:
        self.n = n

    def method(self, x: int) -> int:
        return self.n + x

    def __private(self, x: int) -> int:
        return self.n * x

    def private(self) -> Any:
        return self.__private

    @classmethod
    def make(cls, n: int) -> Thing:
        return cls(n)

    @staticmethod
    def static(x: int) -> int:
        return x

    def local(self) -> Callable[[], int]:
        return lambda: self.__private(2)


def counter() -> tuple[Callable[[], int], Callable[[], int]]:
    count = 0

    def increment() -> int:
        nonlocal count
        count += 1
        return count

    def get() -> int:
        return count

    return increment, get


def module(tmp_path: Path, text: str, name: str = "made_for_test") -> Any:
    """Return a module that no other process can import."""
    path = tmp_path / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


# --- by import


@pytest.mark.parametrize(
    "value",
    [
        top_level,
        cached,
        decorated,
        Thing.method,
        Thing.make,
        Thing.static,
        math.sin,
        print,
        os.path.join,
        str.upper,
        dict.fromkeys,
        int.__add__,
        collections.OrderedDict.fromkeys,
        random.random,
        math,
        os.path,
    ],
    ids=lambda value: getattr(value, "__qualname__", "module"),
)
def test_what_can_be_imported_is_the_same(value: Any) -> None:
    found = round_trip([value])[0]
    assert found == value
    if not isinstance(value, types.MethodType | types.BuiltinFunctionType):
        assert found is value


@pytest.mark.parametrize("value", [len, sorted, repr, max], ids=lambda value: value.__name__)
def test_harmless_builtins_are_data(value: Any) -> None:
    assert as_data(value) is value


@pytest.mark.parametrize("value", [eval, exec, open, getattr, __import__, print, vars], ids=repr)
def test_other_builtins_are_code(value: Any) -> None:
    data = HASHSTASH.dumps([value])
    assert HASHSTASH.needs_trust(data)
    with pytest.raises(UntrustedRowError):
        HASHSTASH.loads(data, trusted=False)
    assert HASHSTASH.loads(data, trusted=True) == [value]


# --- by source


def test_lambdas_that_share_a_line() -> None:
    one, two = round_trip((first, second))
    assert (one(1), two(1)) == (2, 100)
    one, two = round_trip((comma, colon))
    assert (one(1), two(1)) == ((1, {"k": 1}), 1)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x, 5),
        (lambda x, y=2, *a, z=3, **k: (x, y, a, z, k), (5, 2, (), 3, {})),
        (lambda x: [i for i in range(x) if i % 2], [1, 3]),
        (lambda x: (lambda y: y + x)(1), 6),
        (lambda x: f"{x!r:>3}", "  5"),
        (lambda x: x or (x, ":", "lambda"), 5),
        (lambda x: (
            x,
            "a\n  b",
        ), (5, "a\n  b")),
        (lambda x: FACTOR * x, 35),
        (lambda x: math.floor(x / 2), 2),
        (lambda x: top_level(x), 12),
        (lambda x: isinstance(x, int), True),
        (lambda x: {"a": x}["a"], 5),
        (lambda x: x[0] if isinstance(x, list) else (lambda: x)(), 5),
        (lambda x: xml.dom.minidom.Node.ELEMENT_NODE + x, 6),
        (lambda x: (x, TABLE["a"][0]), (5, 1)),
    ],
    ids=range(15),
)  # fmt: skip
def test_lambdas(function: Callable[[int], Any], expected: Any) -> None:
    found = round_trip(function)
    assert found is not function
    assert found(5) == expected
    again = round_trip(found)
    assert again(5) == expected
    assert b'"lambda' in HASHSTASH.dumps(found)


def test_what_a_function_knows_about_itself() -> None:
    def local(x: int, /, y: Any = (1, [2]), *, z: Any = None, **more: str) -> list[int]:
        """Say something."""
        return [x, y, z, more]

    local.note = {"a": [1]}  # type: ignore[attr-defined]
    local.__kwdefaults__["z"] = 5  # type: ignore[index]
    found = round_trip(local)
    assert found(1, k="v") == [1, (1, [2]), 5, {"k": "v"}]
    for name in (
        "__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__",
        "__annotations__", "__dict__",
    ):  # fmt: skip
        assert getattr(found, name) == getattr(local, name)


def test_renamed_functions() -> None:
    function = lambda: 1
    function.__name__ = function.__qualname__ = "other"
    function.__doc__, function.__module__ = "Say.", "elsewhere"
    found = round_trip(function)
    assert (found.__name__, found.__qualname__, found.__doc__, found.__module__) == (
        "other", "other", "Say.", "elsewhere",
    )  # fmt: skip


def test_recursive_closures() -> None:
    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    found = round_trip(factorial)
    assert found(5) == 120
    assert found.__closure__[0].cell_contents is found


def test_closures_that_call_each_other() -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    found = round_trip([even, odd])
    assert (found[0](10), found[1](10)) == (True, False)
    assert found[0].__closure__[0].cell_contents is found[1]


def test_functions_that_share_a_cell_go_on_sharing_it() -> None:
    increment, get = counter()
    increment()
    found_increment, found_get = round_trip((increment, get))
    assert (found_increment(), found_get(), get()) == (2, 2, 1)


def test_an_empty_cell() -> None:
    def outer() -> Callable[[], int]:
        def inner() -> int:
            return later

        if FACTOR < 0:
            later = 1
        return inner

    found = round_trip(outer())
    with pytest.raises(NameError):
        found()


def test_nested_functions_and_generators() -> None:
    def outer(n: int) -> Iterator[int]:
        class Box:
            def __init__(self, i: int) -> None:
                self.i = i

        def inner(i: int) -> Box:
            return Box(i * FACTOR)

        for i in range(n):
            yield inner(i).i

    assert list(round_trip(outer)(3)) == [0, 7, 14]


def test_coroutines_and_context_managers() -> None:
    async def waits(x: int) -> int:
        return x + FACTOR

    @contextmanager
    def manages(x: int) -> Iterator[int]:
        yield x + 1

    coroutine = round_trip(waits)(1)
    with pytest.raises(StopIteration) as caught:
        coroutine.send(None)
    assert caught.value.value == 8
    with round_trip(manages)(1) as found:
        assert found == 2


def test_decorated_and_cached_closures() -> None:
    calls: list[int] = []

    @functools.lru_cache(maxsize=3, typed=True)
    def local(x: int) -> int:
        return x + FACTOR

    @passes
    def wrapped(x: int) -> int:
        calls.append(x)
        return x

    local(1)
    found, other, seen = round_trip((local, wrapped, calls))
    assert found(1) == 8
    assert found.cache_parameters() == {"maxsize": 3, "typed": True}
    assert found.cache_info().currsize == 1
    assert found.__wrapped__(2) == 9
    assert other(3) == ("passed", 3)
    assert seen == [3]
    assert calls == []
    assert other.__wrapped__(4) == 4
    assert (other.__name__, other.__qualname__) == (wrapped.__name__, wrapped.__qualname__)


def test_partials_and_methods() -> None:
    thing = Thing(3)
    values: Any = (
        functools.partial(lambda x, y: x - y, y=1),
        thing.method,
        thing.private(),
        thing.local(),
        Thing.make,
        [].append,
        {"a": 1}.get,
        "abc".upper,
        (5).__add__,
        types.MethodType(lambda self, x: (self, x), 7),
    )
    found = round_trip(values)
    assert found[0](3) == 2
    assert (found[1](1), found[2](2), found[3]()) == (4, 6, 6)
    assert found[4](9).n == 9
    assert found[6]("a") == 1
    assert found[7]() == "ABC"
    assert found[8](1) == 6
    assert found[9](1) == (7, 1)


def test_a_method_shares_its_object() -> None:
    thing, items = Thing(3), [1]
    found, found_thing, append, found_items = round_trip((thing.method, thing, items.append, items))
    assert found.__self__ is found_thing
    append(2)
    assert found_items == [1, 2]


def test_globals_are_shared_within_a_value(tmp_path: Path) -> None:
    made = module(
        tmp_path,
        "count = [0]\nlimit = 5\n"
        "def up():\n    count[0] += 1\n    return count[0]\n"
        "def get():\n    return count[0]\n"
        "def change(n):\n    global limit\n    limit = n\n"
        "def read():\n    return limit\n",
    )
    up, get, change, read = round_trip((made.up, made.get, made.change, made.read))
    assert up() == 1
    assert get() == 1
    assert made.count == [0]
    change(9)
    assert read() == 9
    assert made.limit == 5
    assert up.__globals__ is get.__globals__ is not made.__dict__


def test_functions_are_rebuilt_in_no_module_of_ours(tmp_path: Path) -> None:
    made = module(tmp_path, "def f():\n    return sorted(globals())\n")
    found = round_trip(made.f)
    assert found.__globals__ is not vars(stored_functions)
    names = set(found())
    assert names == {"__builtins__", "__hashstash_home__", "__name__"}


def test_globals_that_an_importable_module_holds_are_its_own() -> None:
    function = lambda: (SENTINEL, TABLE, FACTOR)
    found = round_trip(function)()
    assert found[0] is SENTINEL
    assert found[1] is TABLE


def test_a_file_that_was_edited_since(tmp_path: Path) -> None:
    made = module(tmp_path, "def f(x):\n    return x + 1\n")
    (tmp_path / "made_for_test.py").write_text("def f(x):\n    return x + 2\n", encoding="utf-8")
    assert round_trip(made.f)(1) == 2

from __future__ import annotations

import array
import collections
import copy
import enum
import functools
import io
import pickle
import re
import socket
import sqlite3
import sys
import threading
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations, count
from typing import Any

import key_samples as s
import pytest

from hashstash.errors import ConfigurationError, UnstableKeyError
from hashstash.keys import register_key, stable_bytes, stored_key


def all_differ(*values: Any) -> bool:
    return all(stable_bytes(a) != stable_bytes(b) for a, b in combinations(values, 2))


def all_equal(*values: Any) -> bool:
    return len({stable_bytes(value) for value in values}) == 1


EVERYTHING: list[Any] = [
    collections.OrderedDict(b=1, a=2),
    collections.OrderedDict(a=2, b=1),
    {"a": 2, "b": 1},
    collections.Counter({"a": 2, "b": 1}),
    collections.defaultdict(None, {"a": 2, "b": 1}),
    collections.defaultdict(int, {"a": 2, "b": 1}),
    collections.defaultdict(list, {"a": 2, "b": 1}),
    s.Pairs(a=2, b=1),
    types.SimpleNamespace(a=2, b=1),
    types.MappingProxyType({"a": 2, "b": 1}),
    s.Plain(a=2, b=1),
    collections.ChainMap({"a": 2, "b": 1}),
    collections.UserDict({"a": 2, "b": 1}),
    collections.deque([1, 2]),
    collections.deque([1, 2], 2),
    collections.deque([1, 2], 3),
    [1, 2],
    (1, 2),
    s.Row([1, 2]),
    s.Named(1, "2"),
    s.Named(1, 2),  # type: ignore[arg-type] # of another type
    s.Old(1, 2),
    {1, 2},
    s.Bag({1, 2}),
    s.FrozenBag({1, 2}),
    array.array("i", [1, 2]),
    array.array("d", [1, 2]),
    array.array("f", [1, 2]),
    b"\x01\x02",
    memoryview(b"\x01\x02"),
    memoryview(array.array("H", [1, 2])),
    s.Point(1, 2),
    s.Point(1, 2.0),
    s.Slotted(1),
    s.Slotted(2),
    s.Reduced(1),
    s.Reduced(2),
    ValueError(1),
    TypeError(1),
    ValueError(2),
    s.Failure("a", 1),
    s.Failure("a", 2),
    OSError(2, "a"),
    OSError(2, "a", "b"),
    re.compile("a"),
    re.compile("a", re.IGNORECASE),
    re.compile(b"a"),
    s.Color.RED,
    s.Color.GREEN,
    s.Number.ONE,
    s.Permission.READ,
    s.Permission.WRITE,
    s.Permission.ALL,
    s.Mode.A,
    s.Mode.B,
    s.Text("a"),
    s.Text("b"),
    s.Whole(1),
    s.Whole(2),
]


def test_kinds_and_values_are_kept_apart() -> None:
    assert all_differ(*EVERYTHING)


@pytest.mark.parametrize("value", EVERYTHING, ids=lambda value: type(value).__name__)
def test_copies_are_the_same_key(value: Any) -> None:
    before = stable_bytes(value)
    assert stable_bytes(value) == before
    if not isinstance(value, memoryview | types.MappingProxyType):
        assert stable_bytes(copy.deepcopy(value)) == before
        assert stable_bytes(pickle.loads(pickle.dumps(value))) == before


def test_a_subclass_is_told_by_its_value_and_not_by_its_repr() -> None:
    assert repr(s.Text("a")) == repr(s.Text("b"))
    assert all_differ(s.Text("a"), s.Text("b"), "a")


def test_dispatch_is_by_type_and_not_by_name() -> None:
    class tuple_(s.Plain): ...

    class Map(s.Plain): ...

    for kind, name in ((tuple_, "tuple"), (Map, "dict")):
        kind.__name__ = kind.__qualname__ = name
    assert all_differ(tuple_(a=1), tuple_(a=2), (), {}, Map(a=1))


def test_attributes_in_any_order() -> None:
    assert all_equal(s.Plain(a=1, b={"x", "y"}), s.Plain(b={"y", "x"}, a=1))


def test_members_of_subclassed_sets_in_any_order() -> None:
    words = [f"word {n}" for n in range(50)]
    assert all_equal(s.Bag(words), s.Bag(reversed(words)))
    assert all_equal(s.FrozenBag(words), s.FrozenBag(reversed(words)))


def test_ordered_dicts_keep_their_order_and_other_dicts_do_not() -> None:
    assert all_differ(
        collections.OrderedDict([(1, 2), (3, 4)]), collections.OrderedDict([(3, 4), (1, 2)])
    )
    assert all_equal(s.Pairs({1: 2, 3: 4}), s.Pairs({3: 4, 1: 2}))
    assert all_equal(
        collections.defaultdict(list, {1: [], 2: []}), collections.defaultdict(list, {2: [], 1: []})
    )


def test_enum_members_are_their_names() -> None:
    make: Any = enum.Enum
    one = make("Renumbered", {"A": 1, "B": 2}, module="elsewhere", qualname="Renumbered")
    two = make("Renumbered", {"B": 1, "A": 2}, module="elsewhere", qualname="Renumbered")
    assert stable_bytes(one["A"]) == stable_bytes(two["A"]) != stable_bytes(one["B"])
    assert all_equal(s.Color.RED, s.Color.CRIMSON)
    assert all_equal(s.Permission.READ | s.Permission.WRITE, s.Permission.ALL)
    assert all_equal(~s.Permission.READ, s.Permission.WRITE)
    assert all_differ(s.Permission(0), *s.Permission)
    assert all_differ(s.Number.ONE, 1, s.Mode.A, s.Permission.READ)


def test_what_a_cached_property_remembers_is_not_part_of_the_key() -> None:
    class Circle:
        def __init__(self, radius: int) -> None:
            self.radius = radius

        @functools.cached_property
        def area(self) -> float:
            return 3.14 * self.radius**2

    circle = Circle(2)
    before = stable_bytes(circle)
    assert circle.area
    assert stable_bytes(circle) == before


def test_a_subclass_of_a_dataclass_counts_what_it_adds() -> None:
    class Weighted(s.Point):
        def __init__(self, x: int, weight: int) -> None:
            super().__init__(x)
            self.weight = weight

    assert all_differ(Weighted(1, 1), Weighted(1, 2))


def test_fields_that_are_not_compared_count() -> None:
    @dataclass
    class Config:
        name: str
        data: list[int] = field(compare=False)

    assert all_differ(Config("a", [1]), Config("a", [2]))


def test_cycles_through_objects() -> None:
    def pair(back: bool) -> s.Plain:
        one, two = s.Plain(name="one"), s.Plain(name="two")
        vars(one)["next"], vars(two)["next"] = two, (one if back else two)
        return one

    assert all_equal(pair(True), pair(True))
    assert all_differ(pair(True), pair(False))


def test_a_key_made_of_many_kinds() -> None:
    def key() -> dict[Any, Any]:
        return {
            "call": (s.add, ([1, s.Point(1, {s.Color.RED, s.Color.GREEN})],), {"z": s.Named(1)}),
            s.Frozen("a", frozenset({"b", "c"})): [s.cycle(), s.Plain(a=s.Text("b"))],
        }

    assert all_equal(key(), key())
    assert stored_key(key())[0][:1] == b"E"


# --- hooks


def test_a_hook_on_the_class() -> None:
    assert all_equal(s.Hooked("a", object()), s.Hooked("a", threading.Lock()))
    assert all_differ(s.Hooked("a"), s.Hooked("b"), s.Hooked(1), "a")


def test_a_hook_is_inherited_and_its_class_counts() -> None:
    class Derived(s.Hooked): ...

    class Further(s.Hooked):
        def __stable_key__(self) -> object:
            return self.name, 1

    assert all_equal(Derived("a", object()), Derived("a"))
    assert all_differ(Derived("a"), s.Hooked("a"), Further("a"))


def test_a_hook_that_returns_the_object_is_refused() -> None:
    class Lazy(s.Plain):
        def __stable_key__(self) -> object:
            return self

    with pytest.raises(UnstableKeyError, match="itself"):
        stable_bytes(Lazy(a=1))


class Endless:
    def __stable_key__(self) -> object:
        return Endless()


def test_a_hook_that_never_ends_is_refused() -> None:
    with pytest.raises(UnstableKeyError, match="levels deep"):
        stable_bytes(Endless())


def test_a_registered_function() -> None:
    class Connection:
        def __init__(self, host: str) -> None:
            self.host, self.lock = host, threading.Lock()

    class Secure(Connection): ...

    with pytest.raises(UnstableKeyError):
        stable_bytes(Connection("a"))
    register_key(Connection, lambda connection: connection.host)
    assert all_equal(Connection("a"), Connection("a"))
    assert all_differ(Connection("a"), Connection("b"), Secure("a"), "a")
    register_key(Connection, lambda connection: (connection.host, 2))
    register_key(Secure, lambda connection: connection.host)
    assert all_differ(Connection("a"), Secure("a"))


@pytest.mark.parametrize("kind", [int, str, dict, list, type(None), object, slice, bytes])
def test_the_form_of_builtins_is_fixed(kind: type) -> None:
    with pytest.raises(ConfigurationError, match="fixed"):
        register_key(kind, str)


def test_what_cannot_be_registered() -> None:
    with pytest.raises(TypeError, match="class"):
        register_key("Connection", str)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="function"):
        register_key(s.Plain, "name")  # type: ignore[arg-type]


# --- what has no stable form


def generate() -> Any:
    yield 1


async def coroutine() -> None: ...


class Addressed:
    def __reduce__(self) -> tuple[Any, ...]:
        return str, (repr(self),)


class Numbered:
    def __reduce__(self) -> tuple[Any, ...]:
        return int, (id(self),)


class Mistaken:
    def __reduce__(self) -> str:
        return "Plain"


@pytest.mark.parametrize(
    "make",
    [
        object,
        generate,
        lambda: iter([1]),
        lambda: iter({1: 2}),
        lambda: zip([1], [2], strict=True),
        lambda: map(str, [1]),
        count,
        {1: 2}.keys,
        threading.Lock,
        threading.local,
        lambda: io.StringIO("a"),
        lambda: io.BytesIO(b"a"),
        lambda: weakref.ref(s.Plain),
        sys._getframe,
        lambda: re.match("a", "a"),
        lambda: s.Plain(lock=threading.Lock()),
        Addressed,
        Numbered,
        Mistaken,
        type("Refusing", (), {"__reduce_ex__": lambda self, protocol: 1 / 0}),
        type("Unhooked", (), {"__stable_key__": None}),
    ],
)
def test_what_has_no_stable_form_is_refused(make: Callable[[], Any]) -> None:
    value = make()
    for key in (value, [value], {"a": (1, value)}, s.Plain(a=value)):
        with pytest.raises(UnstableKeyError):
            stable_bytes(key)
        with pytest.raises(UnstableKeyError):
            stored_key(key)


def test_an_iterator_is_not_consumed() -> None:
    iterator = iter([1, 2])
    with pytest.raises(UnstableKeyError, match="consume"):
        stable_bytes((1, iterator))
    assert list(iterator) == [1, 2]


def test_open_connections_are_refused() -> None:
    with socket.socket() as plug, pytest.raises(UnstableKeyError, match="socket"):
        stable_bytes(plug)
    connection = sqlite3.connect(":memory:")
    try:
        with pytest.raises(UnstableKeyError, match="Connection"):
            stable_bytes(connection)
    finally:
        connection.close()
    waiting = coroutine()
    try:
        with pytest.raises(UnstableKeyError, match="coroutine"):
            stable_bytes(waiting)
    finally:
        waiting.close()


def test_the_message_says_where_what_and_what_to_do() -> None:
    lock = threading.Lock()
    with pytest.raises(UnstableKeyError) as caught:
        stable_bytes([{"a": (1, s.Plain(inner=s.Point(1, lock)))}])
    message = str(caught.value)
    assert message.startswith("key[0]['a'][1].inner.y: _thread.lock has no stable form")
    assert "__stable_key__" in message
    assert "register_key(lock, function)" in message
    with pytest.raises(UnstableKeyError, match=r"^key: list_iterator .* list or tuple"):
        stable_bytes(iter([]))
    with pytest.raises(UnstableKeyError, match=r"^key\['a'\]\['b'\]: "):
        stable_bytes({"a": {"b": object()}})
    assert isinstance(caught.value, TypeError)


def test_a_refusal_leaves_nothing_behind() -> None:
    value: list[Any] = [1, [2]]
    before = stable_bytes(value)
    value.append(object())
    with pytest.raises(UnstableKeyError):
        stable_bytes(value)
    value.pop()
    assert stable_bytes(value) == before


def test_many_threads_at_once() -> None:
    expected = [stable_bytes(value) for value in EVERYTHING]
    wrong: list[object] = []

    def work() -> None:
        for _ in range(20):
            found = [stable_bytes(value) for value in EVERYTHING]
            if found != expected:
                wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong

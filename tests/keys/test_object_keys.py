from __future__ import annotations

import array
import collections
import copy
import copyreg
import enum
import functools
import pickle
import re
import threading
import types
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import key_samples as s
import pytest

from hashstash.keys import stable_bytes, stable_hash, stored_key


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


def test_a_reducer_that_others_register_for_exceptions_changes_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = stable_hash(ValueError("a", 1))
    monkeypatch.setitem(copyreg.dispatch_table, ValueError, lambda error: (str, ("tampered",)))
    assert stable_hash(ValueError("a", 1)) == before

# ruff: noqa: PT017 - the same call may fail in two ways, or not
from __future__ import annotations

import sys
import threading
from collections import deque
from typing import Any

import pytest
from value_checks import as_data, round_trip

from hashstash.errors import CorruptRowError, SerializationError
from hashstash.serializers.hashstash import HashstashSerializer
from hashstash.serializers.hashstash_format import hashing


class Node:
    """Something with a parent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.children: list[Node] = []
        self.parent: Node | None = None

    def add(self, child: Node) -> Node:
        child.parent = self
        self.children.append(child)
        return child


class ByName:
    """Something whose hash needs its attributes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.friends: set[ByName] = set()
        self.ages: dict[ByName, int] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByName) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


SHARED: list[Any] = [
    [1],
    [],
    {"a": 1},
    {},
    {1: 2},
    (1, [2]),
    {1},
    frozenset({1}),
    deque([1]),
    bytearray(b"x"),
    [i / 2 for i in range(300)],
    Node("n"),
]


@pytest.mark.parametrize("shared", SHARED, ids=lambda shared: type(shared).__name__)
def test_the_same_twice(shared: Any) -> None:
    found = round_trip({"a": shared, "b": [shared], "c": (0, {"d": shared, "e": shared})})
    assert found["a"] is found["b"][0] is found["c"][1]["d"] is found["c"][1]["e"]
    assert type(found["a"]) is type(shared)
    if not isinstance(shared, Node):
        assert found["a"] == shared


def test_equal_is_not_the_same() -> None:
    found = as_data([[1], [1], {"a": 1}, {"a": 1}])
    assert found[0] is not found[1]
    assert found[2] is not found[3]


def test_shared_in_what_is_otherwise_plain(serializer: HashstashSerializer) -> None:
    shared = {"x": 1}
    rows = [shared, *({"x": i, "y": [i]} for i in range(100))]
    found = as_data({"rows": rows, "best": shared, "t": (1,)}, serializer)
    assert found["rows"][0] is found["best"]
    assert found["rows"] == rows


def test_shared_within_a_large_plain_part(serializer: HashstashSerializer) -> None:
    inner = [1]
    found = as_data(({"rows": [{"x": inner} for _ in range(100)]},), serializer)
    assert len({id(row["x"]) for row in found[0]["rows"]}) == 1
    assert len({id(row) for row in found[0]["rows"]}) == 100


def test_shared_between_two_large_plain_parts(serializer: HashstashSerializer) -> None:
    inner = [1]
    rows = [{"x": [i]} for i in range(50)]
    value = ([*rows, inner], {1: [*rows, {"y": inner}]})
    found = as_data(value, serializer)
    assert found == value
    assert found[0][50] is found[1][1][50]["y"]
    assert all(one is two for one, two in zip(found[0][:50], found[1][1][:50], strict=True))


def test_an_odd_number_in_a_large_plain_part(serializer: HashstashSerializer) -> None:
    rows: list[Any] = [{"x": [i]} for i in range(50)]
    for odd in (2**70, float("inf"), "\ud800"):
        value = (1, [*rows, {"y": [odd]}])
        assert as_data(value, serializer) == value
    keyed = (1, [*rows, {"\ud800": 1}])
    assert as_data(keyed, serializer) == keyed
    tagged = (1, [*rows, {"!tuple": [1]}, {1: 2}])
    assert as_data(tagged, serializer) == tagged


@pytest.mark.parametrize("kind", [list, deque])
def test_in_itself(kind: type) -> None:
    value = kind([1])
    value.append(value)
    found = as_data(value)
    assert found[1] is found


def test_a_dict_in_itself() -> None:
    value: dict[Any, Any] = {}
    value["me"] = value
    found = as_data(value)
    assert found["me"] is found
    other: dict[Any, Any] = {1: value, (2,): []}
    other[(2,)].append(other)
    found = as_data(other)
    assert found[(2,)][0] is found


def test_a_tuple_in_its_list() -> None:
    value: tuple[list[Any]] = ([],)
    value[0].append((value, 1))
    found = as_data(value)
    assert type(found) is tuple
    assert found[0][0][0] is found
    assert found[0][0][1] == 1


def test_a_tuple_in_itself_through_two_others() -> None:
    inner: list[Any] = []
    one: tuple[Any, ...] = (inner, "one")
    two: tuple[Any, ...] = (one, inner, "two")
    inner.extend([one, two, inner])
    found = as_data(two)
    assert found[1] is found[0][0]
    assert found[1][0] is found[0]
    assert found[1][1] is found
    assert found[1][2] is found[1]


def test_a_tree_with_parents() -> None:
    root = Node("root")
    for i in range(5):
        root.add(Node(f"child {i}")).add(Node("leaf"))
    found = round_trip(root)
    assert found.parent is None
    assert [child.name for child in found.children] == [f"child {i}" for i in range(5)]
    assert all(child.parent is found for child in found.children)
    assert all(child.children[0].parent is child for child in found.children)


def test_sets_and_keys_of_what_leads_back_to_them() -> None:
    a, b = ByName("a"), ByName("b")
    a.friends, b.friends = {b, a}, {a}
    a.ages, b.ages = {b: 2, a: 1}, {a: 1}
    found = round_trip(a)
    (other,) = found.friends - {found}
    assert other.friends == {found}
    assert found.ages == {other: 2, found: 1}
    assert next(iter(other.friends)) is found


@pytest.mark.parametrize("depth", [90, 100, 101, 150, 250, 260, 1000, 5000])
@pytest.mark.parametrize("kind", ["list", "dict", "tuple", "mixed", "object"])
def test_deep_nesting(serializer: HashstashSerializer, kind: str, depth: int) -> None:
    value = found = deep(kind, depth)
    found = round_trip(value, serializer)
    for _ in range(depth):
        assert type(found) is type(value)
        if isinstance(value, Node):
            value, found = value.children[0], found.children[0]
        else:
            key = "a" if isinstance(value, dict) else 0
            value, found = value[key], found[key]
    assert found == "bottom"


def deep(kind: str, depth: int) -> Any:
    value: Any = "bottom"
    for level in range(depth):
        if kind == "object":
            value, inner = Node("n"), value
            value.children.append(inner)
        elif kind == "dict" or (kind == "mixed" and level % 3 == 1):
            value = {"a": value}
        elif kind == "tuple" or (kind == "mixed" and level % 3 == 2):
            value = (value,)
        else:
            value = [value]
    return value


def test_deep_nesting_where_the_stack_is_nearly_used_up(serializer: HashstashSerializer) -> None:
    value = {"a": deep("mixed", 95)}

    def at_the_bottom(levels: int) -> Any:
        return at_the_bottom(levels - 1) if levels else round_trip(value, serializer)

    outcomes = set()
    for levels in range(0, sys.getrecursionlimit(), 7):
        try:
            assert at_the_bottom(levels) == value
            outcomes.add("read")
        except RecursionError:
            outcomes.add("too deep")
        except SerializationError as exc:
            assert isinstance(exc.__cause__, RecursionError)
            outcomes.add("too deep")
    assert outcomes == {"read", "too deep"}


def test_nesting_without_end_is_refused() -> None:
    class Endless:
        def __reduce__(self) -> Any:
            return Endless, (), {"next": [Endless()]}

    with pytest.raises(SerializationError, match=r"without end|recurs"):
        HashstashSerializer().dumps([Endless()])


def test_hostile_nesting_is_damage(serializer: HashstashSerializer) -> None:
    for text in (b"[" * 500_000, b'{"a":' * 100_000, b"[" * 900 + b"]" * 900):
        for data in (text, b"D" + len(text).to_bytes(8, "little") + text):
            try:
                found = serializer.loads(data, trusted=False)
            except CorruptRowError:
                continue
            assert data is text
            assert isinstance(found, list)


def test_hostile_keys_neither_hang_nor_crash() -> None:
    serializer = HashstashSerializer()
    doubling = ",".join(['{"!tuple":[1]}', *(f'{{"!tuple":[{{"!ref":{n}}},{{"!ref":{n}}}]}}'
                         for n in range(1, 60))])  # fmt: skip
    deepening = ",".join(['{"!tuple":[1]}', *(f'{{"!tuple":[{{"!ref":{n}}}]}}'
                          for n in range(1, 8_000))])  # fmt: skip
    for entries, last in ((doubling, 60), (deepening, 8_000)):
        for tag in ("!set", "!frozenset", "!dict"):
            keys = f'{{"{tag}":[{{"!ref":{last}}}' + (",1]}" if tag == "!dict" else "]}")
            head = f'[{{"!graph":[{keys},{entries}]}},[]]'.encode()
            with pytest.raises(CorruptRowError, match="key"):
                serializer.loads(b"D" + len(head).to_bytes(8, "little") + head, trusted=False)


def test_keys_too_deep_to_hash_are_refused() -> None:
    key: tuple[Any, ...] = ()
    for _ in range(hashing.MAX_DEPTH + 1):
        key = (key,)
    for value in ({key: 1}, {key}, frozenset({key})):
        with pytest.raises(SerializationError, match="levels deep"):
            HashstashSerializer().dumps([value])
    (found,) = as_data({key[0][0]: 1})
    assert hash(found) == hash(key[0][0])


def test_threads_may_read_deep_values() -> None:
    data = HashstashSerializer().dumps(deep("mixed", 2000))
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(HashstashSerializer().loads(data, trusted=False))
    )
    thread.start()
    thread.join()
    assert len(found) == 1

# ruff: noqa: PLW0108, B905, PT017 - every way to hold something that is refused
from __future__ import annotations

import collections
import dataclasses
import itertools
import socket
import sqlite3
import subprocess
import sys
import threading
import types
import weakref
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from hashstash.errors import SerializationError
from hashstash.serializers.hashstash import HashstashSerializer


@dataclasses.dataclass
class Holder:
    conn: Any
    more: Any = None


class SlotHolder:
    __slots__ = ("conn",)

    def __init__(self, conn: Any) -> None:
        self.conn = conn


class StateHolder:
    def __init__(self, conn: Any) -> None:
        self.hidden = conn

    def __getstate__(self) -> Any:
        return {"conn": self.hidden}

    def __setstate__(self, state: Any) -> None:
        self.hidden = state["conn"]


class Bag(list[Any]):
    pass


LOCK = threading.Lock()


def uses_a_lock() -> Any:
    def inner(x: int = 1) -> int:
        with LOCK:
            return x

    return inner


def closes_over(thing: Any) -> Any:
    return lambda: thing


def cyclic(part: Any) -> Any:
    whole: dict[str, Any] = {"a": [1]}
    whole["me"] = whole
    whole["a"].append({"b": (part,)})
    return whole


def deep(part: Any) -> Any:
    for _ in range(120):
        part = [part]
    return part


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda bad: bad, "value"),
        (lambda bad: [bad], "value[0]"),
        (lambda bad: {"a": [1, 2, 3, Holder(bad)]}, "value['a'][3].conn"),
        (lambda bad: {"a": {"b c": (0, bad)}}, "value['a']['b c'][1]"),
        (lambda bad: {1: {(2,): bad}}, "value[1][(2,)]"),
        (lambda bad: collections.OrderedDict(a=bad), "value['a']"),
        (lambda bad: collections.defaultdict(list, a=[bad]), "value['a'][0]"),
        (lambda bad: collections.deque([0, bad]), "value[1]"),
        (lambda bad: collections.ChainMap({}, {"a": bad}), "value.maps[1]['a']"),
        (lambda bad: types.SimpleNamespace(a=bad), "value.a"),
        (lambda bad: types.MappingProxyType({"a": bad}), "value['a']"),
        (lambda bad: slice(0, bad), "value.stop"),
        (lambda bad: SlotHolder([bad]), "value.conn[0]"),
        (lambda bad: StateHolder(bad), "value.conn"),
        (lambda bad: Bag([1, bad]), "value[1]"),
        (lambda bad: [Holder(Holder(bad))], "value[0].conn.conn"),
        (lambda bad: ValueError("a", bad), "value.args[1]"),
        (lambda bad: closes_over({"k": bad}), "value.__closure__['thing'].cell_contents['k']"),
        (cyclic, "value['a'][1]['b'][0]"),
        (deep, "value" + "[0]" * 120),
        (lambda bad: {"x" * 100: bad}, "value['" + "x" * 56 + "...]"),
    ],
    ids=range(21),
)
def test_the_path_leads_to_what_cannot_be_stored(make: Any, path: str) -> None:
    bad = (i for i in [1, 2])
    with pytest.raises(SerializationError) as caught:
        HashstashSerializer().dumps(make(bad))
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path} cannot be stored: a generator")
    assert list(bad) == [1, 2]


def test_a_path_through_globals() -> None:
    function = types.FunctionType(
        uses_a_lock().__code__, {"LOCK": LOCK, "__name__": "nowhere"}, "inner"
    )
    with pytest.raises(SerializationError) as caught:
        HashstashSerializer().dumps({"f": function})
    assert caught.value.path == "value['f'].__globals__['LOCK']"


def test_a_key_that_cannot_be_stored() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ZeroDivisionError

        def __reduce__(self) -> Any:
            raise TypeError("no")

    with pytest.raises(SerializationError) as caught:
        HashstashSerializer().dumps({"a": {1: 0, Odd(): 1}})
    assert caught.value.path == "value['a'].keys()[1]"
    with pytest.raises(SerializationError) as caught:
        HashstashSerializer().dumps({"a": {Odd()}})
    assert caught.value.path == "value['a']{<Odd whose repr raises ZeroDivisionError>}"


async def coroutine() -> None:
    pass


async def async_generator() -> Any:
    yield 1


def refused(tmp_path: Path) -> list[Any]:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    cursor = sqlite3.connect(":memory:")
    return [
        path.open(),
        path.open("rb"),
        iter([1]),
        iter({1: 2}),
        iter("abc"),
        iter(range(3)),
        zip([1], [2]),
        map(str, [1]),
        filter(None, [1]),
        enumerate("a"),
        reversed([1]),
        itertools.count(),
        itertools.chain([1]),
        itertools.groupby([1]),
        collections.deque([1]).__iter__(),
        async_generator(),
        threading.Lock(),
        threading.RLock(),
        threading.local(),
        threading.current_thread(),
        socket.socket(),
        cursor,
        weakref.ref(Holder),
        weakref.WeakValueDictionary({1: Holder}),
        sys._getframe(),
        {}.items(),
        types.ModuleType("made_by_hand"),
        sys.modules["__main__"],
    ]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_refused(tmp_path: Path) -> None:
    values = refused(tmp_path)
    stored = []
    for value in values:
        try:
            HashstashSerializer().dumps({"a": [value]})
        except SerializationError as exc:
            assert exc.path.startswith("value['a'][0]")
            continue
        stored.append(value)
    assert stored == []
    assert values[0].read() == "abc"
    assert [next(value) for value in values[2:7]] == [1, 1, "a", 0, (1, 2)]
    for value in values:
        close = getattr(value, "close", None)
        if close is not None:
            close()


def test_coroutines_are_refused() -> None:
    waiting = coroutine()
    with pytest.raises(SerializationError, match="coroutine"):
        HashstashSerializer().dumps(waiting)
    waiting.close()


def test_processes_are_refused() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process,
        pytest.raises(SerializationError),
    ):
        HashstashSerializer().dumps(process)


def test_a_refused_value_is_as_it_was() -> None:
    value = {"a": [1, [2], iter([3])], "b": (4,)}
    with pytest.raises(SerializationError):
        HashstashSerializer().dumps(value)
    assert value["a"][:2] == [1, [2]]
    assert value["b"] == (4,)


def test_what_makes_more_of_itself_is_refused() -> None:
    """Each look at a mock, or at its class, makes another one."""
    for value in (mock.Mock(), mock.MagicMock(), mock.MagicMock(spec=dict)):
        with pytest.raises(SerializationError):
            HashstashSerializer().dumps({"a": value})

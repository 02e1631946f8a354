from __future__ import annotations

import io
import re
import socket
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable
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

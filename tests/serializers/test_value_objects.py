from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import random
import typing
from typing import Any

import pytest
from object_samples import (
    NAMES,
    OBJECTS,
    AttrsFrozen,
    AttrsPoint,
    Color,
    FalseState,
    Model,
    OwnSetter,
    Permission,
    Point,
    Registered,
    WithState,
)
from value_checks import HASHSTASH, assert_same, round_trip

from hashstash.errors import SerializationError


@pytest.mark.parametrize("value", OBJECTS, ids=NAMES)
def test_objects_come_back(value: Any) -> None:
    assert_same(value, round_trip(value))


@pytest.mark.parametrize("value", OBJECTS, ids=NAMES)
def test_objects_come_back_from_within(value: Any) -> None:
    found = round_trip({"a": [value, (value,)], "b": value})
    assert_same([value], found["a"][:1])
    if not isinstance(value, int | float | str | bytes):
        assert found["a"][0] is found["a"][1][0] is found["b"]


@pytest.mark.parametrize("value", OBJECTS, ids=NAMES)
def test_objects_come_back_from_a_cycle(value: Any) -> None:
    whole: list[Any] = [value, {"again": value}]
    whole.append(whole)
    found = round_trip(whole)
    assert found[2] is found
    assert_same([value], found[:1])


@pytest.mark.parametrize(
    "value", [Color.RED, Permission.READ, dataclasses.MISSING, logging.getLogger("x"), typing.Any]
)
def test_there_is_one_of_them(value: Any) -> None:
    assert round_trip([value])[0] is value


def test_state_is_given_and_taken() -> None:
    value = WithState("/x")
    found = round_trip(value)
    assert found.path == "/x"
    assert found.handle is not value.handle


def test_a_false_state_is_a_state() -> None:
    assert round_trip(FalseState()).state == 0


def test_a_state_setter_is_used() -> None:
    value = OwnSetter()
    value.seen = [1]
    assert round_trip(value).seen == ("set", [1])


def test_registered_reducers_are_used() -> None:
    assert round_trip(Registered(1)).n == 2


def test_attrs() -> None:
    attrs = pytest.importorskip("attrs")
    found = round_trip([AttrsPoint(1, [2]), AttrsFrozen("a")])
    assert found == [AttrsPoint(1, [2]), AttrsFrozen("a")]
    assert attrs.asdict(found[0]) == {"x": 1, "y": [2]}


def test_pydantic() -> None:
    pytest.importorskip("pydantic")
    make: Any = Model
    value = make(name="n", when="2024-01-01T00:00:00", parts=[{"n": 1}])
    found = round_trip([value])[0]
    assert found == value
    assert type(found.parts[0]) is type(value.parts[0])
    assert found.model_fields_set == value.model_fields_set


def test_random_numbers_go_on_as_they_would_have() -> None:
    value = random.Random(5)
    value.random()
    found = round_trip(value)
    assert found.random() == value.random()
    assert found.gauss(0, 1) == value.gauss(0, 1)


def test_files_in_memory_keep_their_place() -> None:
    buffer = io.BytesIO(b"abcdef")
    buffer.read(2)
    text = io.StringIO("abc")
    text.read(1)
    found = round_trip([buffer, text])
    assert (found[0].read(), found[1].read()) == (b"cdef", "bc")
    assert buffer.read() == b"cdef"


def test_the_interned_names_of_attributes() -> None:
    found = round_trip([Point(1), Point(2)])
    one, two = (next(iter(vars(point))) for point in found)
    assert one is two


def test_many_objects_name_their_class_once() -> None:
    data = HASHSTASH.dumps([Point(i) for i in range(100)])
    assert data.count(b"Point") == 1


def test_a_class_whose_objects_cannot_be_read_back_is_refused() -> None:
    class Needs:
        def __init__(self, x: int) -> None:
            self.x = x

        def __reduce__(self) -> Any:
            return Needs, ()

    with pytest.raises(SerializationError, match="cannot be read back") as caught:
        HASHSTASH.dumps({"a": [Point(1), Needs(1)]})
    assert caught.value.path == "value['a'][1]"


def test_what_comes_back_as_another_type_is_refused() -> None:
    class Other:
        def __reduce__(self) -> Any:
            return dict, ()

    with pytest.raises(SerializationError, match="comes back as a dict"):
        HASHSTASH.dumps(Other())


def test_an_error_in_reduce_is_told() -> None:
    class Broken:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("no way")

    with pytest.raises(SerializationError, match="no way") as caught:
        HASHSTASH.dumps((Broken(),))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_stack_of_contexts_is_refused_and_left_alone() -> None:
    stack = contextlib.ExitStack()
    left: list[int] = []
    stack.callback(left.append, 1)
    with contextlib.suppress(SerializationError):
        round_trip(stack)
    stack.close()
    assert left == [1]

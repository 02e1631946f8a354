"""The contract of serializers as a test suite: inherit it, and every test runs on your serializer.

Example:
    A plug-in's test file is three lines::

        from hashstash.testing.serializer import SerializerContract

        class TestMine(SerializerContract):
            serializer_name = "mine"
"""

from __future__ import annotations

import datetime as dt
import random
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any, ClassVar

import pytest

from hashstash.errors import (
    CorruptRowError,
    HashStashError,
    SerializationError,
    UntrustedRowError,
)
from hashstash.serializers import SERIALIZERS, Serializer

SAMPLES: dict[str, Any] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "negative": -1,
    "more than 64 bits": 2**70,
    "float": 1.5,
    "whole float": 1.0,
    "minus zero": -0.0,
    "tiny": 5e-324,
    "infinity": float("inf"),
    "empty text": "",
    "text": 'Grüße, "quoted"\n\x00\u2028 \N{CAT FACE}',
    "lone surrogate": "a\udc80b",
    "empty list": [],
    "empty dict": {},
    "list": [1, "a", None, 2.5, [True, []]],
    "dict": {"cat": 1, "dog": {"legs": [4, 4.0]}, "": None},
    "tuple": (1, (2, ()), "a"),
    "bytes": b"\x00\xff" * 10,
    "set": {1, 2, "a"},
    "frozenset": frozenset({(1, 2), None}),
    "keys of any kind": {1: "a", (2, "b"): [3], None: 4, 1.5: {}},
    "keys like our own": {"!tuple": [1], "!def": [0], "$": 1},
    "date": dt.datetime(2024, 2, 29, 12, 30, 15, 123456),
    "many floats": [i / 7 for i in range(1000)],
    "many integers": list(range(-500, 500)),
    "many small dicts": [{"id": i, "name": f"n{i}", "tags": ["a", "b"]} for i in range(200)],
}


class SerializerContract:
    """Every test a serializer must pass. Set ``serializer_name``, or override ``serializer``."""

    serializer_name: ClassVar[str]
    """The registered name of the serializer under test."""
    keeps_identity: ClassVar[bool] = True
    """What is the same object in two places, or within itself, is so again after reading."""

    @pytest.fixture
    def serializer(self) -> Serializer:
        """Return the serializer under test."""
        return SERIALIZERS.load(self.serializer_name)()

    def read(self, serializer: Serializer, data: bytes) -> Any:
        """Return what ``data`` holds, trusted only if it needs to be."""
        return serializer.loads(data, trusted=serializer.needs_trust(data))

    def test_is_a_serializer_that_knows_its_name(self, serializer: Serializer) -> None:
        """Errors and stored rows name the serializer as a user types it."""
        assert isinstance(serializer, Serializer)
        assert serializer.name == self.serializer_name

    @pytest.mark.parametrize("value", SAMPLES.values(), ids=SAMPLES.keys())
    def test_what_goes_in_comes_out(self, serializer: Serializer, value: Any) -> None:
        """Every sample round-trips with the types of all its parts, and is left as it was."""
        before = deepcopy(value)
        data = serializer.dumps(value)
        assert type(data) is bytes
        assert typed(value) == typed(before)
        assert typed(self.read(serializer, data)) == typed(value)

    def test_what_is_not_a_number_comes_out(self, serializer: Serializer) -> None:
        """NaN is not null, wherever it stands."""
        value = [float("nan"), {"a": float("nan")}, (float("nan"), None)]
        assert typed(self.read(serializer, serializer.dumps(value))) == typed(value)

    @pytest.mark.parametrize("value", SAMPLES.values(), ids=SAMPLES.keys())
    def test_views_are_read_as_bytes_are(self, serializer: Serializer, value: Any) -> None:
        """A memoryview into a larger buffer gives the same, and nothing keeps the buffer."""
        data = serializer.dumps(value)
        buffer = bytearray(b"<" + data + b">")
        with memoryview(buffer) as whole, whole[1:-1] as view:
            trusted = serializer.needs_trust(view)
            found = serializer.loads(view, trusted=trusted)
        buffer.clear()
        assert typed(found) == typed(value)

    def test_the_same_list_twice_is_one_list(self, serializer: Serializer) -> None:
        """Sharing within a value is kept."""
        if not self.keeps_identity:
            pytest.skip("this serializer does not keep it")
        shared: list[int] = [1]
        found = self.read(serializer, serializer.dumps({"a": shared, "b": [shared, (shared,)]}))
        assert found["a"] is found["b"][0] is found["b"][1][0]

    def test_a_list_in_itself(self, serializer: Serializer) -> None:
        """A cycle comes back as one."""
        if not self.keeps_identity:
            pytest.skip("this serializer does not keep it")
        value: list[Any] = [1]
        value.append({"back": value})
        found = self.read(serializer, serializer.dumps(value))
        assert found[1]["back"] is found
        assert found[0] == 1

    def test_iterators_are_refused_and_not_consumed(self, serializer: Serializer) -> None:
        """Storing what can be gone through once would use it up."""
        numbers = (i for i in [1, 2, 3])
        with pytest.raises(SerializationError):
            serializer.dumps({"a": [1, numbers]})
        assert list(numbers) == [1, 2, 3]

    def test_what_cannot_be_stored_is_named(self, serializer: Serializer) -> None:
        """The error has a path that leads to the part, from ``value`` on."""
        with pytest.raises(SerializationError) as caught:
            serializer.dumps({"a": [1, (i for i in [1])]})
        assert caught.value.path.startswith("value")
        assert caught.value.path in str(caught.value)

    @pytest.mark.parametrize("value", SAMPLES.values(), ids=SAMPLES.keys())
    def test_trust_is_told_by_the_first_byte(self, serializer: Serializer, value: Any) -> None:
        """Whether loading can run code does not depend on parsing, which is not safe yet."""
        data = serializer.dumps(value)
        assert serializer.needs_trust(data) is serializer.needs_trust(data[:1] + b"\xff\x00")
        assert serializer.needs_trust(memoryview(data)) is serializer.needs_trust(data)

    @pytest.mark.parametrize("value", SAMPLES.values(), ids=SAMPLES.keys())
    def test_code_is_not_loaded_untrusted(self, serializer: Serializer, value: Any) -> None:
        """What needs trust is refused without it, and what does not is read the same."""
        data = serializer.dumps(value)
        if serializer.needs_trust(data):
            with pytest.raises(UntrustedRowError) as caught:
                serializer.loads(data, trusted=False)
            assert caught.value.stage == serializer.name
        else:
            assert typed(serializer.loads(data, trusted=True)) == typed(value)

    @pytest.mark.parametrize("value", SAMPLES.values(), ids=SAMPLES.keys())
    def test_damage_is_an_error_of_ours(self, serializer: Serializer, value: Any) -> None:
        """Bytes changed at random never raise anything else, nor run anything."""
        data, rng = serializer.dumps(value), random.Random(7)
        for _ in range(50):
            damaged = bytearray(data)
            for _ in range(rng.randrange(1, 4)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            try:
                serializer.loads(bytes(damaged), trusted=False)
            except HashStashError:
                pass

    @pytest.mark.parametrize(
        "data", [b"", b"\x00", b"\xff\xfe", b"D", b"C", b"{", b"[1,"], ids=repr
    )
    def test_what_is_not_ours_is_refused(self, serializer: Serializer, data: bytes) -> None:
        """Neither an empty value nor None is made of it."""
        with pytest.raises((CorruptRowError, UntrustedRowError)) as caught:
            serializer.loads(data, trusted=False)
        assert caught.value.stage == serializer.name

    def test_many_threads_at_once(self, serializer: Serializer) -> None:
        """A serializer keeps nothing between calls."""

        def round_trip(number: int) -> bool:
            value = {"n": number, "more": [(number, i) for i in range(50)]}
            return bool(self.read(serializer, serializer.dumps(value)) == value)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(round_trip, range(100)))


def typed(value: Any) -> Any:
    """Return a value that is equal to another's only if all their parts have the same types."""
    kind = type(value)
    if kind in (list, tuple):
        return kind.__name__, [typed(part) for part in value]
    if kind is dict:
        return "dict", [(typed(key), typed(part)) for key, part in value.items()]
    if kind in (set, frozenset):
        return kind.__name__, sorted(repr(typed(part)) for part in value)
    return kind.__name__, repr(value)

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
from typing import Any

import pytest

from hashstash.errors import CorruptRowError, DecodeError, SerializationError, UntrustedRowError
from hashstash.serializers.likeness import unlike

jsonpickle = pytest.importorskip("jsonpickle")

from hashstash.serializers.jsonpickle import JsonpickleSerializer  # noqa: E402

JSONPICKLE = JsonpickleSerializer()


@dataclasses.dataclass
class Point:
    x: int
    more: Any = None


class Color(enum.Enum):
    RED = 1


class Problem(Exception):
    def __init__(self, code: int, where: str) -> None:
        super().__init__(f"{code} at {where}")


@pytest.mark.parametrize(
    "value",
    [
        Point(1, [Point(2)]),
        {"a": Point(1), 5: (1, {2})},
        Color.RED,
        dt.datetime(2024, 1, 1, 2, 3, 4, 5),
        dt.timedelta(1, 2),
        decimal.Decimal("1.50"),
        collections.OrderedDict(a=1),
        collections.defaultdict(list, a=[1]),
        collections.Counter("aab"),
        collections.deque([1, Point(2)], 3),
        ValueError("x", 1),
        int,
        len,
        range(3),
        1j,
        b"\x00\xff",
    ],
    ids=range(16),
)
def test_objects(value: Any) -> None:
    data = JSONPICKLE.dumps(value)
    json.loads(data)
    found = JSONPICKLE.loads(data, trusted=True)
    assert type(found) is type(value)
    assert unlike(value, found) is None


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (lambda: 1, "value"),
        ({"a": [1, lambda: 2]}, "value['a'][1]"),
        (Point(1, {"k": lambda: 2}), "value.more['k']"),
        (bytearray(b"x"), "value"),
        ({"a": ...}, "value['a']"),
        ({"k": Problem(1, "here")}, "value['k']"),
        ({"py/object": "builtins.list"}, "value['py/object']"),
        ([iter([1])], "value[0]"),
    ],
    ids=range(8),
)
def test_what_would_be_lost_in_silence_is_refused(value: Any, path: str) -> None:
    with pytest.raises(SerializationError, match='serializer="hashstash"') as caught:
        JSONPICKLE.dumps(value)
    assert caught.value.path == path


def test_arrays_and_tables_are_exact() -> None:
    np = pytest.importorskip("numpy")
    pd = pytest.importorskip("pandas")
    array = np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3))
    frame = pd.DataFrame({"a": [1, None], "b": ["x", "y"], "c": pd.date_range("2020", periods=2)})
    data = JSONPICKLE.dumps(
        {"array": array, "again": [array], "frame": frame, "one": np.float32(1)}
    )
    found: Any = JSONPICKLE.loads(data, trusted=True)
    assert found["array"].dtype == array.dtype
    assert found["array"].flags.f_contiguous
    assert found["array"].tolist() == array.tolist()
    pd.testing.assert_frame_equal(found["frame"], frame)
    assert type(found["one"]) is np.float32
    assert found["again"][0] is found["array"]


def test_the_handlers_of_the_process_are_left_alone() -> None:
    np = pytest.importorskip("numpy")
    before = jsonpickle.encode(np.arange(3), keys=True)
    JSONPICKLE.dumps(np.arange(3))
    assert jsonpickle.encode(np.arange(3), keys=True) == before
    assert "hashstash" not in before


def test_untrusted_bytes_are_not_looked_at() -> None:
    data = b'{"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["exit 1"]}]}'
    assert JSONPICKLE.needs_trust(data)
    with pytest.raises(UntrustedRowError, match="signing keys"):
        JSONPICKLE.loads(data, trusted=False)


def test_damage_is_told() -> None:
    for data in (b"", b"{", b"\xff", b'{"a": nope}'):
        with pytest.raises(CorruptRowError) as caught:
            JSONPICKLE.loads(data, trusted=True)
        assert caught.value.stage == "jsonpickle"


def test_what_is_not_here_is_told() -> None:
    with pytest.raises(DecodeError, match="nowhere"):
        JSONPICKLE.loads(b'{"py/object": "nowhere.Thing", "a": 1}', trusted=True)


@pytest.mark.parametrize(
    ("one", "two", "path"),
    [
        (1, 1.0, "value"),
        (1, True, "value"),
        ([1, [2]], [1, [3]], "value[1][0]"),
        ((1,), [1], "value"),
        ({"a": 1}, {"b": 1}, "value['a']"),
        ({"a": 1}, {"a": 1, "b": 1}, "value"),
        ({1, 2}, {1, 3}, "value"),
        (Point(1), Point(2), "value.x"),
        (ValueError(1), ValueError(2), "value.args[0]"),
        (collections.deque([1]), collections.deque([2]), "value[0]"),
        (0.0, -0.0, "value"),
        (dt.time(1, fold=1), dt.time(1), "value"),
        (slice(1), slice(2), "value"),
        ([1], [1, 2], "value"),
    ],
    ids=range(14),
)
def test_likeness(one: Any, two: Any, path: str) -> None:
    assert unlike(one, two) == path
    assert unlike(one, one) is None


def test_the_likeness_of_cycles() -> None:
    one: list[Any] = [1]
    one.append(one)
    two: list[Any] = [1]
    two.append(two)
    assert unlike(one, two) is None
    two[0] = 2
    assert unlike(one, two) == "value[0]"

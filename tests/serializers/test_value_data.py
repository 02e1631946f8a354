from __future__ import annotations

import datetime as dt
import ipaddress
import math
import re
import struct
import sys
import types
import uuid
from array import array
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from value_checks import as_data, assert_same, round_trip

from hashstash.errors import SerializationError
from hashstash.serializers.hashstash import HashstashSerializer
from hashstash.serializers.hashstash_format import text

PARIS = ZoneInfo("Europe/Paris")

DATA: list[Any] = [
    None,
    Ellipsis,
    NotImplemented,
    2**63 - 1,
    2**63,
    -(2**63),
    -(2**63) - 1,
    2**17000,
    [2**64, 1],
    {"a": -(2**64)},
    math.inf,
    [-math.inf, 1.0],
    1 + 2j,
    complex(math.inf, -0.0),
    "\ud800",
    {"\udfff": "\ud800"},
    ["a", "\ud800\udc00"],
    b"",
    bytearray(b"abc"),
    [b"x", bytearray(b"y")],
    (),
    (1, (2, [3, (4,)])),
    set(),
    {1, "a", None, (1, 2)},
    frozenset({frozenset({1}), 2}),
    {1: "a", "1": "b", None: "c", (1, 2): "d", 1.5: "e", b"b": "f"},
    {True: 1},
    {"!tuple": [1]},
    {"!def": [0], "a": 1},
    {"!": {"!ref": 3}},
    [{"!plain": 1}, ({"!ref": 0},)],
    {"a": {"!tuple": (1,)}},
    range(3),
    range(10, -5, -3),
    range(2**70),
    slice(None),
    slice(1, (2,), "x"),
    dt.date(1, 1, 1),
    dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
    dt.datetime(2024, 10, 27, 2, 30, fold=1),
    dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=PARIS),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3, seconds=7), "odd")),
    dt.time(1, 2, 3, 4),
    dt.time(1, fold=1),
    dt.time(1, 2, fold=1, tzinfo=dt.timezone.utc),
    dt.timedelta(days=-1, seconds=3, microseconds=5),
    dt.timedelta.max,
    dt.timezone.utc,
    dt.timezone(dt.timedelta(hours=1)),
    PARIS,
    Decimal("1.00"),
    Decimal("-0"),
    Decimal("NaN123"),
    Decimal("sNaN"),
    Decimal("1E+1000"),
    Fraction(-3, 7),
    Fraction(2**100, 3),
    uuid.UUID(int=2**127 + 5),
    Path("a/b.txt"),
    PurePosixPath("/"),
    PureWindowsPath("C:\\x\\y"),
    Path("bad\udc80name"),
    ipaddress.ip_address("192.0.2.1"),
    ipaddress.ip_address("2001:db8::1%eth0"),
    ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_interface("::1/64"),
    re.compile(r"a+(?P<x>b)", re.IGNORECASE | re.MULTILINE),
    re.compile(rb"\x00", re.DOTALL),
    deque([1, 2, 3], maxlen=2),
    deque(),
    OrderedDict([("b", 1), (("a",), 2)]),
    Counter("abracadabra"),
    Counter({"a": -1}),
    defaultdict(list, {"a": [1]}),
    defaultdict(None, {1: 2}),
    defaultdict(int),
    ChainMap({"a": 1}, {(1,): 2}),
    types.SimpleNamespace(a=1, b=[2]),
    types.MappingProxyType({"a": 1}),
    array("d", [1.5, math.inf]),
    array("b", b"ab"),
    array("Q", [2**64 - 1]),
    memoryview(b"abc"),
    int,
    type(None),
    dict,
    len,
    sorted,
    [int, str, int],
    list[int],
    dict[str, list[int]],
    int | None,
    list[int | str] | dict[str, int],
    ValueError,
]


NAMES = [f"{number} {type(value).__name__}" for number, value in enumerate(DATA)]


@pytest.mark.parametrize("value", DATA, ids=NAMES)
def test_data_comes_back(serializer: HashstashSerializer, value: Any) -> None:
    assert_same(value, as_data(value, serializer))


@pytest.mark.parametrize("value", DATA, ids=NAMES)
def test_data_comes_back_from_within(serializer: HashstashSerializer, value: Any) -> None:
    for whole in ([value, 1], {"a": value}, (value, {"b": [value]}), deque([value])):
        assert_same(whole, as_data(whole, serializer))


def test_what_a_datetime_keeps() -> None:
    found = as_data(dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=PARIS))
    assert found.fold == 1
    assert found.tzinfo is PARIS
    assert found.utcoffset() == dt.timedelta(hours=1)


def test_zones_know_whether_they_are_shared() -> None:
    assert as_data(PARIS) is PARIS
    alone = ZoneInfo.no_cache("Europe/Paris")
    assert as_data(alone) is not PARIS
    assert as_data(alone).key == "Europe/Paris"


def test_zones_of_other_classes_are_objects() -> None:
    tz = pytest.importorskip("dateutil.tz")
    moment = dt.datetime(2024, 1, 1, tzinfo=tz.tzoffset("X", 3600))
    found = round_trip([moment, dt.time(1, tzinfo=tz.tzutc())])
    assert found == [moment, dt.time(1, tzinfo=tz.tzutc())]
    assert type(found[0].tzinfo) is tz.tzoffset


@pytest.mark.parametrize("bits", [0x7FF8000000000001, 0xFFF8000000000000, 0x7FF4000000000000])
def test_the_bits_of_a_nan_are_kept(bits: int) -> None:
    value = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    (found,) = as_data((value,))
    assert struct.pack("<d", found) == struct.pack("<d", value)


def test_two_nans_are_two_keys() -> None:
    one, two = math.nan, float("nan")
    assert sorted(as_data({one: 1, two: 2}).values()) == [1, 2]
    assert len(as_data({one, two})) == 2


@pytest.mark.parametrize(
    "numbers",
    [
        [i / 3 for i in range(300)],
        [math.nan, math.inf] * 200,
        list(range(-200, 200)),
        [2**15] * 300,
        [2**31] * 300,
        [2**63 - 1, -(2**63)] * 200,
        [2**64] * 300,
        [True] * 300,
        [1, 1.0] * 200,
        [1, True] * 200,
    ],
    ids=lambda numbers: f"{numbers[0]!r}, {numbers[1]!r}",
)
@pytest.mark.parametrize("kind", [list, tuple, deque])
def test_long_runs_of_numbers(
    serializer: HashstashSerializer, numbers: list[Any], kind: Any
) -> None:
    value = kind(numbers)
    assert_same(value, as_data(value, serializer))
    assert_same([value, 1], as_data([value, 1], serializer))


def test_many_numbers_are_not_text() -> None:
    serializer = HashstashSerializer()
    assert len(serializer.dumps([i / 7 for i in range(10_000)])) < 80_100
    assert len(serializer.dumps(list(range(100)) * 100)) < 10_100


def test_sets_and_keys_of_many_numbers() -> None:
    value = {"s": set(range(1000)), "f": frozenset(range(500)), "d": dict(enumerate(range(500)))}
    assert_same(value, as_data(value))


def test_plain_values_are_json_and_nothing_else(serializer: HashstashSerializer) -> None:
    value = {"name": "Zoë", "tags": ["a", {"b": None}], "n": 1, "x": 0.5, "ok": True}
    assert serializer.dumps(value) == (
        '{"name":"Zoë","tags":["a",{"b":null}],"n":1,"x":0.5,"ok":true}'.encode()
    )


@pytest.mark.parametrize("value", DATA, ids=NAMES)
def test_with_and_without_orjson_is_the_same(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    pytest.importorskip("orjson")
    serializer = HashstashSerializer()
    with_orjson = serializer.dumps([value])
    for word, function in (("dump", text.dump_with_json), ("load", text.load_with_json)):
        monkeypatch.setattr(text, word, function)
    monkeypatch.setattr(text, "HAS_ORJSON", False)
    assert_same([value], serializer.loads(with_orjson, trusted=False))
    without = serializer.dumps([value])
    monkeypatch.undo()
    assert_same([value], serializer.loads(without, trusted=False))
    if not isinstance(value, float | dict):
        assert len(with_orjson) == len(without)


@pytest.mark.parametrize("value", [1e16, 1e22, 1.7976931348623157e308, 5e-324, 0.1, -0.0, 1e-7])
def test_floats_keep_their_bits_through_either_text(
    monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    pytest.importorskip("orjson")
    for dump in (text.dump_with_json, text.dump_with_orjson):
        for load in (text.load_with_json, text.load_with_orjson):
            assert struct.pack("<d", load(dump([value]))[0]) == struct.pack("<d", value)


@pytest.mark.parametrize(
    ("form", "shape"), [("B", (4,)), ("i", (1,)), ("h", (2, 1)), ("c", (2, 2)), ("d", (0,))]
)
@pytest.mark.parametrize("owner", [bytes, bytearray])
def test_memoryviews(form: str, shape: tuple[int, ...], owner: type) -> None:
    size = math.prod(shape) * struct.calcsize(form)
    value = memoryview(owner(range(size))).cast(form)  # type: ignore[call-overload]
    if len(shape) > 1:
        value = value.cast("B").cast(form, shape)
    found = as_data(value)
    assert found == value
    assert (found.format, found.shape, found.readonly) == (form, shape, owner is bytes)


def test_a_slice_of_a_memoryview_comes_back_as_its_content() -> None:
    found = as_data(memoryview(b"abcdef")[::2])
    assert found.tobytes() == b"ace"


def test_text_arrays() -> None:
    code = "w" if sys.version_info >= (3, 13) else "u"
    value = array(code, "aé\N{CAT FACE}")
    assert_same(value, as_data(value))


def test_what_is_mutable_is_not_shared_with_the_payload() -> None:
    serializer = HashstashSerializer()
    data = serializer.dumps(bytearray(b"abc"))
    found: Any = serializer.loads(data, trusted=False)
    found[0] = 0
    assert serializer.loads(data, trusted=False) == bytearray(b"abc")


def test_containers_with_attributes_keep_them() -> None:
    ordered = OrderedDict(a=1)
    ordered.note = [1]  # type: ignore[attr-defined]
    counter = Counter("aab")
    counter.note = 2  # type: ignore[attr-defined]
    found = round_trip([ordered, counter])
    assert found == [ordered, counter]
    assert (found[0].note, found[1].note) == ([1], 2)


def test_uuids_know_whether_they_are_safe() -> None:
    value = uuid.UUID(int=1, is_safe=uuid.SafeUUID.safe)
    assert as_data(value).is_safe is uuid.SafeUUID.safe


def test_a_frozen_view_is_of_a_copy() -> None:
    inner = {"a": [1]}
    found = as_data({"view": types.MappingProxyType(inner), "list": inner["a"]})
    assert found["view"]["a"] is found["list"]


@pytest.mark.parametrize(
    "view", [{}.keys(), {1: 2}.items(), {}.values()], ids=["keys", "items", "values"]
)
def test_views_of_dicts_are_refused(view: Any) -> None:
    with pytest.raises(SerializationError, match="view of a dict"):
        round_trip([view])


def test_matches_are_refused() -> None:
    with pytest.raises(SerializationError, match="match"):
        round_trip({"m": re.match("a", "a")})


def test_paths_of_the_other_system_are_pure_or_an_error() -> None:
    from hashstash.errors import DecodeError

    data = HashstashSerializer().dumps(Path("a"))
    other = b"WindowsPath" if b"PosixPath" in data else b"PosixPath"
    here = b"PosixPath" if b"PosixPath" in data else b"WindowsPath"
    head = data[9:].replace(here, other)
    changed = data[:1] + (len(head)).to_bytes(8, "little") + head
    with pytest.raises(DecodeError, match="operating system"):
        HashstashSerializer().loads(changed, trusted=False)


def test_zones_of_pytz() -> None:
    pytz = pytest.importorskip("pytz")
    paris = pytz.timezone("Europe/Paris")
    summer = paris.localize(dt.datetime(2024, 7, 1))
    value = [pytz.utc, paris, summer.tzinfo, summer, dt.time(1, tzinfo=pytz.utc)]
    found = as_data(value)
    assert found == value
    assert all(one is two for one, two in zip(found[:3], value[:3], strict=True))
    assert found[3].utcoffset() == dt.timedelta(hours=2)
    fixed = pytz.FixedOffset(90)
    assert round_trip(dt.datetime(2024, 1, 1, tzinfo=fixed)).utcoffset() == fixed.utcoffset(None)


def test_moments_of_any_zone() -> None:
    class Zone(dt.tzinfo):
        def utcoffset(self, _: Any) -> dt.timedelta:
            return dt.timedelta(hours=5)

        def dst(self, _: Any) -> None:
            return None

        def tzname(self, _: Any) -> str:
            return "five"

    found = round_trip(dt.datetime(2024, 1, 1, 2, fold=1, tzinfo=Zone()))
    assert (type(found.tzinfo), found.fold) == (Zone, 1)
    assert found.utcoffset() == dt.timedelta(hours=5)

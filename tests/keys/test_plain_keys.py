from __future__ import annotations

import datetime as dt
import math
import pathlib
import struct
import uuid
from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b
from itertools import combinations
from typing import Any
from zoneinfo import ZoneInfo

import key_samples as s
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashstash.errors import CorruptRowError, UnstableKeyError
from hashstash.keys import FORMAT, decode_canonical, stable_bytes, stable_hash, stored_key
from hashstash.keys.stored import MAX_BYTES


def same(one: Any, two: Any) -> bool:
    """Tell whether both have the same type and value, all through; NaN is the same as NaN."""
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", two) or (one != one and two != two)
    if isinstance(one, complex):
        return same(one.real, two.real) and same(one.imag, two.imag)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, set | frozenset):
        return same_members(list(one), list(two))
    if isinstance(one, dict):
        return same_members(list(one.items()), list(two.items()))
    if isinstance(one, slice):
        return same((one.start, one.stop, one.step), (two.start, two.stop, two.step))
    if isinstance(one, Decimal):
        return bool(one.as_tuple() == two.as_tuple())
    if isinstance(one, dt.datetime | dt.time):
        zones = same(one.tzinfo, two.tzinfo)
        clock = one.replace(tzinfo=None) == two.replace(tzinfo=None)
        return zones and clock and one.fold == two.fold
    if isinstance(one, dt.timezone):
        return repr(one) == repr(two)
    return bool(one == two)


def same_members(one: list[Any], two: list[Any]) -> bool:
    for member in one:
        index = next((i for i, other in enumerate(two) if same(member, other)), None)
        if index is None:
            return False
        two = two[:index] + two[index + 1 :]
    return not two


SMALL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf]),
    st.sampled_from(["", "1", "0", "a"]),
    st.sampled_from([b"", b"1", bytearray(b"1"), 1 + 0j, Decimal(1), Fraction(1), range(1)]),
)
ZONES = st.one_of(
    st.none(),
    st.just(dt.timezone.utc),
    st.sampled_from([ZoneInfo("UTC"), ZoneInfo("Europe/Paris"), ZoneInfo("Etc/GMT+5")]),
    st.builds(
        dt.timezone,
        st.timedeltas(dt.timedelta(hours=-23, minutes=-59), dt.timedelta(hours=23, minutes=59)),
    ),
    st.just(dt.timezone(dt.timedelta(hours=1), "X")),
)
LEAVES = st.one_of(
    SMALL,
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(codec=None)),  # lone surrogates too
    st.binary(max_size=300),
    st.binary().map(bytearray),
    st.dates(),
    st.times(timezones=ZONES),
    st.datetimes(timezones=ZONES),
    st.timedeltas(),
    st.decimals(),
    st.fractions(),
    st.uuids(),
    st.builds(range, st.integers(-3, 3), st.integers(-3, 3), st.sampled_from([-2, -1, 1, 2])),
    st.sampled_from([..., NotImplemented, pathlib.Path("a/b"), pathlib.PureWindowsPath("c:/x")]),
)


def is_hashable(value: object) -> bool:
    signalling = isinstance(value, Decimal) and value.is_snan()
    return not signalling and not isinstance(value, bytearray)


def members(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What may be in a set: leaves, and tuples and frozen sets of them."""
    hashable = leaves.filter(is_hashable)
    more = st.tuples(hashable, hashable) | st.frozensets(hashable, max_size=2)
    return hashable | more


def containers(hashable: st.SearchStrategy[Any], inner: st.SearchStrategy[Any]) -> Any:
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(hashable, inner, max_size=3),
        st.sets(hashable, max_size=3),
        st.frozensets(hashable, max_size=3),
        st.tuples(inner, inner, inner).map(lambda parts: slice(*parts)),
    )


def nested_data(leaves: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[Any]:
    hashable = members(leaves)
    return st.recursive(leaves, lambda inner: containers(hashable, inner), max_leaves=most)


PLAIN = nested_data(LEAVES, 10)
FEW = nested_data(SMALL, 3)


@settings(deadline=None)  # the machine may be busy
@given(PLAIN)
def test_decoding_is_the_inverse(value: Any) -> None:
    encoded = stable_bytes(value)
    decoded = decode_canonical(encoded)
    assert same(decoded, value)
    assert stable_bytes(decoded) == encoded


@settings(deadline=None)  # the machine may be busy
@given(FEW, FEW)
def test_equal_bytes_means_equal_value_and_type(one: Any, two: Any) -> None:
    assert (stable_bytes(one) == stable_bytes(two)) == same(one, two)


@settings(deadline=None)  # the machine may be busy
@given(st.permutations([1, "1", (1,), b"1", None, 1.5, frozenset({"a"}), dt.date(2020, 1, 1)]))
def test_order_of_insertion_makes_no_difference(keys: list[Any]) -> None:
    first = sorted(keys, key=repr)
    assert stable_bytes({k: [k] for k in keys}) == stable_bytes({k: [k] for k in first})
    assert stable_bytes(set(keys)) == stable_bytes(set(first))


@settings(deadline=None)  # the machine may be busy
@given(PLAIN)
def test_a_stored_key_is_short_and_says_what_it_is(value: Any) -> None:
    stored, canonical = stored_key(value)
    whole = stable_bytes(value)
    assert len(stored) <= MAX_BYTES
    if len(whole) < MAX_BYTES:
        assert (stored, canonical) == (b"P" + whole, None)
    else:
        assert (stored, canonical) == (b"D" + bytes.fromhex(stable_hash(value)), whole)


@pytest.mark.parametrize("unit", ["x", "é", "\ud83d"])
def test_short_strings_are_the_same_on_the_short_way(unit: str) -> None:
    for length in range(110):
        text = unit * length
        whole = stable_bytes(text)
        assert stored_key(text)[0] == (
            b"P" + whole if len(whole) < MAX_BYTES else b"D" + bytes.fromhex(stable_hash(text))
        )
        assert decode_canonical(whole) == text


@pytest.mark.parametrize("exponent", [0, 7, 8, 10, 63, 64, 499, 500, 501, 800, 5000])
def test_integers_around_every_bound(exponent: int) -> None:
    for value in (2**exponent - 1, 2**exponent, 2**exponent + 1):
        for signed in (value, -value):
            assert decode_canonical(stable_bytes(signed)) == signed
            stored, canonical = stored_key(signed)
            assert (canonical is None) == (stored[:1] == b"P") == (exponent <= 501)


def test_the_hash_is_personalised_with_the_format_version() -> None:
    expected = blake2b(stable_bytes(5), digest_size=32, person=b"hashstash-key-%d" % FORMAT)
    assert stable_hash(5) == expected.hexdigest()
    assert FORMAT == 1


def test_types_are_kept_apart() -> None:
    values: list[Any] = [
        1, 1.0, True, "1", b"1", bytearray(b"1"), 1 + 0j, Decimal(1), Fraction(1), (1,), [1], {1},
        frozenset({1}), {1: 1}, range(1, 2), slice(1), None, "None", "True", (), [], set(), {}, "",
        b"", 0, 0.0, -0.0, False, frozenset(), s.Whole(1), s.Text("1"), s.Row([1]), s.Bag({1}),
        s.FrozenBag({1}), s.Pairs({1: 1}), s.Number.ONE, s.Named(1), s.Old(1, "b"), (1, "b"),
        dt.date(2020, 1, 1), dt.datetime(2020, 1, 1), "2020-01-01", uuid.UUID(int=1),
        dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc), dt.datetime(2020, 1, 1, fold=1),
        dt.datetime(2020, 1, 1, tzinfo=ZoneInfo("UTC")), pathlib.PurePosixPath("a"), "a",
        pathlib.PureWindowsPath("a"), pathlib.Path("a"), Decimal("1.0"), ..., NotImplemented,
    ]  # fmt: skip
    for one, two in combinations(values, 2):
        assert stable_bytes(one) != stable_bytes(two), (one, two)


def test_every_nan_is_one_nan() -> None:
    odd = struct.unpack(">d", b"\xff\xf8\x00\x00\x00\x00\x00\x01")[0]
    assert stable_bytes(odd) == stable_bytes(math.nan)
    assert stable_bytes(complex(odd, 1)) == stable_bytes(complex(math.nan, 1))
    assert stable_bytes({odd, math.nan}) == stable_bytes({math.nan, odd})
    assert len(decode_canonical(stable_bytes({odd, math.nan}))) == 2  # type: ignore[arg-type]


def test_ranges_of_the_same_numbers_are_equal() -> None:
    assert stable_bytes(range(0, 3, 2)) == stable_bytes(range(0, 4, 2))
    assert stable_bytes(range(5, 1)) == stable_bytes(range(0))
    assert stable_bytes(range(1, 2, 7)) == stable_bytes(range(1, 2))


def test_nesting_is_unambiguous() -> None:
    values: list[Any] = [["a", "b"], ["ab"], [["a"], "b"], ["a", ["b"]], [["a", "b"]], ["", "ab"]]
    assert len({stable_bytes(value) for value in values}) == len(values)


def test_sharing_makes_no_difference() -> None:
    inner = [1, 2]
    assert stable_bytes([inner, inner]) == stable_bytes([[1, 2], [1, 2]])
    assert stable_bytes((inner, {"a": inner})) == stable_bytes(([1, 2], {"a": [1, 2]}))


def test_a_key_is_what_the_object_is_now() -> None:
    value = [1]
    before = stable_hash(value)
    value.append(2)
    assert stable_hash(value) == stable_hash([1, 2]) != before


@pytest.mark.parametrize("depth", [10, 1000, 2500])
@pytest.mark.parametrize("innermost", [(), {"a": {1}}, dt.date(2020, 1, 1)])
def test_deep_plain_data_comes_back(depth: int, innermost: object) -> None:
    value = s.nested(depth, innermost)
    assert stored_key(value)[0][:1] == (b"P" if depth == 10 else b"D")
    found = decode_canonical(stable_bytes(value))
    for _ in range(depth):
        (found,) = found  # type: ignore[misc]
    assert found == innermost


def test_deeper_data_is_a_key_that_is_not_decoded() -> None:
    value = s.nested(20_000)
    stored, canonical = stored_key(value)
    assert stored[:1] == b"E"
    assert canonical == stable_bytes(s.nested(20_000))
    with pytest.raises(CorruptRowError, match="levels deep"):
        decode_canonical(canonical)


def test_data_without_end_is_refused() -> None:
    with pytest.raises(UnstableKeyError, match="levels deep"):
        stable_bytes(s.nested(60_000))


def test_cycles_are_keys() -> None:
    other = [1, None]
    other[1] = other  # type: ignore[call-overload]
    assert stable_bytes(s.cycle()) == stable_bytes(other)
    assert stored_key(other)[0][:1] == b"O"
    assert stable_bytes([1, [1]]) != stable_bytes(other)
    loop: dict[str, Any] = {"a": {"b": []}}
    loop["a"]["b"].append(loop)
    another: dict[str, Any] = {"a": {"b": []}}
    another["a"]["b"].append(another["a"])
    assert stable_bytes(loop) != stable_bytes(another)


# --- hostile bytes


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=60))
def test_any_bytes_are_canonical_or_refused(data: bytes) -> None:
    try:
        found = decode_canonical(data)
    except CorruptRowError:
        return
    assert stable_bytes(found) == data


@settings(deadline=None)  # the machine may be busy
@given(PLAIN, st.data())
def test_changed_bytes_are_canonical_or_refused(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(stable_bytes(value))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(encoded) - 1))
        encoded[place] = data.draw(
            st.one_of(st.integers(0, 255), st.sampled_from(b"NTFEnisbfjatldezrxqDhmuoZcUpOR\xff"))
        )
    changed = bytes(encoded)
    try:
        found = decode_canonical(changed)
    except CorruptRowError:
        return
    assert stable_bytes(found) == changed


@settings(deadline=None)  # the machine may be busy
@given(PLAIN)
def test_cut_or_extended_bytes_are_refused(value: Any) -> None:
    encoded = stable_bytes(value)
    for wrong in (encoded[:-1], encoded + b"\x00", encoded + b"N\x00", encoded[1:]):
        try:
            assert stable_bytes(decode_canonical(wrong)) == wrong  # the rest of one may be one
        except CorruptRowError:
            pass
    with pytest.raises(CorruptRowError):
        decode_canonical(encoded + b"N\x00")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"N",
        b"N\x01x",
        b"s\xff\x00\x00\x00\x00\x00\x00\x00\x01a",  # a length longer than it need be
        b"s\xff\xff\xff\xff\xff\xff\xff\xff\xffa",
        b"i\x00",
        b"i\x02\x00\x01",
        b"f\x08\xff\xf8\x00\x00\x00\x00\x00\x00",
        b"f\x04\x00\x00\x00\x00",
        b"d\x04i\x01\x01N",
        b"d\x03i\x01\x01",
        b"d\x0ai\x01\x01N\x00i\x01\x01N\x00",  # a key twice
        b"d\x0ai\x01\x02N\x00i\x01\x01N\x00",  # out of order
        b"e\x06i\x01\x02i\x01\x01",
        b"e\x04l\x00l\x00",  # not hashable
        b"e\x05T\x00i\x01\x01",  # equal to each other
        b"s\x02\xff\xff",
        b"r\x09i\x01\x00i\x01\x02i\x01\x00",
        b"q\x06i\x01\x02i\x01\x00",
        b"q\x06i\x01\x02i\x01\x02",
        b"D\x04\x00\x00\x00\x00",
        b"u\x0c\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00",
        b"Z\x0e../etc/passwd\x00",
        b"Z\x0d../etc/passwd",
        b"Z\x07No/Such",
        b"c\x03xEy",
        b"c\x05007E0",
        b"p\x02\x00",
        b"p\x03\x05ab",
        b"U\x02ab",
        b"O\x03s\x01a",
        b"R\x01\x01",
        b"m\x12\x07\xe4\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00s\x04evil",
    ],
)
def test_what_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptRowError) as caught:
        decode_canonical(data)
    assert caught.value.stage == "key"


def test_hostile_depth_is_refused() -> None:
    head = b"t\xff"
    body = b"N\x00"
    parts = []
    length = len(body)
    for _ in range(200_000):
        start = b"t" + bytes((length,)) if length < 255 else head + length.to_bytes(8, "big")
        parts.append(start)
        length += len(start)
    data = b"".join(reversed(parts)) + body
    with pytest.raises(CorruptRowError, match="levels deep"):
        decode_canonical(data)
    length = len(data)
    with pytest.raises(CorruptRowError):
        decode_canonical(b"e\xff" + length.to_bytes(8, "big") + data)


def test_decoding_takes_any_buffer() -> None:
    assert decode_canonical(memoryview(stable_bytes([1, "a"]))) == [1, "a"]  # type: ignore[arg-type]

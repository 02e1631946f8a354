"""Anything that hypothesis thinks of: values, trees, changed bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from value_checks import HASHSTASH, as_data, assert_same, payload

from hashstash.errors import HashStashError
from hashstash.serializers.hashstash_format import text
from hashstash.serializers.hashstash_format.vocabulary import RULES

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters()), st.binary(),
    st.complex_numbers(), st.dates(), st.datetimes(), st.times(), st.timedeltas(), st.uuids(),
    st.decimals(allow_nan=False), st.fractions(), st.just(...),
)  # fmt: skip
hashable = st.recursive(
    scalars.filter(lambda value: value == value),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(hashable, inner, max_size=4),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
        st.tuples(inner, inner),
        st.sets(hashable, max_size=4),
        st.lists(inner, max_size=3).flatmap(lambda part: st.just([part, part, (part,)])),
    ),
    max_leaves=25,
)
quiet = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(values)
@settings(quiet, max_examples=100)
def test_any_data_comes_back(value: Any) -> None:
    assert_same(value, as_data(value))


@given(values)
@settings(quiet, max_examples=50)
def test_any_data_comes_back_without_orjson(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "HAS_ORJSON", False)
        patch.setattr(text, "dump", text.dump_with_json)
        data = HASHSTASH.dumps(value)
        patch.setattr(text, "load", text.load_with_json)
        assert_same(value, HASHSTASH.loads(data, trusted=False))
    assert_same(value, HASHSTASH.loads(data, trusted=False))


tags = sorted({tag for tag in RULES if tag[:4] not in ("!pd.", "!pa.", "!pl.")} | {"!ref", "!def"})
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(), st.text(max_size=3),
              st.sampled_from(["list", "int", "ValueError", "len", "nan", "<i8", "C"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.tuples(st.sampled_from(tags), inner).map(lambda pair: {pair[0]: pair[1]}),
        st.tuples(st.sampled_from(tags), st.lists(inner, max_size=6)).map(
            lambda pair: {pair[0]: pair[1]}
        ),
        st.tuples(st.sampled_from(tags), inner).map(lambda pair: {pair[0]: pair[1], "!def": [0]}),
    ),
    max_leaves=20,
)  # fmt: skip


@given(junk, st.lists(st.binary(max_size=20), max_size=3), st.booleans())
@settings(quiet, max_examples=300)
def test_any_tree_gives_a_value_or_an_error_of_ours(
    tree: Any, segments: list[bytes], graph: bool
) -> None:
    whole = {"!graph": [tree, [tree], {"!tuple": [{"!ref": 0}]}]} if graph else tree
    try:
        HASHSTASH.loads(payload(whole, *segments), trusted=False)
    except HashStashError:
        pass


@given(values, st.data())
@settings(quiet, max_examples=100)
def test_any_changed_bytes_give_a_value_or_an_error_of_ours(value: Any, data: Any) -> None:
    changed = bytearray(HASHSTASH.dumps([value, (value,)]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    try:
        HASHSTASH.loads(bytes(changed), trusted=False)
    except HashStashError:
        pass


@given(st.binary(max_size=200))
@settings(quiet, max_examples=100)
def test_any_bytes_give_a_value_or_an_error_of_ours(data: bytes) -> None:
    for start in (b"", b"D", b"C", b"D" + len(data).to_bytes(8, "little")):
        try:
            HASHSTASH.loads(start + data, trusted=False)
        except HashStashError:
            pass

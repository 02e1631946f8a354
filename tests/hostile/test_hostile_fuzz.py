"""Whatever the bytes are, only our own errors come out of rows, codecs, payloads and keys."""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashstash.codec import Codec
from hashstash.encoders.chain import EncoderChain
from hashstash.errors import HashStashError, MissingDependencyError
from hashstash.keys import decode_canonical, stable_bytes, stored_key
from hashstash.rows import parse
from hashstash.serializers.hashstash import HashstashSerializer
from hashstash.serializers.hashstash_format import vocabulary
from hashstash.serializers.hashstash_format.layout import pack
from hashstash.signing import Keyring
from hashstash.testing.engine import missing

from .planting import body_of, resealed, unsigned

KEY = b"Ps\x01k"
LIMIT = 1 << 20
ENCODERS: list[tuple[str, ...]] = [
    (), ("zlib",), ("gzip",), ("bz2",), ("lzma",), ("lz4",), ("blosc",), ("zstd",), ("b64",),
    ("lz4", "b64"), ("zlib", "zstd"),
]  # fmt: skip
KEYRING = Keyring(["k" * 32], "fuzz")
READER = Codec("hashstash", (), keyring=KEYRING, safe=False, max_value_bytes=LIMIT)
SECONDS = 120
"""How long the long loop runs."""


def values() -> list[Any]:
    """Return values that between them use most of what the data decoder knows."""
    found: list[Any] = [
        None, [1, 2.5, "x", None, True], {"a": {"b": [1]}}, {1: 2, (3, 4): {5}}, 2**100, b"bytes",
        list(range(300)), [0.5] * 300, {"t": (1, [2]), "s": frozenset({1})}, complex(1, 2),
        datetime(2020, 1, 2, tzinfo=timezone(timedelta(hours=2))), Decimal("1.5"), Fraction(1, 3),
        UUID(int=5), Path("a/b"), range(3, 9, 2), slice(1, None), OrderedDict(a=1), "\udc80", ...,
        ValueError("x"), bytearray(b"ab"), memoryview(b"abc"),
    ]  # fmt: skip
    shared = [1, 2]
    found.append([shared, shared])
    loop: list[Any] = []
    loop.append(loop)
    found.append(loop)
    for package in ("numpy", "pandas", "polars", "pyarrow"):
        try:
            found += tables(package, __import__(package))
        except ImportError as exc:
            missing(exc)
    return found


def tables(name: str, module: Any) -> list[Any]:
    if name == "numpy":
        records = module.zeros(2, [("a", "i4"), ("b", "O")])
        return [
            *(module.arange(6).reshape(2, 3), module.array([{}, [1]], object), records),
            *(module.float32(1.5), module.datetime64("2020-01-01"), module.dtype("i4")),
            module.ma.masked_array([1, 2], [0, 1]),
        ]
    if name == "pandas":
        frame = module.DataFrame({"a": [1, 2], "b": ["x", None]})
        return [frame, frame["a"], frame.index, module.Timestamp("2020"), module.Categorical(["a"])]
    if name == "polars":
        return [module.DataFrame({"a": [1, 2], "b": ["x", None]})]
    return [module.table({"a": [1, 2], "b": ["x", None]})]


PAYLOADS = [
    data
    for data in map(HashstashSerializer().dumps, values())
    if not HashstashSerializer().needs_trust(data)
]
_KEYS: list[Any] = [
    "text", "\udc80", 2**80, -1, 1.5, 1j, None, b"b", (1, [2, {"a": {3}}]), range(1, 9, 3),
    slice(1), datetime(2020, 1, 1, fold=1), timedelta(1), Decimal("1e5"), Fraction(1, 3),
    UUID(int=1), Path("x/y"), timezone(timedelta(hours=1), "X"), ("x" * 300, 1), frozenset({1}),
]  # fmt: skip
KEYS = [stable_bytes(key) for key in _KEYS]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return ``data`` with a few changes of the kinds that find trouble."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(7):
            case 0 if place < len(changed):
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                del changed[place : place + chance.choice([1, 1, 2, 8, 100])]
            case 2:
                changed[place:place] = chance.randbytes(chance.choice([1, 4, 8]))
            case 3:
                changed[place : place + 8] = chance.choice([b"\xff" * 8, bytes(8), b"\x7f" * 4])
            case 4:
                start = chance.randrange(len(changed) + 1)
                changed[place:place] = changed[start : start + 30]
            case 5:
                word = chance.choice(WORDS)
                changed[place : place + chance.choice([0, len(word)])] = word
            case _:
                del changed[place:]
    return bytes(changed)


WORDS = [
    b"null", b"[]", b"{}", b"-1", b"0", b"1e999", b"18446744073709551616", b'""', b"true", b"[0]",
    b'{"!ref":0}', b'{"!def":[0]}', b'{"!graph":[[0]]}', b'{"!bytes":0}', b"[[[[", b'"!tuple":',
    b",", b"C", b"D", b"NaN", b'"\\ud800"', b'{"!int":"f"}', b"0" * 50, b"9" * 5000,
]  # fmt: skip


def only_ours(act: Callable[..., object], *given: Any, **named: Any) -> None:
    try:
        act(*given, **named)
    except HashStashError:
        pass


def rows_of(payload: bytes, chance: random.Random) -> Iterator[bytes]:
    """Yield rows around a payload: mutated inside the codec, outside of it, and as a whole."""
    encoders = chance.choice(ENCODERS)
    codec = "+".join(("hashstash", *encoders))
    try:
        chain = EncoderChain(encoders)
    except MissingDependencyError as exc:
        missing(exc)
    encoded = chain.encode(mutated(payload, chance))
    yield unsigned(KEY, codec, encoded)
    yield unsigned(KEY, codec, mutated(chain.encode(payload), chance))
    body = body_of(mutated(codec.encode(), chance)[:255], encoded)
    yield resealed(KEY, mutated(body, chance), chance.randrange(8))
    yield mutated(unsigned(KEY, codec, encoded), chance)


def meet(chance: random.Random) -> None:
    """Read a few mutants of everything."""
    for row in rows_of(chance.choice(PAYLOADS), chance):
        only_ours(parse, row, KEY)
        only_ours(READER.decode, row, KEY)
        only_ours(READER.decode_key, KEY, row)
    canonical = mutated(chance.choice(KEYS), chance)
    only_ours(decode_canonical, canonical)
    for kind in b"PODE\0":
        stored = bytes((kind,)) + canonical[:99]
        row = resealed(
            stored, mutated(body_of(b"hashstash", canonical), chance), chance.randrange(8)
        )
        only_ours(READER.decode_key, stored, row)
        only_ours(READER.decode, row, stored, canonical)


@given(st.integers(0, 2**64))
@settings(max_examples=200)
def test_mutants(seed: int) -> None:
    meet(random.Random(seed))


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_mutants_for_two_minutes() -> None:
    end, seed = time.monotonic() + SECONDS, random.SystemRandom().randrange(1 << 60)
    while time.monotonic() < end:
        seed += 1
        try:
            meet(random.Random(seed))
        except Exception as exc:
            raise AssertionError(f"with the seed {seed}") from exc


def test_every_value_of_the_corpus_reads_back() -> None:
    """Otherwise the mutants would all be refused for the same reason."""
    for payload in PAYLOADS:
        row = unsigned(KEY, "hashstash", payload)
        assert READER.decode(row, KEY) is not NotImplemented
    for canonical in KEYS:
        assert stable_bytes(decode_canonical(canonical)) == canonical
    assert len(PAYLOADS) > 20


# -- trees of the vocabulary -------------------------------------------------------------------


def tags() -> list[str]:
    """Return all tags that the decoder knows, code included."""
    for payload in PAYLOADS:  # loads the parts for tables
        only_ours(HashstashSerializer().loads, payload, trusted=False)
    return sorted({*vocabulary.RULES, "!ref", "!def", "!graph", "!unknown", "!"})


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.sampled_from([2**31, 2**63, -(2**63), 1e308, -0.0, 10**12])
    | st.sampled_from(["", "a", "ff", "C", "F", "<f8", "|O", "O", "i4", "nan", "UTC", "../x", "os"])
    | st.text(max_size=4)
)


def trees(tag: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    def more(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return (
            st.lists(inner, max_size=6)
            | st.dictionaries(tag, inner, min_size=1, max_size=1)
            | st.dictionaries(tag | st.text(max_size=2), inner, max_size=3)
            | inner.map(lambda node: {"!def": [0], "a": node})
        )

    return st.recursive(LEAVES, more, max_leaves=12)


SEGMENTS = st.lists(st.binary(max_size=24), max_size=3)


@given(st.deferred(lambda: trees(st.sampled_from(tags()))), SEGMENTS, st.booleans())
@settings(max_examples=300)
def test_trees_of_the_vocabulary(tree: Any, segments: list[bytes], graph: bool) -> None:
    if graph:
        tree = {"!graph": tree if isinstance(tree, list) else [tree]}
    try:
        payload = pack(tree, segments, code=False)
    except Exception:
        return  # no JSON
    row = unsigned(KEY, "hashstash", payload)
    only_ours(READER.decode, row, KEY)


@given(st.binary(max_size=80))
@settings(max_examples=300)
def test_any_bytes_as_a_key(data: bytes) -> None:
    try:
        key = decode_canonical(data)
    except HashStashError:
        return
    assert stable_bytes(key) == data
    assert stored_key(key)[0] == b"P" + data

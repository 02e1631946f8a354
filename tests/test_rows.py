from __future__ import annotations

import os
import struct
import threading
from multiprocessing import get_context
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashstash.errors import CorruptRowError, HashStashError
from hashstash.rows import (
    EXPIRES,
    KEY,
    check,
    codec_header,
    pack_field,
    parse,
    seal,
    time_of,
    version_of,
    with_version,
)

CODEC = codec_header("hashstash+lz4")


def signature(header: bytes, payload: bytes | memoryview) -> bytes:
    return b"m" * 32


def test_a_row_comes_apart_as_it_was_put_together() -> None:
    fields = pack_field(KEY, b"the key") + pack_field(EXPIRES, b"12345678")
    parts = parse(seal(b"Pk", CODEC, b"payload", fields, signature), b"Pk")
    assert parts.codec == b"hashstash+lz4"
    assert parts.fields == {KEY: b"the key", EXPIRES: b"12345678"}
    assert parts.mac == b"m" * 32
    assert parts.payload == b"payload"
    assert (parts.version, parts.history) == (1, parts.etag)


def test_the_layout_is_the_documented_one() -> None:
    row = seal(b"Pk", CODEC, b"payload")
    assert row[:4] == b"HS\x01\x00"
    assert row[4:8] == struct.pack("<I", crc32(row[8:], crc32(b"Pk", crc32(row[:4]))))
    assert struct.unpack("<Q", row[8:16])[0] == time_of(row)
    assert row[32:46] == b"\x0dhashstash+lz4"
    assert row[46:] == b"payload"


@pytest.mark.parametrize("large", [False, True])
def test_every_flipped_bit_and_every_cut_is_seen(large: bool) -> None:
    payload = b"x" * 100_000 if large else b"payload"
    row = seal(b"Pk", CODEC, payload, pack_field(KEY, b"k"), signature)
    positions = range(len(row)) if not large else [*range(120), len(row) - 1]
    for position in positions:
        for bit in range(8):
            damaged = bytearray(row)
            damaged[position] ^= 1 << bit
            with pytest.raises(CorruptRowError):
                check(bytes(damaged), b"Pk")
        with pytest.raises(CorruptRowError):
            check(row[:position], b"Pk")
    with pytest.raises(CorruptRowError):
        check(row + b"x", b"Pk")


def test_a_row_is_readable_under_its_own_key_alone() -> None:
    row = seal(b"Pk", CODEC, b"payload")
    with pytest.raises(CorruptRowError, match="another key"):
        check(row, b"Pl")


def resealed(body: bytes, flags: int, key: bytes = b"Pk") -> bytes:
    prefix = b"HS\x01" + bytes((flags,))
    return prefix + struct.pack("<I", crc32(body, crc32(key, crc32(prefix)))) + body


@pytest.mark.parametrize("flags", range(1, 8))
@pytest.mark.parametrize("tail", [b"", b"\xff", b"\xff\xff\xff\xff", b"\xff" * 30, b"\x00" * 11])
def test_lengths_that_lie_under_a_right_checksum_are_corrupt(flags: int, tail: bytes) -> None:
    body = bytes(24) + b"\x05codec" + tail
    if (flags, len(tail)) == (4, 30) or (flags, tail) == (1, bytes(11)):
        pytest.skip("this one fits")
    with pytest.raises(CorruptRowError):
        parse(resealed(body, flags), b"Pk")


def test_a_codec_name_longer_than_the_row_is_corrupt() -> None:
    with pytest.raises(CorruptRowError):
        parse(resealed(bytes(24) + b"\xffabc", 0), b"Pk")


@given(st.binary(max_size=300), st.integers(0, 7))
def test_whatever_is_parsed_only_our_errors_come_out(body: bytes, flags: int) -> None:
    for row in (body, resealed(body, flags)):
        try:
            parse(row, b"Pk")
        except HashStashError:
            pass


def test_etags_are_unique_over_threads_and_forks() -> None:
    found: list[bytes] = []

    def write() -> None:
        found.extend(seal(b"k", CODEC, b"")[16:32] for _ in range(500))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 2000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_makes_other_etags() -> None:
    queue = get_context("fork").SimpleQueue()
    before = seal(b"k", CODEC, b"")[16:26]
    child = get_context("fork").Process(target=lambda: queue.put(seal(b"k", CODEC, b"")[16:26]))
    child.start()
    assert queue.get() != before
    child.join()


def test_numbering_a_row_keeps_all_else() -> None:
    row = seal(b"Pk", CODEC, b"payload", pack_field(KEY, b"k"), signature)
    history = b"h" * 16
    numbered = with_version(row, b"Pk", 7, history)
    assert version_of(numbered) == (7, history)
    assert numbered[16:32] == row[16:32]
    one, other = parse(row, b"Pk"), parse(numbered, b"Pk")
    assert (other.version, other.history) == (7, history)
    assert (one.signed, one.mac, one.payload, one.fields) == (
        other.signed, other.mac, other.payload, other.fields,
    )  # fmt: skip
    again = with_version(numbered, b"Pk", 8, history)
    assert version_of(again) == (8, history)
    assert len(again) == len(numbered)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"", "Not a row"),
        (b"\x80\x04pickle", "Not a row"),
        (b"HS\x01\x00", "cut short"),
        (b"HS\x02\x00" + bytes(60), "format version 2"),
        (b"HS\x00\x00" + bytes(60), "format version 0"),
        (b"HS\x01\x80" + bytes(60), "newer"),
    ],
)
def test_what_is_not_our_row_is_said(row: bytes, words: str) -> None:
    with pytest.raises(CorruptRowError, match=words):
        check(row, b"Pk")

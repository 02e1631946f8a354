"""Our encoders pass the suite that plug-ins do, and refuse what is special to their formats."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma
import random
import struct
import zlib

import blosc2
import lz4.block
import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hashstash.encoders import ENCODERS
from hashstash.encoders import blosc as our_blosc
from hashstash.encoders import lz4 as our_lz4
from hashstash.errors import CorruptRowError, SizeLimitError
from hashstash.testing.encoder import (
    MEGABYTE,
    EncoderContract,
    decode_or_refuse,
    memory_for_at_most,
)


class TestZlib(EncoderContract):
    encoder_name = "zlib"


class TestGzip(EncoderContract):
    encoder_name = "gzip"


class TestBz2(EncoderContract):
    encoder_name = "bz2"


class TestLzma(EncoderContract):
    encoder_name = "lzma"


class TestLz4(EncoderContract):
    encoder_name = "lz4"
    detects_damage = False


class TestLz4Frames(EncoderContract):
    """What is too large for a block, with a limit small enough to test."""

    encoder_name = "lz4"
    detects_damage = False

    @pytest.fixture(autouse=True)
    def _small_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(our_lz4, "MAX_BLOCK", -1)

    def test_a_frame_is_written(self) -> None:
        encoded = ENCODERS.load("lz4")().encode(b"cat")
        assert encoded.startswith(our_lz4.FRAME_FOLLOWS)
        assert lz4.frame.decompress(encoded[our_lz4.PREFIX :]) == b"cat"


class TestBlosc(EncoderContract):
    encoder_name = "blosc"
    detects_damage = False


class TestBloscChunks(EncoderContract):
    """What is too large for one chunk, with a limit small enough to test."""

    encoder_name = "blosc"
    detects_truncation = False  # a cut between two chunks is not seen
    detects_damage = False

    @pytest.fixture(autouse=True)
    def _small_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(our_blosc, "MAX_CHUNK", 1000)


class TestZstd(EncoderContract):
    encoder_name = "zstd"


class TestB64(EncoderContract):
    encoder_name = "b64"
    detects_truncation = False
    detects_damage = False


def test_every_registered_encoder_passes_the_contract() -> None:
    tested = {suite.encoder_name for suite in EncoderContract.__subclasses__()}
    assert tested == set(ENCODERS)


@pytest.mark.parametrize("name", list(ENCODERS))
@given(data=st.binary(max_size=3000))
def test_all_data_round_trip(name: str, data: bytes) -> None:
    encoder = ENCODERS.load(name)()
    assert encoder.decode(encoder.encode(data), max_bytes=len(data)) == data


@pytest.mark.parametrize("name", list(ENCODERS))
@given(data=st.binary(max_size=300))
def test_any_bytes_decode_or_raise_our_errors(name: str, data: bytes) -> None:
    decode_or_refuse(ENCODERS.load(name)(), data, max_bytes=10_000)


@pytest.mark.parametrize("name", list(ENCODERS))
@given(
    data=st.binary(max_size=300) | st.integers(0, 5000).map(bytes),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 40),
)
def test_damaged_encodings_decode_or_raise_our_errors(
    name: str, data: bytes, edits: list[tuple[int, int]], cut: int
) -> None:
    encoder = ENCODERS.load(name)()
    encoded = bytearray(encoder.encode(data))
    for position, byte in edits:
        if encoded:
            encoded[position % len(encoded)] = byte
    decode_or_refuse(encoder, bytes(encoded[: len(encoded) - cut]), max_bytes=10_000)


@pytest.mark.stress
@pytest.mark.parametrize("name", list(ENCODERS))
def test_a_million_damaged_encodings_crash_nothing(name: str) -> None:
    encoder = ENCODERS.load(name)()
    rng = random.Random(5)
    samples = [encoder.encode(rng.randbytes(8) * rng.randrange(1, 99)) for _ in range(200)]
    for _ in range(1_000_000):
        damaged = bytearray(rng.choice(samples))
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        decode_or_refuse(encoder, bytes(damaged), max_bytes=10_000)


# Lengths and memory that a header merely claims


def refused(name: str, data: bytes, max_bytes: int) -> Exception:
    with memory_for_at_most(48 * MEGABYTE), pytest.raises(Exception) as caught:  # noqa: PT011
        ENCODERS.load(name)().decode(data, max_bytes=max_bytes)
    assert isinstance(caught.value, CorruptRowError | SizeLimitError), repr(caught.value)
    return caught.value


@pytest.mark.parametrize("size", [MEGABYTE + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE])
def test_lz4_believes_no_length(size: int) -> None:
    block = lz4.block.compress(b"cat" * 9, store_size=False)
    refused("lz4", size.to_bytes(4, "little") + block, MEGABYTE)
    assert isinstance(refused("lz4", size.to_bytes(4, "little") + block, 1 << 40), CorruptRowError)


def test_lz4_refuses_a_length_that_is_not_reached() -> None:
    block = lz4.block.compress(b"cat" * 9, store_size=False)
    for size in (0, 26, 28, 100):
        refused("lz4", size.to_bytes(4, "little") + block, MEGABYTE)


@pytest.mark.parametrize("claims", [True, False])
def test_lz4_frames_are_bounded_whatever_they_claim(claims: bool) -> None:
    bomb = our_lz4.FRAME_FOLLOWS + lz4.frame.compress(bytes(64 * MEGABYTE), store_size=claims)
    assert isinstance(refused("lz4", bomb, MEGABYTE), SizeLimitError)


@pytest.mark.parametrize("size", [MEGABYTE + 1, 1 << 31, 1 << 40, (1 << 64) - 1])
def test_lz4_frames_are_not_believed(size: int) -> None:
    frame = bytearray(lz4.frame.compress(b"cat" * 9))
    assert struct.unpack_from("<Q", frame, 6) == (27,)
    struct.pack_into("<Q", frame, 6, size)
    for max_bytes in (MEGABYTE, 1 << 70):
        refused("lz4", our_lz4.FRAME_FOLLOWS + frame, max_bytes)


@pytest.mark.parametrize("size", [MEGABYTE + 1, 1 << 40, (1 << 64) - 3])
def test_zstd_believes_no_length(size: int) -> None:
    # Magic number, descriptor (8-byte size, single segment), size, one last raw block "cat".
    frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + b"\x19\x00\x00cat"
    refused("zstd", frame, MEGABYTE)
    assert isinstance(refused("zstd", frame, 1 << 70), CorruptRowError)


def test_zstd_windows_take_no_memory() -> None:
    # Window descriptor 0xA8: 2 GB; the size, as two bytes, is 3 + 256.
    frame = b"\x28\xb5\x2f\xfd\x40\xa8" + struct.pack("<H", 3) + b"\x19\x00\x00cat"
    refused("zstd", frame, MEGABYTE)


def test_zstd_frames_of_unknown_size_are_not_ours() -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    frame = compressor.compress(b"cat") + compressor.flush()
    assert isinstance(refused("zstd", frame, MEGABYTE), CorruptRowError)


def test_lzma_takes_no_dictionary_larger_than_ours() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
    data = lzma.compress(b"cat", filters=filters)
    assert isinstance(refused("lzma", data, MEGABYTE), CorruptRowError)


def blosc_chunk(at: int, form: str, value: int) -> bytes:
    """Return a chunk of ours with one field of its header changed."""
    chunk = bytearray(ENCODERS.load("blosc")().encode(b"cat and dog " * 40))
    struct.pack_into(form, chunk, at, value)
    return bytes(chunk)


NBYTES, BLOCKSIZE, CBYTES = 4, 8, 12


@pytest.mark.parametrize("size", [MEGABYTE + 1, 1 << 30, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("field", [NBYTES, BLOCKSIZE, CBYTES])
def test_blosc_believes_no_length(field: int, size: int) -> None:
    refused("blosc", blosc_chunk(field, "<I", size), MEGABYTE)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (2, 0xC5),  # a codec that is a plug-in
        (3, 4),  # another type size
        (16, 35),  # a filter that is a plug-in
        (21, 160),  # a filter that a user registered
        (22, 38),  # a codec that is a plug-in
        (30, 1),  # a second byte of flags
        (31, 0x40),  # memory as it happens to be
        (31, 0x08),  # a chunk that is read from a file
        (31, 0x30),  # one value repeated
    ],
)
def test_blosc_takes_no_chunk_that_we_do_not_write(at: int, value: int) -> None:
    error = refused("blosc", blosc_chunk(at, "B", value), MEGABYTE)
    assert isinstance(error, CorruptRowError)
    assert "never written" in str(error)


@pytest.mark.parametrize("size", range(130))
def test_blosc_reads_back_zeros_of_any_length(size: int) -> None:
    encoder = ENCODERS.load("blosc")()
    assert encoder.decode(encoder.encode(bytes(size)), max_bytes=size) == bytes(size)


def test_blosc_bombs_in_many_chunks_are_added_up() -> None:
    zeros = bytearray(ENCODERS.load("blosc")().encode(bytes(MEGABYTE)))
    struct.pack_into("<I", zeros, NBYTES, our_blosc.MAX_CHUNK)
    assert isinstance(refused("blosc", bytes(zeros) * 1000, MEGABYTE), SizeLimitError)


# What other programs make of it


def test_gzip_is_read_by_others_and_says_no_time() -> None:
    encoded = ENCODERS.load("gzip")().encode(b"cat" * 100)
    assert gzip.decompress(encoded) == b"cat" * 100
    assert encoded[4:8] == bytes(4)


def test_the_formats_are_the_usual_ones() -> None:
    data = b"cat and dog " * 40

    def encode(name: str) -> bytes:
        return ENCODERS.load(name)().encode(data)

    assert zlib.decompress(encode("zlib")) == data
    assert bz2.decompress(encode("bz2")) == data
    assert lzma.decompress(encode("lzma")) == data
    assert lz4.block.decompress(encode("lz4")) == data
    assert blosc2.decompress2(encode("blosc")) == data
    assert zstandard.decompress(encode("zstd")) == data
    assert base64.b64decode(encode("b64")) == data


@pytest.mark.parametrize("text", [b"Y2F0\n", b"Y2 F", b"Y2F-", b"Y2F_", b"Y===", b"Y2F", b"Y=F0"])
def test_b64_skips_nothing(text: bytes) -> None:
    with pytest.raises(CorruptRowError):
        ENCODERS.load("b64")().decode(text, max_bytes=100)

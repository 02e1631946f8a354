"""The contract of encoders as a test suite: inherit it, and every test runs on your encoder.

Example:
    A plug-in's test file is three lines::

        from hashstash.testing.encoder import EncoderContract

        class TestMine(EncoderContract):
            encoder_name = "mine"
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ClassVar

import pytest

from hashstash.encoders import ENCODERS, Encoder
from hashstash.errors import CorruptRowError, SizeLimitError

MEGABYTE = 1 << 20
PLENTY = 40 * MEGABYTE
SAMPLES = {
    "empty": b"",
    "one byte": b"\x00",
    "one letter": b"a",
    "every byte": bytes(range(256)),
    "text": "Grüße, and so on and so on. ".encode() * 40,
    "random": random.Random(7).randbytes(10_007),
    "zeros": bytes(MEGABYTE),
    "a large odd size": random.Random(8).randbytes(MEGABYTE // 4 + 1),
}
SMALL = b'{"name": "cat", "goodness": [0.25, 0.5, 0.75, 1.0], "more": "' + b"meow " * 12 + b'"}'


class EncoderContract:
    """Every test an encoder must pass. Set ``encoder_name``, or override ``encoder``."""

    encoder_name: ClassVar[str]
    """The registered name of the encoder under test."""
    detects_truncation: ClassVar[bool] = True
    """The format knows its own length: cut or lengthened data are always refused."""
    detects_damage: ClassVar[bool] = True
    """The format has a checksum: changed bytes never decode to something else."""

    @pytest.fixture
    def encoder(self) -> Encoder:
        """Return the encoder under test."""
        return ENCODERS.load(self.encoder_name)()

    def test_is_an_encoder_that_knows_its_name(self, encoder: Encoder) -> None:
        """Errors and stored rows name the encoder as a user types it."""
        assert isinstance(encoder, Encoder)
        assert encoder.name == self.encoder_name

    @pytest.mark.parametrize("data", SAMPLES.values(), ids=SAMPLES.keys())
    def test_what_goes_in_comes_out(self, encoder: Encoder, data: bytes) -> None:
        """Every sample round-trips, as ``bytes`` both ways, when it just fits."""
        encoded = encoder.encode(data)
        decoded = encoder.decode(encoded, max_bytes=len(data))
        assert type(encoded) is bytes
        assert type(decoded) is bytes
        assert decoded == data

    @pytest.mark.parametrize("data", SAMPLES.values(), ids=SAMPLES.keys())
    def test_views_are_taken_as_bytes_are(self, encoder: Encoder, data: bytes) -> None:
        """A memoryview into a larger buffer gives the same result as its bytes."""
        encoded = encoder.encode(memoryview(b"<" + data + b">")[1:-1])
        assert encoded == encoder.encode(data)
        decoded = encoder.decode(memoryview(b"<" + encoded + b">")[1:-1], max_bytes=len(data))
        assert type(decoded) is bytes
        assert decoded == data

    @pytest.mark.parametrize("data", SAMPLES.values(), ids=SAMPLES.keys())
    def test_equal_data_give_equal_bytes(self, encoder: Encoder, data: bytes) -> None:
        """Nothing but the data decides the result: no clock, no earlier call."""
        assert encoder.encode(data) == type(encoder)().encode(data)

    @pytest.mark.parametrize("data", [v for v in SAMPLES.values() if v], ids=len)
    def test_one_byte_too_large_is_refused(self, encoder: Encoder, data: bytes) -> None:
        """``max_bytes`` is a bound on the result, exactly."""
        encoded = encoder.encode(data)
        for max_bytes in (len(data) - 1, len(data) // 2, 0):
            with pytest.raises(SizeLimitError) as caught:
                encoder.decode(encoded, max_bytes=max_bytes)
            assert caught.value.stage == encoder.name

    def test_any_bound_may_be_given(self, encoder: Encoder) -> None:
        """A bound beyond what the machine can count is no bound, not an error."""
        encoded = encoder.encode(SMALL)
        for max_bytes in (sys.maxsize - 1, sys.maxsize, 1 << 70):
            assert encoder.decode(encoded, max_bytes=max_bytes) == SMALL

    def test_a_bomb_takes_no_memory(self, encoder: Encoder) -> None:
        """Data that would decode to far too much are refused before the memory is taken."""
        bomb = encoder.encode(bytes(PLENTY))
        with (
            memory_for_at_most(PLENTY - 16 * MEGABYTE),
            pytest.raises(SizeLimitError) as caught,
        ):
            encoder.decode(bomb, max_bytes=MEGABYTE)
        assert caught.value.stage == encoder.name

    def test_nothing_is_not_an_encoding(self, encoder: Encoder) -> None:
        """Empty input is refused, unless that is how the encoder writes empty data."""
        if encoder.encode(b"") == b"":
            assert encoder.decode(b"", max_bytes=100) == b""
        else:
            with pytest.raises(CorruptRowError) as caught:
                encoder.decode(b"", max_bytes=100)
            assert caught.value.stage == encoder.name

    @pytest.mark.parametrize("data", [b"", b"a", SMALL, bytes(2000)], ids=len)
    def test_data_cut_anywhere_are_refused(self, encoder: Encoder, data: bytes) -> None:
        """No prefix of an encoding is taken for the whole."""
        encoded = encoder.encode(data)
        for end in range(len(encoded)):
            found = decode_or_refuse(encoder, encoded[:end], max_bytes=len(data))
            assert found is None or not self.detects_truncation, f"cut after {end} bytes"

    @pytest.mark.parametrize("data", [b"", b"a", SMALL], ids=len)
    def test_what_follows_the_end_is_refused(self, encoder: Encoder, data: bytes) -> None:
        """An encoding with more behind it is not an encoding."""
        encoded = encoder.encode(data)
        for more in (b"\x00", b"\n", b"garbage", bytes(40), encoded):
            if more:
                found = decode_or_refuse(encoder, encoded + more, max_bytes=PLENTY)
                assert found is None or not self.detects_truncation, f"followed by {more!r}"

    @pytest.mark.parametrize("data", [b"a", SMALL, bytes(2000)], ids=len)
    def test_damage_anywhere_is_seen(self, encoder: Encoder, data: bytes) -> None:
        """A changed byte never gives other data, if the format has a checksum.

        Without one the row's checksum sees it; here it may give other data or a refusal, but
        no other error and never more than was allowed.
        """
        encoded = encoder.encode(data)
        for position in range(len(encoded)):
            for mask in (0x01, 0x02, 0x10, 0x80, 0xFF):
                damaged = bytearray(encoded)
                damaged[position] ^= mask
                found = decode_or_refuse(encoder, bytes(damaged), max_bytes=len(data) + 9)
                if self.detects_damage:
                    assert found in (None, data), f"byte {position} changed by {mask:#x}"

    def test_foreign_bytes_raise_only_our_errors(self, encoder: Encoder) -> None:
        """Bytes that no encoder wrote are refused, or decoded within the bound."""
        rng = random.Random(9)
        start = encoder.encode(SMALL)
        for size in range(1, 200):
            decode_or_refuse(encoder, rng.randbytes(size), max_bytes=MEGABYTE)
            decode_or_refuse(encoder, start[:size] + rng.randbytes(9), max_bytes=MEGABYTE)

    def test_works_after_refusing(self, encoder: Encoder) -> None:
        """A refusal leaves nothing behind."""
        encoded = encoder.encode(SMALL)
        for bad in (encoded[:-1], b"\xff" * 50, encoded):
            decode_or_refuse(encoder, bad, max_bytes=len(SMALL) - 1)
            assert encoder.decode(encoded, max_bytes=len(SMALL)) == SMALL

    def test_threads_may_share_it(self, encoder: Encoder) -> None:
        """One encoder serves many threads at once."""
        samples = [f"{number} and so on ".encode() * (number + 1) * 50 for number in range(64)]

        def round_trip(data: bytes) -> bool:
            encoded = encoder.encode(data)
            return all(encoder.decode(encoded, max_bytes=len(data)) == data for _ in range(5))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(round_trip, samples))


def decode_or_refuse(encoder: Encoder, data: bytes, *, max_bytes: int) -> bytes | None:
    """Return what ``data`` decode to, or None if they are refused; other errors come out."""
    try:
        decoded = encoder.decode(data, max_bytes=max_bytes)
    except (CorruptRowError, SizeLimitError) as exc:
        stage = exc.stage
    else:
        assert type(decoded) is bytes
        assert len(decoded) <= max_bytes
        return decoded
    assert stage == encoder.name
    return None


@contextmanager
def memory_for_at_most(size: int) -> Iterator[None]:
    """Make allocations fail beyond ``size`` more bytes, where the system can count them."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)

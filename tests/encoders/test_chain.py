from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashstash.encoders import ENCODERS
from hashstash.encoders.chain import EncoderChain, encoder_names
from hashstash.errors import ConfigurationError, CorruptRowError, SizeLimitError, UnknownNameError


@pytest.mark.parametrize(
    ("compress", "b64", "names"),
    [
        ("raw", False, ()),
        (None, False, ()),
        ("raw", True, ("b64",)),
        ("lz4", False, ("lz4",)),
        ("lz4", True, ("lz4", "b64")),
    ],
)
def test_options_become_names(compress: str | None, b64: bool, names: tuple[str, ...]) -> None:
    assert encoder_names(compress, b64=b64) == names


@pytest.mark.parametrize(
    ("wrong", "hint"), [("zl4", "'lz4'"), ("rwa", "'raw'"), ("LZ4", "raw"), ("", "raw")]
)
def test_a_misspelt_compressor_is_an_error_with_a_suggestion(wrong: str, hint: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Unknown compressor '{wrong}'.*{hint}"):
        encoder_names(wrong)


def test_b64_is_no_compressor() -> None:
    with pytest.raises(ConfigurationError, match="b64=True"):
        encoder_names("b64")


@pytest.mark.parametrize("wrong", [True, 9, b"lz4", ["lz4"]])
def test_a_compressor_is_given_by_name(wrong: object) -> None:
    with pytest.raises(TypeError, match="by name"):
        encoder_names(wrong)  # type: ignore[arg-type]


def test_an_unknown_encoder_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="Unknown encoder 'rot13'"):
        EncoderChain(("lz4", "rot13"))


def test_a_chain_cannot_grow_without_bound() -> None:
    with pytest.raises(ConfigurationError, match="at most 4"):
        EncoderChain(("lz4",) * 5)


def test_no_encoders_change_nothing() -> None:
    chain, data = EncoderChain(), b"cat"
    view = memoryview(data)
    assert chain.names == ()
    assert chain.encode(data) is data
    assert chain.decode(view, max_bytes=3) is view


@given(
    names=st.lists(st.sampled_from(list(ENCODERS)), max_size=4),
    data=st.binary(max_size=200) | st.integers(0, 100_000).map(bytes),
)
def test_any_chain_round_trips_within_the_exact_bound(names: list[str], data: bytes) -> None:
    chain = EncoderChain(names)
    encoded = chain.encode(data)
    assert chain.decode(memoryview(encoded), max_bytes=len(data)) == data
    if data:
        with pytest.raises(SizeLimitError):
            chain.decode(encoded, max_bytes=len(data) - 1)


def test_encoders_run_in_order() -> None:
    lz4, b64 = ENCODERS.load("lz4")(), ENCODERS.load("b64")()
    assert EncoderChain(("lz4", "b64")).encode(b"cat") == b64.encode(lz4.encode(b"cat"))


def test_the_stage_that_refuses_is_named() -> None:
    chain = EncoderChain(("zlib", "b64"))
    with pytest.raises(CorruptRowError) as caught:
        chain.decode(b"!", max_bytes=100)
    assert caught.value.stage == "b64"
    with pytest.raises(CorruptRowError) as caught:
        chain.decode(b"Y2F0", max_bytes=100)
    assert caught.value.stage == "zlib"


def test_bombs_within_bombs_are_refused() -> None:
    once = EncoderChain(("zlib",))
    bomb = EncoderChain(("zlib", "zlib")).encode(bytes(1 << 26))
    with pytest.raises(SizeLimitError):
        EncoderChain(("zlib", "zlib")).decode(bomb, max_bytes=1 << 20)
    assert once.decode(bomb, max_bytes=1 << 20)

"""Encoders one after another, composed once."""

from __future__ import annotations

from collections.abc import Sequence

from hashstash.errors import ConfigurationError, SizeLimitError, UnknownNameError

from . import ENCODERS
from .base import Buffer

RAW = "raw"
TEXT = "b64"
SLACK = 1 << 16
MAX_LENGTH = 4  # each encoder more may double what decoding holds in memory on the way


def encoder_names(compress: str | None = RAW, *, b64: bool = False) -> tuple[str, ...]:
    """Return the encoders that a stash's options stand for, in the order they are applied.

    Args:
        compress: a compressor's name; ``raw`` or None: no compression.
        b64: whether base64 comes last.

    Raises:
        UnknownNameError: no compressor has this name.

    Example:
        >>> encoder_names("zlib", b64=True)
        ('zlib', 'b64')
        >>> encoder_names("raw")
        ()
    """
    if compress is not None and not isinstance(compress, str):
        raise TypeError(
            f"The compressor is given by name, not {type(compress).__name__} {compress!r}"
        )
    if compress == TEXT:
        raise ConfigurationError("'b64' does not compress; say b64=True")
    if compress is None or compress == RAW:
        names: tuple[str, ...] = ()
    elif compress in ENCODERS:
        names = (compress,)
    else:
        raise UnknownNameError("compressor", compress, [RAW, *(n for n in ENCODERS if n != TEXT)])
    return (*names, TEXT) if b64 else names


class EncoderChain:
    """Encode in order, decode in reverse.

    Args:
        names: the encoders' names, in the order they are applied, at most four; none: bytes stay
            as they are.

    Raises:
        ConfigurationError: there are more than four.
        UnknownNameError: no encoder has one of these names.
        MissingDependencyError: one of them needs a package that is not installed.

    Example:
        >>> chain = EncoderChain(("zlib", "b64"))
        >>> encoded = chain.encode(b"cat" * 100)
        >>> encoded.isascii(), len(encoded) < 300
        (True, True)
        >>> chain.decode(encoded, max_bytes=300) == b"cat" * 100
        True
    """

    __slots__ = ("_encode", "_steps", "names")

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = tuple(names)
        if len(self.names) > MAX_LENGTH:
            raise ConfigurationError(f"A chain has at most {MAX_LENGTH} encoders, not {self.names}")
        encoders = [ENCODERS.load(name)() for name in self.names]
        self._encode = tuple(encoder.encode for encoder in encoders)
        # What an encoder made may be larger than what it was given, so what is decoded on the
        # way may be larger than the result: base64 adds a third, compressors next to nothing.
        self._steps = tuple(
            (encoder.decode, 1 << position, SLACK if position else 0)
            for position, encoder in reversed(list(enumerate(encoders)))
        )

    def __repr__(self) -> str:
        return f"EncoderChain({self.names!r})"

    def encode(self, data: bytes) -> bytes:
        """Return ``data`` encoded."""
        for encode in self._encode:
            data = encode(data)
        return data

    def decode(self, data: Buffer, max_bytes: int) -> Buffer:
        """Return what was encoded; without encoders, ``data`` itself.

        Raises:
            SizeLimitError: the result would be larger than ``max_bytes``.
            CorruptRowError: an encoder refuses its part; ``stage`` is its name.
        """
        for decode, factor, slack in self._steps:
            data = decode(data, max_bytes=max_bytes * factor + slack)
        if len(data) > max_bytes:
            raise SizeLimitError(
                f"The value has {len(data)} bytes, more than the {max_bytes} allowed; "
                "raise max_value_bytes to read it.",
                stage=RAW,
            )
        return data

"""Decoding that never grows past a bound, for decompressors that work step by step."""

from __future__ import annotations

import sys
from typing import Protocol

from hashstash.errors import CorruptRowError, SizeLimitError

from .base import Buffer


class Decompressor(Protocol):
    """What the decompressor objects of zlib, bz2 and lzma have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed stream was reached."""

    @property
    def unused_data(self) -> bytes:
        """What follows the end of the compressed stream."""

    def decompress(self, data: Buffer, max_length: int, /) -> bytes:
        """Return at most ``max_length`` decompressed bytes."""


def damaged(name: str, why: object) -> CorruptRowError:
    """Return the error for data that the encoder ``name`` did not write."""
    return CorruptRowError(f"The {name} data are damaged: {why}", stage=name)


def too_large(name: str, max_bytes: int) -> SizeLimitError:
    """Return the error for data that would decode to more than ``max_bytes``."""
    return SizeLimitError(
        f"The {name} data decode to more than the {max_bytes} bytes allowed; "
        "raise max_value_bytes to read them.",
        stage=name,
    )


def decompress(
    name: str,
    decompressor: Decompressor,
    data: Buffer,
    max_bytes: int,
    errors: type[Exception] | tuple[type[Exception], ...],
) -> bytes:
    """Return what ``data`` holds: one whole stream, nothing after it.

    Args:
        name: the encoder's name, for messages.
        decompressor: a new decompressor object.
        data: the compressed stream.
        max_bytes: the most bytes the result may have.
        errors: what the decompressor raises when the stream is damaged.
    """
    # One byte more than allowed tells "just fits" from "too large"; 0 would mean no bound.
    limit = min(max_bytes, sys.maxsize - 1) + 1
    try:
        decoded = decompressor.decompress(data, limit)
    except errors as exc:
        raise damaged(name, exc) from exc
    if len(decoded) > max_bytes:
        raise too_large(name, max_bytes)
    if not decompressor.eof:
        raise damaged(name, "they end too early")
    if decompressor.unused_data:
        raise damaged(name, f"{len(decompressor.unused_data)} bytes follow their end")
    return decoded

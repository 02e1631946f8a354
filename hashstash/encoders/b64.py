"""The ``b64`` encoder: bytes as plain text, for places and people that want text."""

from __future__ import annotations

import base64
import binascii

from .base import Buffer, Encoder
from .bounded import damaged, too_large

PADDING = b"="


class B64Encoder(Encoder):
    """Write bytes in base64's standard alphabet: four letters for three bytes.

    Example:
        >>> B64Encoder().encode(b"cat")
        b'Y2F0'
        >>> B64Encoder().decode(b"Y2F0", max_bytes=3)
        b'cat'
    """

    name = "b64"

    def encode(self, data: Buffer) -> bytes:
        """Return ``data`` as letters, digits, ``+``, ``/`` and ``=``, on one line."""
        return binascii.b2a_base64(data, newline=False)

    def decode(self, data: Buffer, *, max_bytes: int) -> bytes:
        """Return what was encoded; anything outside the alphabet is refused, not skipped."""
        if len(data) % 4:
            raise damaged(self.name, f"{len(data)} letters are not a multiple of four")
        padding = bytes(data[-2:]).count(PADDING)
        if len(data) // 4 * 3 - padding > max_bytes:
            raise too_large(self.name, max_bytes)
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as exc:
            raise damaged(self.name, exc) from exc

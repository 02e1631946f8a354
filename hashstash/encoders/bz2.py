"""The ``bz2`` encoder: small and slow, from the standard library."""

from __future__ import annotations

import bz2

from .base import Buffer, Encoder
from .bounded import decompress


class Bz2Encoder(Encoder):
    """Compress with bzip2: small results, ten times slower to read than zlib.

    Example:
        >>> encoder = Bz2Encoder()
        >>> encoder.decode(encoder.encode(b"cat" * 1000), max_bytes=3000) == b"cat" * 1000
        True
    """

    name = "bz2"

    def encode(self, data: Buffer) -> bytes:
        """Return ``data`` compressed."""
        return bz2.compress(data)

    def decode(self, data: Buffer, *, max_bytes: int) -> bytes:
        """Return what was compressed."""
        errors = (OSError, ValueError)
        return decompress(self.name, bz2.BZ2Decompressor(), data, max_bytes, errors)

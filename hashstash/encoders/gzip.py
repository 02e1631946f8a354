"""The ``gzip`` encoder: deflate with a CRC-32, readable by every gzip tool."""

from __future__ import annotations

import zlib

from .base import Buffer, Encoder
from .bounded import decompress

# zlib itself writes the gzip container, with a modification time of zero: equal data give
# equal bytes, and it is faster than the gzip module.
CONTAINER = 16 + zlib.MAX_WBITS
LEVEL = 1


class GzipEncoder(Encoder):
    """Compress with gzip: no package needed.

    Example:
        >>> encoder = GzipEncoder()
        >>> encoder.decode(encoder.encode(b"cat" * 1000), max_bytes=3000) == b"cat" * 1000
        True
    """

    name = "gzip"

    def encode(self, data: Buffer) -> bytes:
        """Return ``data`` compressed."""
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, CONTAINER)
        return compressor.compress(data) + compressor.flush()

    def decode(self, data: Buffer, *, max_bytes: int) -> bytes:
        """Return what was compressed."""
        return decompress(self.name, zlib.decompressobj(CONTAINER), data, max_bytes, zlib.error)

"""The ``lzma`` encoder: the xz format, smallest and slowest, from the standard library."""

from __future__ import annotations

import lzma

from .base import Buffer, Encoder
from .bounded import decompress

PRESET = 6
MAX_DICTIONARY = 8 << 20  # what the preset would take
MIN_DICTIONARY = 4096  # the smallest that the format knows
# A stream's header says how much memory its decoder needs, up to 4 GB; ours never need more.
DECODER_MEMORY = 2 * MAX_DICTIONARY


class LzmaEncoder(Encoder):
    """Compress with LZMA: the smallest results, the slowest to write.

    Example:
        >>> encoder = LzmaEncoder()
        >>> encoder.decode(encoder.encode(b"cat" * 1000), max_bytes=3000) == b"cat" * 1000
        True
    """

    name = "lzma"

    def encode(self, data: Buffer) -> bytes:
        """Return ``data`` compressed."""
        # A dictionary larger than the data finds nothing more, and costs 0.2 ms to set up.
        dictionary = min(max(len(data), MIN_DICTIONARY), MAX_DICTIONARY)
        filters = [{"id": lzma.FILTER_LZMA2, "preset": PRESET, "dict_size": dictionary}]
        return lzma.compress(data, format=lzma.FORMAT_XZ, filters=filters)

    def decode(self, data: Buffer, *, max_bytes: int) -> bytes:
        """Return what was compressed."""
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DECODER_MEMORY)
        return decompress(self.name, decompressor, data, max_bytes, (lzma.LZMAError, EOFError))

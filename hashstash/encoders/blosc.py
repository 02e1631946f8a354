"""The ``blosc`` encoder: made for arrays of numbers, from the blosc2 package."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import blosc2

from .base import Buffer, Encoder
from .bounded import damaged, too_large

# One thread: a pool of threads costs more than it gains below some megabytes, and does not
# survive a fork. A type size of 8 is what 64-bit numbers want.
TYPE_SIZE = 8
THREADS = {"nthreads": 1}
SETTINGS = {"codec": blosc2.Codec.LZ4, "clevel": 5, **THREADS}
MAX_CHUNK = 1 << 30  # blosc counts in 32 bits and does not check

HEADER = 32
LENGTHS = struct.Struct("<III")  # from byte 4: of the data, of a block, of the chunk
EXTENDED = 0b101  # in the flags: this header has 32 bytes
FORMATS = (0, 1)  # in the flags' upper bits: stored, LZ4
PIPELINE = bytes([0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0])  # shuffle, then LZ4; no options
NOT_SPECIAL, ALL_ZEROS = 0x00, 0x10


def _compress(data: Buffer) -> bytes:
    """Return ``data`` as one chunk."""
    chunk: bytes = blosc2.compress2(data, typesize=TYPE_SIZE, **SETTINGS)
    if chunk[-1] == ALL_ZEROS and len(chunk) == HEADER and len(data) % TYPE_SIZE:
        # Up to 4.3 at least, Blosc does not read back zeros that end within an item.
        chunk = blosc2.compress2(data, typesize=1, **SETTINGS)
    return chunk


class BloscEncoder(Encoder):
    """Compress with Blosc 2: bytes of equal significance are brought together, then LZ4.

    The result is one Blosc 2 chunk for each gigabyte. It has no checksum, a row does.

    Example:
        >>> encoder = BloscEncoder()
        >>> encoder.decode(encoder.encode(b"cat" * 1000), max_bytes=3000) == b"cat" * 1000
        True
    """

    name = "blosc"

    def encode(self, data: Buffer) -> bytes:
        """Return ``data`` compressed."""
        if len(data) <= MAX_CHUNK:
            return _compress(data)
        view = memoryview(data)
        starts = range(0, len(data), MAX_CHUNK)
        return b"".join(_compress(view[start : start + MAX_CHUNK]) for start in starts)

    def decode(self, data: Buffer, *, max_bytes: int) -> bytes:
        """Return what was compressed."""
        sizes, chunks = zip(*self._chunks(memoryview(data)), strict=True)
        if sum(sizes) > max_bytes:
            raise too_large(self.name, max_bytes)
        try:
            parts: list[bytes] = [blosc2.decompress2(chunk, **THREADS) for chunk in chunks]
        except (RuntimeError, ValueError) as exc:
            raise damaged(self.name, exc) from exc
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _chunks(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield each chunk with its decompressed size, once its header is seen to be ours.

        Blosc itself would follow a header to code plug-ins, files and uninitialised memory.
        """
        start, size = 0, MAX_CHUNK
        while (rest := len(data) - start) or not start:
            if size != MAX_CHUNK:
                raise damaged(self.name, f"{rest} bytes follow their end")
            header = data[start : start + HEADER]
            if len(header) < HEADER:
                raise damaged(self.name, "they end within a header")
            size, block, stored = LENGTHS.unpack_from(header, 4)
            flags = header[2]
            if (
                flags & EXTENDED != EXTENDED
                or flags >> 5 not in FORMATS
                or header[3] not in (1, TYPE_SIZE)
                or header[16:31] != PIPELINE
                or header[31] not in (NOT_SPECIAL, ALL_ZEROS)
            ):
                raise damaged(self.name, "their header asks for what is never written")
            if size > MAX_CHUNK or block > max(size, 1) or not HEADER <= stored <= rest:
                raise damaged(self.name, "a length in their header is impossible")
            yield size, data[start : start + stored]
            start += stored

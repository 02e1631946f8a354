"""The ``lz4`` encoder: the fastest, from the lz4 package."""

from __future__ import annotations

import lz4.block
import lz4.frame

from .base import Buffer, Encoder
from .bounded import damaged, decompress, too_large

MAX_BLOCK = 0x7E000000  # the largest input of the block format
MAX_RATIO = 255  # a block never expands more than that
PREFIX = 4
FRAME_FOLLOWS = b"\xff\xff\xff\xff"  # in place of a length that no block can have


class Lz4Encoder(Encoder):
    """Compress with LZ4: a microsecond for a kilobyte.

    The result is the length as four bytes, little endian, and an LZ4 block: the frame format
    costs half as much again to write and up to four times as much to read. Data too large for
    a block become ``ff ff ff ff`` and an LZ4 frame. Neither has a checksum, a row does.

    Example:
        >>> encoder = Lz4Encoder()
        >>> encoder.decode(encoder.encode(b"cat" * 1000), max_bytes=3000) == b"cat" * 1000
        True
    """

    name = "lz4"

    def encode(self, data: Buffer) -> bytes:
        """Return ``data`` compressed."""
        encoded: bytes
        if len(data) > MAX_BLOCK:
            encoded = FRAME_FOLLOWS + lz4.frame.compress(data)
        else:
            encoded = lz4.block.compress(data)
        return encoded

    def decode(self, data: Buffer, *, max_bytes: int) -> bytes:
        """Return what was compressed."""
        prefix = data[:PREFIX]
        if prefix == FRAME_FOLLOWS:
            frame = memoryview(data)[PREFIX:]
            return decompress(
                self.name, lz4.frame.LZ4FrameDecompressor(), frame, max_bytes, RuntimeError
            )
        size = int.from_bytes(prefix, "little")
        if size > max_bytes:
            raise too_large(self.name, max_bytes)
        if size > MAX_RATIO * len(data):
            raise damaged(self.name, f"{len(data)} bytes cannot hold the {size} they claim")
        try:
            decoded: bytes = lz4.block.decompress(data)
        except (lz4.block.LZ4BlockError, ValueError) as exc:
            raise damaged(self.name, exc) from exc
        return decoded

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
            return self._decode_frame(memoryview(data)[PREFIX:], max_bytes)
        self._check(int.from_bytes(prefix, "little"), len(data), max_bytes)
        try:
            decoded: bytes = lz4.block.decompress(data)
        except (lz4.block.LZ4BlockError, ValueError) as exc:
            raise damaged(self.name, exc) from exc
        return decoded

    def _decode_frame(self, frame: memoryview, max_bytes: int) -> bytes:
        """Return what ``frame`` holds; it says its size, or it is not ours."""
        try:
            size: int = lz4.frame.get_frame_info(frame)["content_size"]
        except RuntimeError as exc:
            raise damaged(self.name, exc) from exc
        self._check(size, len(frame), max_bytes)
        # The package takes all the memory it may at once, so it may take what the frame claims.
        decompressor = lz4.frame.LZ4FrameDecompressor()
        return decompress(self.name, decompressor, frame, size, RuntimeError)

    def _check(self, size: int, encoded: int, max_bytes: int) -> None:
        """Refuse a claimed ``size`` that is not allowed, or not possible."""
        if size > max_bytes:
            raise too_large(self.name, max_bytes)
        if size > MAX_RATIO * encoded:
            raise damaged(self.name, f"{encoded} bytes cannot hold the {size} they claim")

"""The contract of encoders: bytes to bytes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

Buffer = bytes | memoryview


class Encoder(ABC):
    """Turn bytes into other bytes and back: a compressor, or base64.

    An encoder keeps no state and may be used by many threads at once.
    """

    name: ClassVar[str]

    @abstractmethod
    def encode(self, data: Buffer) -> bytes:
        """Return ``data`` encoded."""

    @abstractmethod
    def decode(self, data: Buffer, *, max_bytes: int) -> bytes:
        """Return what was encoded.

        Args:
            data: what ``encode`` returned.
            max_bytes: the most bytes the result may have; never allocate more than that
                (and a small multiple of ``len(data)``) however large ``data`` claims to be.

        Raises:
            SizeLimitError: the result would be larger than ``max_bytes``.
            CorruptRowError: ``data`` is not what ``encode`` returns; ``stage`` is ``name``.
        """

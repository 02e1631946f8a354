"""The contract of serializers: an object to bytes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

Buffer = bytes | memoryview


class Serializer(ABC):
    """Turn an object into bytes and back.

    A serializer keeps no state and may be used by many threads at once.
    """

    name: ClassVar[str]
    code_only: ClassVar[bool] = False
    """Whatever it writes needs code to be read back, so that it has no place in a safe stash."""

    @abstractmethod
    def dumps(self, value: object) -> bytes:
        """Return ``value`` as bytes that ``loads`` turns back into an equal object.

        Raises:
            SerializationError: it cannot be stored; ``path`` names the offending part.
        """

    @abstractmethod
    def loads(self, data: Buffer, *, trusted: bool) -> object:
        """Return the object that ``dumps`` was given.

        Args:
            data: what ``dumps`` returned.
            trusted: whether ``data`` may run code. If not, only data is decoded, from a
                fixed vocabulary, and nothing that the bytes name is imported or called.

        Raises:
            UntrustedRowError: the bytes need code and ``trusted`` is false.
            CorruptRowError: the bytes are not what ``dumps`` returns; ``stage`` is ``name``.
        """

    @abstractmethod
    def needs_trust(self, data: Buffer) -> bool:
        """Tell, from what ``dumps`` returned, whether loading it can run code.

        Asked on every write and every read, so it must not parse: a look at the first byte.
        """

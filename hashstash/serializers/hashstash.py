"""The ``hashstash`` serializer: readable, data only unless it says otherwise, for any Python.

What is plain (dicts with text as keys, lists, text, numbers, truth, None) is JSON and nothing
else. Everything else is a JSON head with tags, and binary segments beside it.
"""

from __future__ import annotations

from typing import ClassVar

from .base import Buffer, Serializer
from .hashstash_format import text
from .hashstash_format.decode import decode
from .hashstash_format.encode import encode
from .hashstash_format.layout import CODE, DATA
from .hashstash_format.plain import plain_text
from .hashstash_format.reader import corrupt
from .hashstash_format.text import BadTextError


class HashstashSerializer(Serializer):
    """Nearly any object as a JSON head with binary segments."""

    name: ClassVar[str] = "hashstash"

    def dumps(self, value: object) -> bytes:
        """Return ``value`` as bytes that ``loads`` turns back into an equal object.

        Types, shared references and cycles come back as they were.

        Raises:
            SerializationError: it cannot be stored; ``path`` names the offending part.

        Example:
            >>> HashstashSerializer().dumps({"cat": [1, 2.5, None]})
            b'{"cat":[1,2.5,null]}'
        """
        written = plain_text(value)
        return encode(value) if written is None else written

    def loads(self, data: Buffer, *, trusted: bool) -> object:
        """Return the object that ``dumps`` was given.

        Args:
            data: what ``dumps`` returned.
            trusted: whether ``data`` may run code.

        Raises:
            UntrustedRowError: the bytes need code and ``trusted`` is false.
            CorruptRowError: the bytes are not what ``dumps`` returns.
            DecodeError: what they need is not here: a module, a time zone, another Python.
            MissingDependencyError: they hold a table or array of a package not installed.

        Example:
            >>> HashstashSerializer().loads(b'{"cat":[1,2.5,null]}', trusted=False)
            {'cat': [1, 2.5, None]}
        """
        if len(data) and data[0] in _MARKED:
            return decode(data, trusted=trusted)
        try:
            return text.load(data)
        except BadTextError as exc:
            raise corrupt(str(exc)) from exc

    def needs_trust(self, data: Buffer) -> bool:
        """Tell, from the first byte, whether loading can run code."""
        return len(data) > 0 and data[0] == CODE


_MARKED = (CODE, DATA)

"""The results of a whole map, stored together."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from hashstash.expiry import expiry_field, is_expired, seconds_of
from hashstash.keys import stored_key

from .target import Target


class WholeMap:
    """The results of a whole map, stored together in the sibling table ``maps``.

    Args:
        target: where results of the function go.
        keys: the stored keys of all calls, in order.
    """

    def __init__(self, target: Target, keys: Iterable[bytes]) -> None:
        self._stash, self._ttl = target.stash, seconds_of(target.options.ttl, "ttl")
        self._table = self._stash._engine.sibling("maps")
        digest = blake2b(digest_size=32)
        number = 0
        for number, key in enumerate(keys, 1):  # noqa: B007 - counts
            digest.update(bytes((len(key),)) + key)
        self._key, _ = stored_key(("map", number, digest.digest()))

    def load(self) -> list[Any] | None:
        """Return the results, if they are stored."""
        row = self._table.get(self._key)
        if row is None or is_expired(row, self._key):
            return None
        found = self._stash._decode(row, self._key)
        return found if isinstance(found, list) else None

    def store(self, results: list[Any]) -> None:
        """Store the results.

        Raises:
            SerializationError: one of them cannot be stored.
            SizeLimitError: together they are too large.
        """
        fields = expiry_field(self._ttl)
        row = self._stash._codec.encode(results, self._key, fields=fields)
        self._table.put(self._key, row)

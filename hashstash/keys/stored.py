"""The stored key: what engines file a row under."""

from __future__ import annotations

from hashlib import blake2b

from .encode import encode
from .items import STR_HEADS, int_item

FORMAT = 1
"""The version of the canonical encoding. It is part of every digest."""

MAX_BYTES = 100
"""A longer stored key is replaced by its digest."""

_PERSON = b"hashstash-key-%d" % FORMAT
_LONGEST = MAX_BYTES - 1
_LONGEST_STR = MAX_BYTES - 3
_SHORT = tuple(b"P" + start for start in STR_HEADS)


def stored_key(key: object) -> tuple[bytes, bytes | None]:
    r"""Return the stored key of ``key`` and, if that is a digest, the bytes it is the digest of.

    The first byte says the kind: ``P`` holds plain data and can be decoded, ``O`` stands for
    another object; ``D`` and ``E`` are the digests of a long ``P`` and a long ``O``.

    Args:
        key: any object with a stable form.

    Raises:
        UnstableKeyError: it, or something in it, has no stable form.

    >>> stored_key("a")
    (b'Ps\x01a', None)
    >>> stored, canonical = stored_key("a" * 1000)
    >>> stored[:1], len(stored), len(canonical)
    (b'D', 33, 1010)
    """
    kind = type(key)
    if kind is str:
        try:
            data = key.encode()  # type: ignore[attr-defined]
        except UnicodeEncodeError:  # a lone surrogate
            return _stored(*encode(key))
        length = len(data)
        if length <= _LONGEST_STR:
            return _SHORT[length] + data, None
    elif kind is int and -_INLINE < key < _INLINE:  # type: ignore[operator]
        return b"P" + int_item(key), None  # type: ignore[arg-type]
    data, plain = encode(key)
    return _stored(data, plain)


_INLINE = 1 << 500


def _stored(data: bytes, plain: bool) -> tuple[bytes, bytes | None]:
    if len(data) <= _LONGEST:
        return (b"P" if plain else b"O") + data, None
    return (b"D" if plain else b"E") + _digest(data), data


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=32, person=_PERSON).digest()


def stable_bytes(obj: object) -> bytes:
    """Return bytes that are equal for equal objects of one type, in every process.

    Args:
        obj: any object with a stable form: data, arrays, tables, functions, classes, and
            objects by what they reduce to, a ``__stable_key__`` method or ``register_key``.

    Raises:
        UnstableKeyError: it, or something in it, has no stable form.

    >>> stable_bytes({"b": 2, "a": 1}) == stable_bytes({"a": 1, "b": 2})
    True
    >>> len({stable_bytes(one) for one in (1, 1.0, True, "1")})
    4
    """
    return encode(obj)[0]


def stable_hash(obj: object) -> str:
    """Return a 256-bit hexadecimal digest that is equal for equal objects, in every process.

    Args:
        obj: any object with a stable form.

    Raises:
        UnstableKeyError: it, or something in it, has no stable form.

    >>> stable_hash({"b": 2, "a": 1}) == stable_hash({"a": 1, "b": 2})
    True
    >>> stable_hash(1)[:16]
    '8682067b3a695cfe'
    """
    return _digest(encode(obj)[0]).hex()

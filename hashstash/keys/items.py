"""The smallest parts of a canonical key: an item is a tag, a length and a body.

Scalars are encoded here, by exact type, and so are shallow containers of nothing but scalars:
that is nearly every key there is. Whatever else there is, ``encode`` walks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import pack
from typing import Any

Leaf = Callable[[Any], bytes]

ESCAPE = 255
"""A length of one byte ends here; this byte begins one of nine."""


def head(tag: bytes, length: int) -> bytes:
    """Return the tag and length that come before a body of ``length`` bytes."""
    if length < ESCAPE:
        return tag + bytes((length,))
    return tag + b"\xff" + length.to_bytes(8, "big")


def item(tag: bytes, body: bytes) -> bytes:
    """Return ``body`` as an item."""
    return head(tag, len(body)) + body


def _heads(tag: bytes) -> tuple[bytes, ...]:
    return tuple(tag + bytes((length,)) for length in range(ESCAPE))


STR_HEADS = _heads(b"s")
_BYTES_HEADS = _heads(b"b")
_INT_HEADS = _heads(b"i")
_TUPLE_HEADS = _heads(b"t")

NONE, TRUE, FALSE = b"N\x00", b"T\x00", b"F\x00"
"""What stands for a number that is not equal to itself: every NaN is one."""
_NAN = b"\x7f\xf8\x00\x00\x00\x00\x00\x00"


def text(value: str) -> bytes:
    """Return a string's UTF-8; surrogates that have no partner are encoded on their own."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def str_item(value: str) -> bytes:
    """Return a string as an item."""
    data = text(value)
    length = len(data)
    return (STR_HEADS[length] if length < ESCAPE else head(b"s", length)) + data


def bytes_item(value: bytes) -> bytes:
    """Return bytes as an item."""
    length = len(value)
    return (_BYTES_HEADS[length] if length < ESCAPE else head(b"b", length)) + value


def int_body(value: int) -> bytes:
    """Return the two's complement, big end first, in as few bytes as hold it and a sign."""
    return value.to_bytes((value.bit_length() + 8) >> 3, "big", signed=True)


def _any_int(value: int) -> bytes:
    length = (value.bit_length() + 8) >> 3
    body = value.to_bytes(length, "big", signed=True)
    return (_INT_HEADS[length] if length < ESCAPE else head(b"i", length)) + body


_SMALL = tuple(map(_any_int, range(1024)))


def int_item(value: int) -> bytes:
    """Return an int as an item."""
    return _SMALL[value] if 0 <= value < 1024 else _any_int(value)


def double(value: float) -> bytes:
    """Return a float's bits, big end first; those of one NaN for all."""
    return pack(">d", value) if value == value else _NAN  # noqa: PLR0124 - it is how to tell


def _float(value: float) -> bytes:
    return b"f\x08" + double(value)


def _complex(value: complex) -> bytes:
    return b"j\x10" + double(value.real) + double(value.imag)


def _range(value: range) -> bytes:
    # Ranges of the same numbers are equal, whatever they stop at.
    length = len(value)
    start = value.start if length else 0
    step = value.step if length > 1 else 1
    return item(b"r", b"".join(map(int_item, (start, start + length * step, step))))


SCALARS: dict[type, Leaf] = {
    str: str_item,
    int: int_item,
    float: _float,
    bool: lambda value: TRUE if value else FALSE,
    type(None): lambda _: NONE,
    bytes: bytes_item,
    bytearray: lambda value: item(b"a", bytes(value)),
    complex: _complex,
    range: _range,
    type(Ellipsis): lambda _: b"E\x00",
    type(NotImplemented): lambda _: b"n\x00",
}
"""Exact type to encoder. Those of modules that are not always loaded join on first use."""


def in_order(parts: Iterable[bytes]) -> bytes:
    """Return encoded parts in the one order that does not depend on how they came."""
    return b"".join(sorted(parts))


def _containers(inside: dict[type, Leaf]) -> dict[type, Leaf]:
    """Return encoders of containers, which raise KeyError for a type that is not ``inside``."""

    def a_tuple(value: tuple[object, ...]) -> bytes:
        body = b"".join([inside[type(part)](part) for part in value])
        length = len(body)
        return (_TUPLE_HEADS[length] if length < ESCAPE else head(b"t", length)) + body

    def a_list(value: list[object]) -> bytes:
        return item(b"l", b"".join([inside[type(part)](part) for part in value]))

    def a_dict(value: dict[object, object]) -> bytes:
        pairs = [inside[type(k)](k) + inside[type(v)](v) for k, v in value.items()]
        return item(b"d", in_order(pairs))

    def a_set(value: set[object]) -> bytes:
        return item(b"e", in_order([inside[type(part)](part) for part in value]))

    def a_frozenset(value: frozenset[object]) -> bytes:
        return item(b"z", in_order([inside[type(part)](part) for part in value]))

    return {tuple: a_tuple, list: a_list, dict: a_dict, set: a_set, frozenset: a_frozenset}


_SHALLOW = 3
"""How many containers within one another are tried before the walk, which costs more for each."""

_tables: list[dict[type, Leaf]] = [SCALARS]
for _ in range(_SHALLOW):
    _tables.append(SCALARS | _containers(_tables[-1]))
_FLAT = _tables[-1]


def add_scalar(kind: type, leaf: Leaf) -> None:
    """Encode instances of exactly ``kind`` by ``leaf`` from now on."""
    for table in _tables:
        table[kind] = leaf


def flat(value: object) -> bytes | None:
    """Return the item for a scalar or for shallow containers of scalars; None for all else."""
    leaf = _FLAT.get(type(value))
    if leaf is not None:
        try:
            return leaf(value)
        except KeyError:
            return None
    return None

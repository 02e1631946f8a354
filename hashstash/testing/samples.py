"""Keys and rows that engines are tested with."""

from __future__ import annotations

import os

from hashstash.engines.base import ETAG


def make_row(payload: bytes = b"", etag: bytes | None = None) -> bytes:
    """Return a row that has its ETag where every stored row has it.

    Args:
        payload: what comes after the ETag.
        etag: 16 bytes; a random one if None.

    >>> make_row(b"payload", etag=b"0123456789abcdef")[ETAG]
    b'0123456789abcdef'
    """
    return b"HS".ljust(ETAG.start, b"\0") + (etag or os.urandom(16)) + payload


def number_row(number: int) -> bytes:
    """Return a row with ``number`` inside and an ETag of its own."""
    return make_row(b"%d" % number)


def row_number(row: bytes | None) -> int:
    """Return the number inside a row; 0 if there is no row."""
    return int(row[ETAG.stop :]) if row is not None else 0


def sealed_row(key: bytes) -> bytes:
    """Return a new row that only ``key`` can have, so that ``is_sealed`` finds mix-ups."""
    etag = os.urandom(16)
    return make_row(key.hex().encode() + b"|" + etag.hex().encode() * 20, etag)


def is_sealed(key: bytes, row: bytes) -> bool:
    """Report whether ``row`` is whole and was made by ``sealed_row(key)``."""
    return row[ETAG.stop :] == key.hex().encode() + b"|" + row[ETAG].hex().encode() * 20


def keys_of_every_length() -> list[bytes]:
    """Return keys of 1 to 100 bytes, with bytes in them that paths and protocols trip over."""
    hostile = b"/../\x00\xff%00 \n\r\t\\:*?\"<>|'`$(){}[];&~#\x7f\x80\xfe.."
    return [(hostile * 4)[n % 7 :][:n] for n in range(1, 101)]


def hostile_keys() -> list[bytes]:
    """Return distinct keys that a careless engine mixes up, loses or walks away with."""
    every_byte = [bytes([number]) for number in range(256)]
    paths = [b"..", b"../..", b"a/../b", b"/etc/passwd", b"a//b", b"a/", b"a/.", b"C:\\x"]
    names = [b"CON", b"nul", b".lock", b"tmp", b"locks", b"entries", b"data.db", b"__proto__"]
    cases = [b"key", b"Key", b"KEY", b"kEY", "stra\u00dfe".encode(), b"STRASSE"]
    blanks = [b"key ", b" key", b"key\n", b"key\r", b"key\0", b"key\0\0", b"\0key", b"key."]
    codes = [b"%6bey", b"%25", b"%%", b"\\x00", b"6b6579", b"a2V5", b"key*", b"k?y", b"$where"]
    joined = [b"a:b", b"a::b", b"a:", b":a", b"a|b", b"a\x1fb", b"ab", b"a" * 99, b"a" * 100]
    unicode = ["\u00e9".encode(), "e\u0301".encode(), b"\xc3\x28", b"\xff" * 100, b"\0" * 100]
    return [*every_byte, *paths, *names, *cases, *blanks, *codes, *joined, *unicode]

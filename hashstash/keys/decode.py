"""Canonical bytes back to plain data: the exact inverse, from a fixed vocabulary.

Nothing is imported or called that the bytes name. Bytes that the encoder would not have written
are refused, so every object has one encoding and every encoding one object.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from struct import error as StructError  # noqa: N812 - it is an exception class
from struct import unpack
from typing import Any, NamedTuple, NoReturn

from hashstash.errors import CorruptRowError

from .encode import PLAIN_DEPTH
from .items import ESCAPE, double, int_body
from .plain import MAX_FRACTION_BYTES, PATH_KINDS, decimal_text, is_zone_name

_STR, _BYTES = b"sb"
_MARGIN = 4
"""The encoder counts its walk; shallow containers at its end are not part of that."""


def decode_canonical(data: bytes) -> object:
    """Return the plain object whose canonical bytes are ``data``.

    Args:
        data: what ``stable_bytes`` returned for plain data: ``None``, ``bool``, ``int``,
            ``float``, ``complex``, ``str``, ``bytes``, ``bytearray``, ``tuple``, ``list``,
            ``dict``, ``set``, ``frozenset``, ``range``, ``slice``, ``Ellipsis``, dates and
            times, ``Decimal``, ``Fraction``, ``UUID`` and paths.

    Raises:
        CorruptRowError: they are anything else.

    >>> from hashstash.keys import stable_bytes
    >>> decode_canonical(stable_bytes({"a": [1, 2.5, None]}))
    {'a': [1, 2.5, None]}
    """
    data = bytes(data)
    try:
        if data[0] == _STR and data[1] == len(data) - 2 != ESCAPE:
            return data[2:].decode()
    except (IndexError, UnicodeDecodeError):  # empty, damaged or with a lone surrogate
        pass
    try:
        return _decode(data)
    except CorruptRowError:
        raise
    except (ValueError, TypeError, ArithmeticError, LookupError, StructError) as exc:
        raise CorruptRowError(f"The key is not canonical: {exc}", stage="key") from exc


def _refuse(reason: str) -> NoReturn:
    raise CorruptRowError(f"The key is not canonical: {reason}", stage="key")


class _Frame(NamedTuple):
    """A container whose items are being read.

    Attributes:
        tag: which kind it is.
        start: where its body starts.
        end: where its body ends.
        parts: the objects read so far.
        ends: where each of them ended.
    """

    tag: int
    start: int
    end: int
    parts: list[Any]
    ends: list[int]


def _decode(data: bytes) -> object:
    position, limit = 0, len(data)
    frame = _Frame(0, 0, limit, [], [])
    frames = [frame]
    while True:
        if position == limit:
            if len(frames) == 1:
                break
            found = _CONTAINERS[frame.tag](frames.pop(), data)
            frame = frames[-1]
            limit = frame.end
        else:
            tag, start, end = _header(data, position, limit)
            leaf = _LEAVES.get(tag)
            if leaf is None:
                if tag not in _CONTAINERS:
                    _refuse(f"there is no plain item {bytes((tag,))!r}")
                if len(frames) > PLAIN_DEPTH + _MARGIN:
                    _refuse(f"nested more than {PLAIN_DEPTH} levels deep")
                frame = _Frame(tag, start, end, [], [])
                frames.append(frame)
                position, limit = start, end
                continue
            found = leaf(data[start:end])
            position = end
        frame.parts.append(found)
        frame.ends.append(position)
    if len(frame.parts) != 1:
        _refuse(f"{len(frame.parts)} items instead of one")
    return frame.parts[0]


def _header(data: bytes, position: int, limit: int) -> tuple[int, int, int]:
    """Return the tag of the item at ``position``, and where its body starts and ends."""
    start = position + 2
    if start > limit:
        _refuse("an item is cut short")
    length = data[position + 1]
    if length == ESCAPE:
        start += 8
        length = int.from_bytes(data[position + 2 : start], "big")
        if length < ESCAPE:
            _refuse("a length is longer than it need be")
    end = start + length
    if end > limit:
        _refuse("an item is longer than what it is in")
    return data[position], start, end


# -- containers -------------------------------------------------------------------------------


def _check_order(frame: _Frame, data: bytes, stride: int) -> None:
    """Refuse members that are not in the order of their bytes."""
    bounds = (frame.start, *frame.ends[stride - 1 :: stride])
    members = [data[start:end] for start, end in pairwise(bounds)]
    if any(one > two for one, two in pairwise(members)):
        _refuse("the members of a set or dict are out of order")


def _dict(frame: _Frame, data: bytes) -> dict[Any, Any]:
    if len(frame.parts) % 2:
        _refuse("a dict has a key without a value")
    _check_order(frame, data, 2)
    keys = frame.parts[::2]
    found = dict(zip(keys, frame.parts[1::2], strict=True))
    if len(found) != len(keys):
        _refuse("a dict has a key twice")
    return found


def _set(frame: _Frame, data: bytes) -> set[Any]:
    _check_order(frame, data, 1)
    found = set(frame.parts)
    if len(found) != len(frame.parts):
        _refuse("a set has a member twice")
    return found


def _slice(frame: _Frame, _: bytes) -> slice:
    start, stop, step = frame.parts
    return slice(start, stop, step)


def _range(frame: _Frame, _: bytes) -> range:
    start, stop, step = _ints(frame, 3)
    found = range(start, stop, step)
    length = len(found)
    if (start, stop, step) != (
        start if length else 0,
        start + length * step,
        step if length > 1 else 1,
    ):
        _refuse("a range is not in its simplest form")
    return found


def _fraction(frame: _Frame, _: bytes) -> object:
    from fractions import Fraction

    if frame.end - frame.start > MAX_FRACTION_BYTES:
        _refuse("a fraction is too long")
    numerator, denominator = _ints(frame, 2)
    found = Fraction(numerator, denominator)
    if (found.numerator, found.denominator) != (numerator, denominator):
        _refuse("a fraction is not reduced")
    return found


def _ints(frame: _Frame, count: int) -> list[int]:
    if len(frame.parts) != count or any(type(part) is not int for part in frame.parts):
        _refuse(f"not {count} integers")
    return frame.parts


_CONTAINERS: dict[int, Callable[[_Frame, bytes], object]] = {
    ord("t"): lambda frame, _: tuple(frame.parts),
    ord("l"): lambda frame, _: frame.parts,
    ord("d"): _dict,
    ord("e"): _set,
    ord("z"): lambda frame, data: frozenset(_set(frame, data)),
    ord("x"): _slice,
    ord("r"): _range,
    ord("q"): _fraction,
}


# -- leaves -----------------------------------------------------------------------------------


def _constant(value: object) -> Callable[[bytes], object]:
    def leaf(body: bytes) -> object:
        if body:
            _refuse("a constant has a body")
        return value

    return leaf


def _int(body: bytes) -> int:
    value = int.from_bytes(body, "big", signed=True)
    if int_body(value) != body:
        _refuse("an integer is longer than it need be")
    return value


def _double(body: bytes) -> float:
    (value,) = unpack(">d", body)
    if double(value) != body:
        _refuse("a NaN is not the one NaN")
    return float(value)


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogatepass")


def _date(body: bytes) -> object:
    from datetime import date

    return date(*unpack(">HBB", body))


def _timedelta(body: bytes) -> Any:
    from datetime import timedelta

    days, seconds, microseconds = unpack(">iII", body)
    if seconds >= 86_400 or microseconds >= 1_000_000:
        _refuse("a timedelta is not normal")
    return timedelta(days, seconds, microseconds)


def _time(body: bytes) -> object:
    from datetime import time

    hour, minute, second, microsecond, fold = unpack(">BBBIB", body[:8])
    return time(hour, minute, second, microsecond, _zone(body[8:]), fold=fold)


def _datetime(body: bytes) -> object:
    from datetime import datetime

    year, month, day, hour, minute, second, microsecond, fold = unpack(">HBBBBBIB", body[:12])
    return datetime(
        year, month, day, hour, minute, second, microsecond, _zone(body[12:]), fold=fold
    )


def _zone(data: bytes) -> Any:
    if not data:
        return None
    tag, start, end = _header(data, 0, len(data))
    if tag not in b"oZ" or end != len(data):
        _refuse("a time has something else than a time zone")
    return _LEAVES[tag](data[start:end])


def _timezone(body: bytes) -> object:
    from datetime import timezone

    tag, start, end = _header(body, 0, len(body))
    if tag != ord("u"):
        _refuse("a time zone has no offset")
    offset = _timedelta(body[start:end])
    if end == len(body):
        return timezone(offset)
    tag, start, last = _header(body, end, len(body))
    if tag != _STR or last != len(body):
        _refuse("a time zone's name is not text")
    return timezone(offset, _text(body[start:]))


def _zone_info(body: bytes) -> object:
    from zoneinfo import ZoneInfo

    name = _text(body)
    if not is_zone_name(name):
        _refuse(f"{name!r} names no time zone")
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as exc:
        raise CorruptRowError(
            f"The key has the time zone {name!r}, which this machine does not know; "
            "pip install tzdata.",
            stage="key",
        ) from exc


def _decimal(body: bytes) -> object:
    from decimal import Decimal

    found = _decimal_of(body.decode("ascii"), Decimal)
    if decimal_text(found) != body:
        _refuse("a decimal is not in its one form")
    return found


def _decimal_of(text: str, kind: Any) -> Any:
    sign, digits, exponent = text.startswith("-"), *text.lstrip("-").split("E")
    figures = tuple(map(int, digits))
    return kind((sign, figures, exponent if exponent in ("F", "n", "N") else int(exponent)))


def _uuid(body: bytes) -> object:
    from uuid import UUID

    return UUID(bytes=body)


def _path(body: bytes) -> object:
    import pathlib

    kind, text = PATH_KINDS[body[0]], _text(body[1:])
    found: pathlib.PurePath = getattr(pathlib, kind)(text)
    if (found.as_posix() if body[0] == 0 else str(found)) != text:
        _refuse("a path is not in its one form on this system")
    return found


_LEAVES: dict[int, Callable[[bytes], object]] = {
    ord("N"): _constant(None),
    ord("T"): _constant(True),
    ord("F"): _constant(False),
    ord("E"): _constant(...),
    ord("n"): _constant(NotImplemented),
    ord("i"): _int,
    ord("f"): _double,
    ord("j"): lambda body: complex(_double(body[:8]), _double(body[8:])),
    _STR: _text,
    _BYTES: lambda body: body,
    ord("a"): bytearray,
    ord("D"): _date,
    ord("u"): _timedelta,
    ord("h"): _time,
    ord("m"): _datetime,
    ord("o"): _timezone,
    ord("Z"): _zone_info,
    ord("c"): _decimal,
    ord("U"): _uuid,
    ord("p"): _path,
}

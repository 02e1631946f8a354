"""Plain types of the standard library's modules: dates, exact numbers, UUIDs and paths.

Each has an item of its own that ``decode`` brings back. Their modules are not imported here: a
type can only be met where its module is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from struct import pack
from typing import TYPE_CHECKING, Any

from .encode import Encoder, Handler, Steps, UnstableError
from .items import Leaf, add_scalar, int_item, item, str_item, text

if TYPE_CHECKING:
    from datetime import date, datetime, time, timedelta, timezone, tzinfo
    from decimal import Decimal
    from fractions import Fraction
    from pathlib import PurePath
    from uuid import UUID
    from zoneinfo import ZoneInfo

PATH_KINDS = ("Path", "PurePosixPath", "PureWindowsPath")
"""How a path's first byte counts them. Concrete paths are one kind on every system."""

MAX_FRACTION_BYTES = 1024
"""Longer numerators and denominators are not reduced again when a key is read."""


def _date(value: date) -> bytes:
    return b"D\x04" + pack(">HBB", value.year, value.month, value.day)


def _timedelta(value: timedelta) -> bytes:
    return b"u\x0c" + pack(">iII", value.days, value.seconds, value.microseconds)


def _timezone(value: timezone) -> bytes:
    offset, *name = value.__getinitargs__()  # type: ignore[attr-defined] # typeshed lacks it
    return item(b"o", _timedelta(offset) + b"".join(map(str_item, name)))


def is_zone_name(name: str) -> bool:
    """Tell whether a time zone may be called so: a name, and not a way out of the zones' folder."""
    return len(name) <= 100 and all(
        part.isascii() and part.translate(_ZONE_MARKS).isalnum() for part in name.split("/")
    )


_ZONE_MARKS = dict.fromkeys(map(ord, "_-+"), "0")


def _zone_info(value: ZoneInfo, encoder: Encoder) -> bytes:
    if value.key is None:
        raise UnstableError("because it was read from a file and has no name")
    if not is_zone_name(value.key):
        return encoder.opaque("zone", str_item(value.key))
    return item(b"Z", text(value.key))


def _time_body(value: time | datetime) -> bytes:
    return pack(">BBBIB", value.hour, value.minute, value.second, value.microsecond, value.fold)


def _datetime_body(value: datetime) -> bytes:
    return pack(">HBB", value.year, value.month, value.day) + _time_body(value)


def _with_zone(tag: bytes, body: Callable[[Any], bytes]) -> Handler:
    def handler(value: time | datetime, _: Encoder) -> bytes | Steps:
        return item(tag, body(value)) if value.tzinfo is None else zoned(value, value.tzinfo)

    def zoned(value: time | datetime, zone: tzinfo) -> Steps:
        return item(tag, body(value) + (yield zone))

    return handler


def decimal_text(value: Decimal) -> bytes:
    """Return sign, digits and exponent as text; ``str`` would depend on the context."""
    sign, digits, exponent = value.as_tuple()
    return f"{'-' * sign}{''.join(map(str, digits))}E{exponent}".encode()


def _decimal(value: Decimal) -> bytes:
    return item(b"c", decimal_text(value))


def _fraction(value: Fraction, encoder: Encoder) -> bytes:
    parts = int_item(value.numerator) + int_item(value.denominator)
    if len(parts) > MAX_FRACTION_BYTES:
        return encoder.opaque("fraction", parts)
    return item(b"q", parts)


def _uuid(value: UUID) -> bytes:
    return b"U\x10" + value.bytes


def _path(value: PurePath) -> bytes:
    name = type(value).__name__
    kind = PATH_KINDS.index(name) if name in PATH_KINDS else 0
    return item(b"p", bytes((kind,)) + text(str(value) if kind else value.as_posix()))


_LEAVES: dict[str, dict[str, Leaf]] = {
    "datetime": {"date": _date, "timedelta": _timedelta, "timezone": _timezone},
    "decimal": {"Decimal": _decimal},
    "uuid": {"UUID": _uuid},
    "pathlib": dict.fromkeys(
        ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"), _path
    ),
}
_HANDLERS: dict[str, dict[str, Handler]] = {
    "datetime": {
        "time": _with_zone(b"h", _time_body),
        "datetime": _with_zone(b"m", _datetime_body),
    },
    "fractions": {"Fraction": _fraction},
    "zoneinfo": {"ZoneInfo": _zone_info},
}


def _named(kind: type, table: dict[str, dict[str, Any]]) -> Any:
    """Find ``kind`` in a table, by what the names in it stand for."""
    for module, names in table.items():
        loaded = sys.modules.get(module)
        if kind.__name__ in names and getattr(loaded, kind.__name__, None) is kind:
            return names[kind.__name__]
    return None


def handler_for(kind: type) -> Handler | None:
    """Return what encodes instances of exactly ``kind``, or None if it is not of these."""
    leaf = _named(kind, _LEAVES)
    if leaf is None:
        handler: Handler | None = _named(kind, _HANDLERS)
        return handler
    add_scalar(kind, leaf)  # from now on without a walk
    return lambda value, _: leaf(value)

"""Dates, times and time zones."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hashstash.errors import DecodeError

from .refusal import Refusal
from .vocabulary import ATOMS, PARTS, RULES, STEPS, Node, Parts, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

ZONE_KEY = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*")
_ZONES = (timezone, ZoneInfo)


def zone_node(zone: tzinfo | None) -> Node | None:
    """Return the node of a time zone, or None if there is none or it is an object with parts."""
    return ATOMS[type(zone)](zone) if type(zone) in _ZONES else None


def _datetime_node(value: datetime) -> Node | None:
    zone = value.tzinfo
    if zone is None:
        return {"!datetime": [value.isoformat(), 1] if value.fold else value.isoformat()}
    node = zone_node(zone)
    naive = value.replace(tzinfo=None).isoformat()
    return None if node is None else {"!datetime": [naive, value.fold, node]}


def _datetime_parts(_: Writer, value: datetime) -> Parts:
    return "!moment", (value.replace(tzinfo=None, fold=0), value.fold, value.tzinfo)


def _read_datetime(reader: Reader, args: Any) -> datetime:
    if type(args) is str:
        return datetime.fromisoformat(args)
    text, fold, *zones = args
    (zone,) = map(reader.value, zones) if zones else (None,)
    return datetime.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _time_node(value: time) -> Node | None:
    zone = value.tzinfo
    if zone is None:
        return {"!time": [value.isoformat(), 1] if value.fold else value.isoformat()}
    node = zone_node(zone)
    naive = value.replace(tzinfo=None).isoformat()
    return None if node is None else {"!time": [naive, value.fold, node]}


def _time_parts(_: Writer, value: time) -> Parts:
    return "!moment", (value.replace(tzinfo=None, fold=0), value.fold, value.tzinfo)


def _read_time(reader: Reader, args: Any) -> time:
    if type(args) is str:
        return time.fromisoformat(args)
    text, fold, *zones = args
    (zone,) = map(reader.value, zones) if zones else (None,)
    return time.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _make_moment(children: list[Any]) -> datetime | time:
    naive, fold, zone = children
    if type(naive) is not datetime and type(naive) is not time:
        raise TypeError(f"{naive!r} is not a date with a time, nor a time")
    return naive.replace(fold=fold, tzinfo=zone)


def _timedelta_node(value: timedelta) -> Node:
    return {"!timedelta": [value.days, value.seconds, value.microseconds]}


def _timezone_node(value: timezone) -> Node:
    offset, *name = value.__getinitargs__()  # type: ignore[attr-defined]
    return {"!timezone": [offset.days, offset.seconds, offset.microseconds, *name]}


def _read_timezone(_: Reader, args: list[Any]) -> timezone:
    days, seconds, microseconds, *name = args
    return timezone(timedelta(days, seconds, microseconds), *name)


def _zone_node(value: ZoneInfo) -> Node:
    # Where it came from a file, and whether it is the shared one, only __reduce__ tells.
    try:
        reduction: Any = value.__reduce__()
        _, (key, shared) = reduction
    except Exception as exc:
        raise Refusal(f"a ZoneInfo that has no key ({exc})") from exc
    return {"!zone": key if shared else [key]}


def _read_zone(_: Reader, args: str | list[str]) -> ZoneInfo:
    key = args if isinstance(args, str) else args[0]
    if not ZONE_KEY.fullmatch(key):
        raise ValueError(f"{key[:80]!r} is not the key of a time zone")
    try:
        return ZoneInfo(key) if isinstance(args, str) else ZoneInfo.no_cache(key)
    except ZoneInfoNotFoundError as exc:
        raise DecodeError(
            f"This machine does not know the time zone {key!r}; pip install tzdata",
            stage="hashstash",
        ) from exc


ATOMS[date] = lambda value: {"!date": value.isoformat()}
ATOMS[datetime] = _datetime_node
ATOMS[time] = _time_node
ATOMS[timedelta] = _timedelta_node
ATOMS[timezone] = _timezone_node
ATOMS[ZoneInfo] = _zone_node
PARTS[datetime] = _datetime_parts
PARTS[time] = _time_parts
RULES["!date"] = Rule(read=lambda _, args: date.fromisoformat(args))
RULES["!datetime"] = Rule(read=_read_datetime)
RULES["!time"] = Rule(read=_read_time)
RULES["!moment"] = Rule(make=_make_moment)
RULES["!timedelta"] = Rule(read=lambda _, args: timedelta(*args))
RULES["!timezone"] = Rule(read=_read_timezone)
RULES["!zone"] = Rule(read=_read_zone)
STEPS["!moment"] = lambda _, index: (".replace(tzinfo=None)", ".fold", ".tzinfo")[index]

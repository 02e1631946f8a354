"""Time zones of pytz, which older releases of pandas use. Each zone has a class of its own."""

from __future__ import annotations

from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from hashstash.errors import DecodeError

from .times import ZONE_KEY
from .vocabulary import RULES, Node, Parts, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer


def zone_parts(writer: Writer, value: Any) -> Parts | Node:
    """Return the node of a zone: its key, and the offset if it stands for one of several."""
    import pytz  # type: ignore[import-untyped] # only where its zones are

    key = getattr(value, "zone", None)
    if value is pytz.utc or (key is not None and value is pytz.timezone(key)):
        return {"!pytz": [value.zone]}
    zone: Any = None if key is None else pytz.timezone(key)
    for (offset, saved, name), found in getattr(zone, "_tzinfos", {}).items():
        if found is value:
            return {"!pytz": [key, _seconds(offset), _seconds(saved), name]}
    from .objects import reduced

    return reduced(writer, value)


def _seconds(span: timedelta) -> int:
    return span.days * 86_400 + span.seconds


def _named(key: str) -> Any:
    try:
        import pytz
    except ImportError as exc:
        raise DecodeError(
            f"Reading the time zone {key!r} of pytz needs: pip install pytz", stage="hashstash"
        ) from exc
    return pytz.timezone(key)


def _read_zone(_: Reader, args: list[Any]) -> tzinfo:
    key, *rest = args
    if not ZONE_KEY.fullmatch(key):
        raise ValueError(f"{key[:80]!r} is not the key of a time zone")
    zone: Any = _named(key)
    if rest:
        offset, saved, name = rest
        zone = zone._tzinfos[(timedelta(seconds=offset), timedelta(seconds=saved), name)]
    found: tzinfo = zone
    return found


RULES["!pytz"] = Rule(read=_read_zone)

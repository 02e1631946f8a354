"""When a row ends: an optional field of its header, checked by whoever reads it."""

from __future__ import annotations

from datetime import timedelta
from time import time_ns

from .errors import ConfigurationError
from .rows import EXPIRES, FIELDS, pack_field, parse

Seconds = float | timedelta


def seconds_of(duration: Seconds | None, option: str) -> float | None:
    """Return a duration in seconds.

    Raises:
        ConfigurationError: it is not more than nothing.
    """
    if duration is None:
        return None
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{option} is seconds or a timedelta, not {type(duration).__name__}")
    if not seconds > 0:
        raise ConfigurationError(f"{option} is more than 0 seconds, not {duration!r}")
    return float(seconds)


def expiry_field(seconds: float | None) -> bytes:
    """Return the packed field of a row that ends in ``seconds``; nothing for None."""
    if seconds is None:
        return b""
    end = min(time_ns() + int(min(seconds, 1e10) * 1e9), (1 << 64) - 1)
    return pack_field(EXPIRES, end.to_bytes(8, "little"))


def is_expired(row: bytes, key: bytes) -> bool:
    """Tell whether ``row``, found under the stored key ``key``, has ended."""
    if len(row) < 4 or not row[3] & FIELDS:  # one cut short is for its decoding to refuse
        return False
    end = parse(row, key).fields.get(EXPIRES)
    return end is not None and int.from_bytes(end, "little") <= time_ns()

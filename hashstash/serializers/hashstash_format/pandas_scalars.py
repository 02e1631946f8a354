"""Single times, spans and gaps of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .pandas_arrays import UNITS
from .times import zone_node
from .vocabulary import ATOMS, PARTS, RULES, STEPS, Node, Parts, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer


def _timestamp_node(value: pd.Timestamp) -> Node | None:
    zone = zone_node(value.tzinfo)
    if zone is None and value.tzinfo is not None:
        return None
    return {"!pd.timestamp": [_number(value), value.unit, value.fold, zone]}


def _timestamp_parts(_: Writer, value: pd.Timestamp) -> Parts:
    return "!pd.moment", [_number(value), value.unit, value.fold, value.tzinfo]


def _number(value: Any) -> int:
    return int(value.asm8.view(np.int64))


def _read_timestamp(reader: Reader, args: list[Any]) -> Any:
    number, unit, fold, zone = args
    return _make_timestamp([number, unit, fold, reader.value(zone)])


def _make_timestamp(children: list[Any]) -> Any:
    number, unit, fold, zone = children
    found = pd.Timestamp(np.datetime64(number, _checked(unit)))
    if zone is not None:
        return found.tz_localize("UTC").tz_convert(zone)
    return found.replace(fold=fold) if fold else found


def _checked(unit: str) -> Any:
    if unit not in UNITS:
        raise ValueError(f"times in {unit!r}")
    return unit


def _timedelta_node(value: pd.Timedelta) -> Node:
    return {"!pd.timedelta": [_number(value), value.unit]}


def _read_timedelta(_: Reader, args: list[Any]) -> Any:
    number, unit = args
    return pd.Timedelta(np.timedelta64(number, _checked(unit)))


def _period_node(value: pd.Period) -> Node:
    return {"!pd.period": [value.ordinal, value.freqstr]}


def _read_period(_: Reader, args: list[Any]) -> Any:
    ordinal, frequency = args
    if type(ordinal) is not int or type(frequency) is not str:
        raise TypeError(f"period {args!r}")
    return pd.Period(ordinal=ordinal, freq=frequency)


def _interval(_: Writer, value: pd.Interval[Any]) -> Parts:
    return "!pd.interval", [value.left, value.right, value.closed]


def _make_interval(children: list[Any]) -> Any:
    left, right, closed = children
    return pd.Interval(left, right, closed)


ATOMS[pd.Timestamp] = _timestamp_node
ATOMS[pd.Timedelta] = _timedelta_node
ATOMS[pd.Period] = _period_node
ATOMS[type(pd.NaT)] = lambda _: {"!pd.missing": "NaT"}
ATOMS[type(pd.NA)] = lambda _: {"!pd.missing": "NA"}
PARTS[pd.Timestamp] = _timestamp_parts
PARTS[pd.Interval] = _interval
RULES["!pd.timestamp"] = Rule(read=_read_timestamp)
RULES["!pd.moment"] = Rule(make=_make_timestamp)
RULES["!pd.timedelta"] = Rule(read=_read_timedelta)
RULES["!pd.period"] = Rule(read=_read_period)
RULES["!pd.interval"] = Rule(make=_make_interval)
RULES["!pd.missing"] = Rule(read=lambda _, name: {"NaT": pd.NaT, "NA": pd.NA}[name])
STEPS["!pd.moment"] = lambda _, index: ("", "", ".fold", ".tzinfo")[index]
STEPS["!pd.interval"] = lambda _, index: (".left", ".right", ".closed")[index]

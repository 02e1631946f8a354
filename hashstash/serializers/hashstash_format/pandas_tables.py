"""Frames, series and indices of pandas, column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import pandas_scalars  # noqa: F401 - it fills the vocabulary
from .pandas_arrays import column, contents
from .vocabulary import PARTS, RULES, STEPS, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

_INDICES = {
    kind.__name__: kind
    for kind in (
        pd.Index,
        pd.DatetimeIndex,
        pd.TimedeltaIndex,
        pd.PeriodIndex,
        pd.IntervalIndex,
        pd.CategoricalIndex,
    )
}
_BLOCK_KINDS = frozenset("biufc")
_MANY_COLUMNS = 50


def _index(_: Writer, value: pd.Index[Any]) -> Parts:
    frequency = getattr(value, "freq", None) if isinstance(value, _WITH_FREQUENCY) else None
    return "!pd.index", [type(value).__name__, contents(value), value.name, _frequency(frequency)]


_WITH_FREQUENCY = (pd.DatetimeIndex, pd.TimedeltaIndex)


def _frequency(value: Any) -> Any:
    """Return the text of a frequency, or the frequency itself if the text says less."""
    if value is None:
        return None
    try:
        same = pd.tseries.frequencies.to_offset(value.freqstr) == value
    except ValueError:
        same = False
    return value.freqstr if same else value


def _make_index(children: list[Any]) -> Any:
    name, array, label, frequency = children
    kind: Any = _INDICES[name]
    array = column(array)
    if kind is not pd.Index:
        found = kind(array, name=label)
        if frequency is not None:
            found.freq = pd.tseries.frequencies.to_offset(frequency)
        return found
    return pd.Index(array, dtype=array.dtype, name=label, copy=False, tupleize_cols=False)


def _range(_: Writer, value: pd.RangeIndex) -> Parts:
    return "!pd.range", [value.start, value.stop, value.step, value.name]


def _make_range(children: list[Any]) -> Any:
    start, stop, step, name = children
    return pd.RangeIndex(start, stop, step, name=name)


def _multi(_: Writer, value: Any) -> Parts:
    order = value.sortorder
    return "!pd.multi", [value.nlevels, order, *value.names, *value.levels, *value.codes]


def _make_multi(children: list[Any]) -> Any:
    count, order, *parts = children
    names, levels, codes = parts[:count], parts[count : 2 * count], parts[2 * count :]
    if not all(isinstance(level, pd.Index) for level in levels) or len(codes) != count:
        raise TypeError("levels of something else than indices")
    for level, numbers in zip(levels, codes, strict=True):
        # pandas makes small numbers of them before it looks whether they are in the range.
        if not isinstance(numbers, np.ndarray) or numbers.dtype.kind != "i":
            raise TypeError("codes of something else than integers")
        if numbers.size and not -1 <= numbers.min() <= numbers.max() < len(level):
            raise ValueError("codes beyond their level")
    return pd.MultiIndex(levels, codes, sortorder=order, names=names)


def _series(_: Writer, value: pd.Series[Any]) -> Parts:
    return "!pd.series", [contents(value), value.index, value.name, *_settings(value)]


def _make_series(children: list[Any]) -> Any:
    array, index, name, attributes, duplicates = children
    array = column(array)
    found = pd.Series(array, index=_checked(index), dtype=array.dtype, name=name, copy=False)
    return _with_settings(found, attributes, duplicates)


def _settings(value: Any) -> list[Any]:
    return [value.attrs or None, value.flags.allows_duplicate_labels]


def _with_settings(found: Any, attributes: Any, duplicates: bool) -> Any:
    if attributes:
        found.attrs = attributes
    if not duplicates:
        found.flags.allows_duplicate_labels = False
    return found


def _frame(_: Writer, value: pd.DataFrame) -> Parts:
    start = [value.index, value.columns, *_settings(value)]
    kinds = set(value.dtypes)
    if len(kinds) == 1:
        (dtype,) = kinds
        if isinstance(dtype, np.dtype) and dtype.kind in _BLOCK_KINDS:
            return "!pd.block", [*start, value.to_numpy()]
    return "!pd.frame", [*start, *(contents(series) for _, series in value.items())]


def _make_block(children: list[Any]) -> Any:
    index, columns, attributes, duplicates, block = children
    if not isinstance(block, np.ndarray) or block.ndim != 2 or block.dtype.kind not in _BLOCK_KINDS:
        raise TypeError("a block of something else")
    found = pd.DataFrame(block, index=_checked(index), columns=_checked(columns), copy=False)
    return _with_settings(found, attributes, duplicates)


def _make_frame(children: list[Any]) -> Any:
    index, columns, attributes, duplicates, *arrays = children
    index, columns = _checked(index), _checked(columns)
    if len(arrays) != len(columns):
        raise ValueError(f"{len(arrays)} columns for {len(columns)} labels")
    series = {
        number: pd.Series(column(array), index=index, dtype=array.dtype, copy=False)
        for number, array in enumerate(arrays)
    }
    # Many columns of one type are better kept together, few are not worth the copy.
    found = pd.DataFrame(series, index=index, copy=len(arrays) > _MANY_COLUMNS)
    found.columns = columns
    return _with_settings(found, attributes, duplicates)


def _checked(index: Any) -> Any:
    if not isinstance(index, pd.Index):
        raise TypeError(f"labels made of a {type(index).__name__}")
    return index


def _frame_step(value: pd.DataFrame, index: int) -> str:
    fixed = (".index", ".columns", ".attrs", ".flags")
    return fixed[index] if index < len(fixed) else f"[{value.columns[index - len(fixed)]!r}]"


for _class in _INDICES.values():
    PARTS[_class] = _index
PARTS[pd.RangeIndex] = _range
PARTS[pd.MultiIndex] = _multi
PARTS[pd.Series] = _series
PARTS[pd.DataFrame] = _frame
RULES["!pd.index"] = Rule(make=_make_index)
RULES["!pd.range"] = Rule(make=_make_range)
RULES["!pd.multi"] = Rule(make=_make_multi)
RULES["!pd.series"] = Rule(make=_make_series)
RULES["!pd.block"] = Rule(make=_make_block)
RULES["!pd.frame"] = Rule(make=_make_frame)
STEPS["!pd.index"] = lambda _, index: ("", "", ".name", ".freq")[index]
STEPS["!pd.range"] = lambda _, index: (".start", ".stop", ".step", ".name")[index]
STEPS["!pd.multi"] = lambda *_: ""
STEPS["!pd.series"] = lambda _, index: ("", ".index", ".name", ".attrs", ".flags")[index]
STEPS["!pd.frame"] = STEPS["!pd.block"] = _frame_step

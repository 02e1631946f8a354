"""Keys of pandas' frames, series, indexes, arrays and scalars.

A column is its dtype and values, whatever blocks, chunks or storage hold them; a time zone is
its name, whichever package it is from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .encode import Encoder, Handler, Steps, attributes
from .items import NONE, int_item, str_item
from .names import package_class_item

_OfNumpy: Any = getattr(pd.arrays, "NumpyExtensionArray", None) or pd.arrays.PandasArray  # type: ignore[attr-defined]


def _values(array: Any, encoder: Encoder) -> Steps:
    """Encode any array of pandas by its logical dtype."""
    dtype = array.dtype
    name = str_item(str(dtype))
    parts: list[object]
    if isinstance(dtype, pd.StringDtype):  # kept by numpy or by Arrow
        texts = np.array(array, dtype=object)
        texts[array.isna()] = None
        parts = [texts]
    elif isinstance(array, _OfNumpy) or isinstance(dtype, np.dtype):
        parts = [np.asarray(array)]
    elif isinstance(dtype, pd.DatetimeTZDtype | pd.PeriodDtype):
        parts = [array.asi8]
    elif isinstance(dtype, pd.CategoricalDtype):
        parts = [array.categories, array.ordered, np.asarray(array.codes)]
    elif isinstance(dtype, pd.IntervalDtype):
        parts = [array.left, array.right]
    elif isinstance(dtype, pd.ArrowDtype):
        parts = [array.__arrow_array__()]
    elif isinstance(dtype, pd.SparseDtype):
        parts = [np.asarray(array)]
    elif hasattr(dtype, "numpy_dtype"):  # numbers or booleans with a mask
        parts = [array.isna(), array.to_numpy(dtype=dtype.numpy_dtype, na_value=0)]
    else:
        parts = [dtype, list(array)]
    encoded = []
    for part in parts:
        encoded.append((yield part))  # noqa: PERF401 - a yield
    return encoder.opaque("pandas array", name, *encoded)


def _labels(value: Any, encoder: Encoder) -> Steps:
    """Encode an index's values. Names of columns were objects before pandas 3 made them str."""
    if str(value.dtype) in ("str", "object"):
        return encoder.opaque("labels", (yield np.asarray(value, dtype=object)))
    return (yield from _values(value.array, encoder))


def _index(value: Any, encoder: Encoder) -> Steps:
    names = yield list(value.names)
    if isinstance(value, pd.MultiIndex):
        parts = []
        for level in range(value.nlevels):
            # Levels that no row uses, and their order, are storage.
            parts.append((yield from _labels(value.get_level_values(level), encoder)))  # noqa: PERF401 - a yield
        return encoder.opaque("multi-index", names, *parts)
    content = yield from _labels(value, encoder)
    freq = NONE
    if isinstance(value, pd.DatetimeIndex | pd.TimedeltaIndex) and value.freq is not None:
        freq = str_item(value.freq.freqstr)
    return encoder.opaque("index", names, content, freq)


def _subclass(value: Any, base: type, encoder: Encoder) -> Steps:
    """Encode what a subclass of a frame or series adds: its name and declared attributes."""
    if type(value) is base:
        return NONE
    name = yield from package_class_item(type(value), encoder)
    declared = {name: getattr(value, name, None) for name in value._metadata}
    more = yield from attributes(declared)
    return encoder.opaque("subclass", name, more)


def _frame(value: pd.DataFrame, encoder: Encoder) -> Steps:
    parts = [(yield from _subclass(value, pd.DataFrame, encoder))]
    parts += [(yield value.columns), (yield value.index), (yield dict(value.attrs))]
    for place in range(value.shape[1]):
        column = value.iloc[:, place]  # by place: names may be there twice
        parts.append((yield from _values(column.array, encoder)))
    return encoder.opaque("DataFrame", *parts)


def _series(value: Any, encoder: Encoder) -> Steps:
    parts = [(yield from _subclass(value, pd.Series, encoder))]
    # A series' name may be in its declared attributes: only those of subclasses are above.
    parts += [(yield value.name), (yield value.index), (yield dict(value.attrs))]
    parts.append((yield from _values(value.array, encoder)))
    return encoder.opaque("Series", *parts)


def _zone(value: pd.Timestamp) -> bytes:
    return NONE if value.tzinfo is None else str_item(str(value.tzinfo))


def _timestamp(value: pd.Timestamp, encoder: Encoder) -> bytes:
    number = int(value.asm8.view("i8"))
    parts = (str_item(value.unit), int_item(number), _zone(value), int_item(value.fold))
    return encoder.opaque("Timestamp", *parts)


def _timedelta(value: pd.Timedelta, encoder: Encoder) -> bytes:
    number = int(value.asm8.view("i8"))
    return encoder.opaque("Timedelta", str_item(value.unit), int_item(number))


def _period(value: Any, encoder: Encoder) -> bytes:
    return encoder.opaque("Period", str_item(value.freqstr), int_item(value.ordinal))


def _interval(value: Any, encoder: Encoder) -> Steps:
    left = yield value.left
    return encoder.opaque("Interval", str_item(value.closed), left, (yield value.right))


def _dtype(value: Any, encoder: Encoder) -> Steps:
    name = str_item(str(value))
    if isinstance(value, pd.CategoricalDtype):
        categories = yield value.categories
        return encoder.opaque("pandas dtype", name, categories, (yield value.ordered))
    return encoder.opaque("pandas dtype", name)


def _missing(kind: str) -> Handler:
    return lambda _, encoder: encoder.opaque(kind)


def handler_for(kind: type) -> Handler | None:
    """Return what encodes instances of exactly ``kind``, or None if it is not pandas'."""
    table: list[tuple[type, Handler]] = [
        (pd.DataFrame, _frame),
        (pd.Series, _series),
        (pd.Index, _index),
        (type(pd.NaT), _missing("NaT")),
        (type(pd.NA), _missing("NA")),
        (pd.Timestamp, _timestamp),
        (pd.Timedelta, _timedelta),
        (pd.Period, _period),
        (pd.Interval, _interval),
        (pd.api.extensions.ExtensionDtype, _dtype),
        (pd.api.extensions.ExtensionArray, _values),
    ]
    return next((handler for base, handler in table if issubclass(kind, base)), None)

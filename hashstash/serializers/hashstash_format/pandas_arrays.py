"""Arrays of pandas, which hold what the columns of a frame, a series or an index hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hashstash.errors import DecodeError

from .vocabulary import PARTS, RULES, STEPS, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

_NUMPY_ARRAY: Any = type(pd.Series([0]).array)  # its name has changed
UNITS = frozenset({"s", "ms", "us", "ns"})
_MASKED = {
    "integer": pd.arrays.IntegerArray,
    "float": pd.arrays.FloatingArray,
    "boolean": pd.arrays.BooleanArray,
}


def contents(value: Any) -> Any:
    """Return the array in a series or index: of numpy where that is all there is."""
    array = value.array
    if type(array) is _NUMPY_ARRAY:  # not one made from it, for text
        return array.to_numpy()
    return array


def column(values: Any) -> Any:
    """Return what a column may be made of, or raise TypeError."""
    if not isinstance(values, np.ndarray | pd.api.extensions.ExtensionArray) or values.ndim != 1:
        raise TypeError(f"a column made of a {type(values).__name__}")
    return values


def _datetimes(_: Writer, value: Any) -> Parts:
    return "!pd.datetimes", [value.asi8, value.unit, value.tz]


def _make_datetimes(children: list[Any]) -> Any:
    numbers, unit, zone = children
    index = pd.DatetimeIndex(_of_unit(numbers, "M8", unit))
    if zone is not None:
        index = index.tz_localize("UTC").tz_convert(zone)
    return index.array


def _make_timedeltas(children: list[Any]) -> Any:
    numbers, unit = children
    return pd.TimedeltaIndex(_of_unit(numbers, "m8", unit)).array


def _of_unit(numbers: Any, kind: str, unit: str) -> Any:
    if unit not in UNITS or not isinstance(numbers, np.ndarray) or numbers.dtype != np.int64:
        raise TypeError(f"times in {unit!r}")
    return numbers.view(f"{kind}[{unit}]")


def _make_periods(children: list[Any]) -> Any:
    numbers, frequency = children
    if type(frequency) is not str:
        raise TypeError(f"periods of {frequency!r}")
    return pd.arrays.PeriodArray(numbers, dtype=pd.PeriodDtype(frequency))


def _intervals(_: Writer, value: Any) -> Parts:
    return "!pd.intervals", [value.left, value.right, value.closed]


def _make_intervals(children: list[Any]) -> Any:
    left, right, closed = children
    if not isinstance(left, pd.Index) or not isinstance(right, pd.Index):
        raise TypeError("intervals between something else than indices")
    return pd.arrays.IntervalArray.from_arrays(left, right, closed)


def _categories(_: Writer, value: Any) -> Parts:
    return "!pd.categories", [value.codes, value.categories, value.ordered]


def _make_categories(children: list[Any]) -> Any:
    codes, categories, ordered = children
    if not isinstance(categories, pd.Index) or not isinstance(codes, np.ndarray):
        raise TypeError("categories of something else than an index")
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories, ordered))


def _masked(kind: str) -> Any:
    return lambda _, value: ("!pd.masked", [kind, value._data, value._mask])


def _make_masked(children: list[Any]) -> Any:
    kind, data, mask = children
    return _MASKED[kind](data, mask)


def _strings(_: Writer, value: Any) -> Parts:
    dtype = value.dtype
    missing = "NA" if dtype.na_value is pd.NA else "nan"
    if dtype.storage == "python":
        texts = [None if text is dtype.na_value or text != text else text for text in value]  # noqa: PLR0124
        return "!pd.strings", [dtype.storage, missing, *texts]
    return "!pd.strings", [dtype.storage, missing, value.__arrow_array__()]


def _make_strings(children: list[Any]) -> Any:
    storage, missing, *texts = children
    dtype = _string_dtype(storage, missing)
    if storage != "python":
        return dtype.__from_arrow__(*texts)
    if not set(map(type, texts)) <= {str, type(None)}:
        raise TypeError("text made of something else")
    return pd.array(texts, dtype=dtype)


def _string_dtype(storage: str, missing: str) -> Any:
    if storage not in ("python", "pyarrow", "pyarrow_numpy"):
        raise ValueError(f"text kept in {storage!r}")
    if missing == "NA" or storage == "pyarrow_numpy":
        return pd.StringDtype(storage)
    try:
        return pd.StringDtype(storage, na_value=np.nan)
    except TypeError as exc:
        raise DecodeError(
            f"Text whose gaps are NaN needs pandas 2.3 or newer; this is {pd.__version__}",
            stage="hashstash",
        ) from exc


def _arrow(_: Writer, value: Any) -> Parts:
    return "!pd.arrow", [value.__arrow_array__()]


def _make_arrow(children: list[Any]) -> Any:
    (chunks,) = children
    return pd.arrays.ArrowExtensionArray(chunks)


def _numpy(_: Writer, value: Any) -> Parts:
    return "!pd.numpy", [value.to_numpy()]


def _make_numpy(children: list[Any]) -> Any:
    (array,) = children
    return _NUMPY_ARRAY(array)


def _steps(*names: str) -> Any:
    return lambda _, index: names[min(index, len(names) - 1)]


PARTS[pd.arrays.DatetimeArray] = _datetimes
PARTS[pd.arrays.TimedeltaArray] = lambda _, value: ("!pd.timedeltas", [value.asi8, value.unit])
PARTS[pd.arrays.PeriodArray] = lambda _, value: ("!pd.periods", [value.asi8, value.freqstr])
PARTS[pd.arrays.IntervalArray] = _intervals
PARTS[pd.Categorical] = _categories
PARTS[_NUMPY_ARRAY] = _numpy
PARTS[pd.arrays.ArrowExtensionArray] = _arrow
for _kind, _class in _MASKED.items():
    PARTS[_class] = _masked(_kind)
for _name in ("StringArray", "ArrowStringArray"):
    if hasattr(pd.arrays, _name):
        PARTS[getattr(pd.arrays, _name)] = _strings
RULES["!pd.datetimes"] = Rule(make=_make_datetimes)
RULES["!pd.timedeltas"] = Rule(make=_make_timedeltas)
RULES["!pd.periods"] = Rule(make=_make_periods)
RULES["!pd.intervals"] = Rule(make=_make_intervals)
RULES["!pd.categories"] = Rule(make=_make_categories)
RULES["!pd.masked"] = Rule(make=_make_masked)
RULES["!pd.strings"] = Rule(make=_make_strings)
RULES["!pd.arrow"] = Rule(make=_make_arrow)
RULES["!pd.numpy"] = Rule(make=_make_numpy)
STEPS["!pd.datetimes"] = _steps("", "", ".tz")
STEPS["!pd.intervals"] = _steps(".left", ".right", ".closed")
STEPS["!pd.categories"] = _steps(".codes", ".categories", ".ordered")
for _tag in (
    "!pd.timedeltas",
    "!pd.periods",
    "!pd.masked",
    "!pd.strings",
    "!pd.arrow",
    "!pd.numpy",
):
    STEPS[_tag] = _steps("")

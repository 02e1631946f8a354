"""Keys of polars' frames and series: their dtypes and values, however they are chunked."""

from __future__ import annotations

from typing import Any

import polars as pl

from .encode import Encoder, Handler, Steps, UnstableError
from .items import int_item, str_item


def _dtype(dtype: Any, encoder: Encoder) -> bytes:
    """Encode a dtype by its name and what it is made with."""
    parts = [str_item(dtype.base_type().__name__)]
    for name in ("time_unit", "time_zone", "precision", "scale", "size"):
        made_with = getattr(dtype, name, None)
        if made_with is not None:
            parts += [str_item(name), str_item(str(made_with))]
    if isinstance(dtype, pl.Enum):
        parts += map(str_item, dtype.categories)
    elif isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            parts += [str_item(field.name), _dtype(field.dtype, encoder)]
    elif isinstance(dtype, pl.List | pl.Array):
        parts.append(_dtype(dtype.inner, encoder))
    return encoder.opaque("polars dtype", *parts)


def _values(series: pl.Series, encoder: Encoder) -> Steps:
    dtype = series.dtype
    if isinstance(dtype, pl.List | pl.Array | pl.Struct):
        missing = series.is_null()
        content = yield from _nested(series.filter(~missing), encoder)
        return encoder.opaque("nested", (yield missing.to_list()), content)
    if dtype.is_temporal():
        series = series.to_physical()  # Python's times have no nanoseconds
    return (yield series.to_list())


def _nested(series: pl.Series, encoder: Encoder) -> Steps:
    """Encode what is inside rows none of which is null."""
    dtype: Any = series.dtype
    parts = []
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            inner = series.struct.field(field.name)
            parts.append((yield from _values(inner, encoder)))
        return encoder.opaque("struct", *parts)
    if isinstance(dtype, pl.Array):
        series = series.arr.to_list()
    lengths = series.list.len()
    parts.append((yield lengths.to_list()))
    # Without its empty rows, each of which explodes to a null.
    parts.append((yield from _values(series.filter(lengths > 0).explode(), encoder)))
    return encoder.opaque("list", *parts)


def _series(value: pl.Series, encoder: Encoder) -> Steps:
    name = str_item(value.name)
    content = yield from _values(value, encoder)
    return encoder.opaque("polars.Series", name, _dtype(value.dtype, encoder), content)


def _frame(value: pl.DataFrame, encoder: Encoder) -> Steps:
    parts = [int_item(value.height)]
    for column in value.get_columns():
        parts.append((yield from _series(column, encoder)))  # noqa: PERF401 - a yield
    return encoder.opaque("polars.DataFrame", *parts)


def _lazy(value: pl.LazyFrame, _: Encoder) -> bytes:
    raise UnstableError(
        "because it is a plan and not data", "Use its collect(), or what the plan is made of."
    )


def handler_for(kind: type) -> Handler | None:
    """Return what encodes instances of exactly ``kind``, or None if it is not polars'."""
    table: list[tuple[type, Handler]] = [
        (pl.DataFrame, _frame),
        (pl.Series, _series),
        (pl.LazyFrame, _lazy),
    ]
    return next((handler for base, handler in table if issubclass(kind, base)), None)

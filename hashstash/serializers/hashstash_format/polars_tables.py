"""Frames and series of polars, in Arrow's stream format as polars itself writes it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PanicException, PolarsError

from hashstash.errors import CorruptRowError

from .arrow_stream import check_stream
from .refusal import Refusal
from .vocabulary import PARTS, RULES, Node, Parts, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

_FAILURES = (PolarsError, PanicException, OSError, ValueError)


def _segment(writer: Writer, frame: pl.DataFrame) -> int:
    for name, dtype in frame.schema.items():
        if _holds_objects(dtype):
            # It would be written as addresses in memory.
            raise Refusal(f"column {name!r} of polars holds Python objects; store a list of them")
    sink = io.BytesIO()
    try:
        frame.write_ipc_stream(sink)
        check_stream(sink.getbuffer(), extensions=False)
    except _FAILURES as exc:
        raise Refusal(f"a frame of polars with {frame.dtypes} ({exc})") from exc
    return writer.segment(sink.getbuffer())


def _holds_objects(dtype: Any) -> bool:
    if dtype == pl.Object:
        return True
    inner = getattr(dtype, "inner", None)
    fields = getattr(dtype, "fields", ())
    return (inner is not None and _holds_objects(inner)) or any(
        _holds_objects(field.dtype) for field in fields
    )


def _frame_in(reader: Reader, number: object) -> pl.DataFrame:
    segment = reader.segment(number)
    check_stream(segment, extensions=False)
    try:
        return pl.read_ipc_stream(io.BytesIO(segment))
    except _FAILURES as exc:
        raise CorruptRowError(
            f"The stored value is damaged: polars cannot read it: {exc}", stage="hashstash"
        ) from exc


def _frame(writer: Writer, value: pl.DataFrame) -> Node:
    if not value.width:
        return {"!pl.no-columns": value.height}
    return {"!pl.frame": _segment(writer, value)}


def _read_no_columns(_: Reader, height: object) -> pl.DataFrame:
    if type(height) is not int:
        raise TypeError(f"{height!r} rows")
    return pl.DataFrame(height=height) if height else pl.DataFrame()


def _series(writer: Writer, value: pl.Series) -> Node:
    return {"!pl.series": _segment(writer, value.to_frame())}


def _read_series(reader: Reader, number: object) -> pl.Series:
    frame = _frame_in(reader, number)
    if frame.width != 1:
        raise ValueError("a series of several columns")
    return frame.to_series()


def _lazy(_: Writer, value: pl.LazyFrame) -> Parts:
    raise Refusal("a lazy frame of polars is a query; store what its collect() returns")


PARTS[pl.DataFrame] = _frame
PARTS[pl.Series] = _series
PARTS[pl.LazyFrame] = _lazy
RULES["!pl.frame"] = Rule(read=_frame_in)
RULES["!pl.no-columns"] = Rule(read=_read_no_columns)
RULES["!pl.series"] = Rule(read=_read_series)

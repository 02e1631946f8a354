from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from value_checks import HASHSTASH, as_data, round_trip

from hashstash.errors import SerializationError

pa = pytest.importorskip("pyarrow")

ARROW = {
    "table": pa.table({"a": [1, None], "b": ["x", "y"], "c": [[1], [2, 3]]}),
    "metadata": pa.table({"a": [1]}).replace_schema_metadata({"k": "v"}),
    "no columns": pa.table({}),
    "no rows": pa.table({"a": pa.array([], pa.int8())}),
    "dictionary": pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode()}),
    "dictionaries": pa.table(
        {"a": pa.chunked_array([pa.array(["x"]).dictionary_encode(),
                                pa.array(["y", "x"]).dictionary_encode()])}
    ),
    "a slice": pa.table({"a": list(range(100))}).slice(50, 3),
    "structs": pa.table({"s": [{"x": 1, "y": "a"}, None]}),
    "batch": pa.RecordBatch.from_pydict({"a": [1], "b": ["x"]}),
    "empty batch": pa.RecordBatch.from_pydict({"a": pa.array([], pa.int8())}),
    "array": pa.array([1, None, 3]),
    "sliced array": pa.array([1, 2, 3]).slice(1, 1),
    "empty array": pa.array([]),
    "times": pa.array([dt.datetime(2020, 1, 1)], pa.timestamp("us", tz="Europe/Paris")),
    "large text": pa.array(["a"], pa.large_string()),
    "chunks": pa.chunked_array([[1], [2, 3]]),
    "no chunks": pa.chunked_array([], type=pa.int8()),
    "schema": pa.schema([("a", pa.int8())], metadata={"k": "v"}),
    "field": pa.field("x", pa.int8(), nullable=False),
    "type": pa.list_(pa.string()),
    "number type": pa.int64(),
}  # fmt: skip


@pytest.mark.parametrize("value", ARROW.values(), ids=ARROW.keys())
def test_arrow(value: Any) -> None:
    found = as_data(value)
    assert type(found) is type(value)
    assert found.equals(value)
    if hasattr(value, "schema"):
        assert found.schema.equals(value.schema, check_metadata=True)


def test_other_parts_of_arrow_go_by_code() -> None:
    assert round_trip(pa.scalar(3)) == pa.scalar(3)


# --- polars


def polars_frames() -> dict[str, Any]:
    pl = pytest.importorskip("polars")
    return {
        "frame": pl.DataFrame(
            {
                "a": [1, None],
                "b": ["x", "y"],
                "c": [[1], [2, 3]],
                "d": [dt.datetime(2020, 1, 1), None],
                "e": pl.Series(["u", "v"], dtype=pl.Categorical),
                "f": pl.Series(["u", "v"], dtype=pl.Enum(["u", "v"])),
                "g": [{"x": 1}, {"x": 2}],
                "h": pl.Series(["1.5", "2"]).cast(pl.Decimal(10, 2)),
                "i": [b"a", None],
                "j": [dt.time(1), None],
                "k": [None, None],
            }
        ),
        "empty": pl.DataFrame(),
        "no rows": pl.DataFrame(schema={"a": pl.Int8}),
        "series": pl.Series("n", [1, None]),
        "empty series": pl.Series("", [], dtype=pl.String),
        "structs": pl.Series("q", [{"x": 1}]),
    }


@pytest.mark.parametrize("name", ["frame", "empty", "no rows", "series", "empty series", "structs"])
def test_polars(name: str) -> None:
    value = polars_frames()[name]
    found = as_data(value)
    assert type(found) is type(value)
    assert found.equals(value)
    if name == "series":
        assert (found.name, found.dtype) == (value.name, value.dtype)
    else:
        assert getattr(found, "schema", None) == getattr(value, "schema", None)


def test_objects_and_queries_of_polars_are_refused() -> None:
    pl = pytest.importorskip("polars")
    with pytest.raises(SerializationError, match="Python objects"):
        HASHSTASH.dumps(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))
    with pytest.raises(SerializationError, match="collect"):
        HASHSTASH.dumps(pl.DataFrame({"a": [1]}).lazy())

"""Keys of tables: by what they hold, and not by how it lies in memory."""

from __future__ import annotations

import copy
import datetime as dt
from itertools import combinations
from typing import Any

import pytest

from hashstash.errors import UnstableKeyError
from hashstash.keys import stable_bytes, stored_key

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pc = pytest.importorskip("pyarrow.compute")


def all_differ(*values: Any) -> bool:
    return all(stable_bytes(a) != stable_bytes(b) for a, b in combinations(values, 2))


def all_equal(*values: Any) -> bool:
    return len({stable_bytes(value) for value in values}) == 1


# --- pandas


def frame() -> Any:
    return pd.DataFrame({"a": [1, 2, 3], "b": [0.5, np.nan, 2], "c": ["x", None, "z"]})


def test_blocks_make_no_difference() -> None:
    one = frame()
    apart = one[["a"]].copy()
    apart["b"], apart["c"] = one["b"], one["c"]
    joined = pd.concat([one.iloc[:1], one.iloc[1:]])
    assert all_equal(one, apart, joined, one.copy(), one[["c", "b", "a"]][["a", "b", "c"]])
    assert stored_key(one)[0][:1] == b"E"


def test_parts_of_frames_make_a_difference() -> None:
    one = frame()
    marked = frame()
    marked.attrs["unit"] = "m"
    assert all_differ(
        one, marked, one[["c", "b", "a"]], one.rename(columns={"a": "A"}), one.iloc[::-1],
        one.set_index("a"), one.rename_axis("i"), one.rename_axis(columns="i"), one["a"], one["b"],
        one.astype({"a": "i4"}), one.astype({"a": "f8"}), one.astype({"c": "category"}),
        one.iloc[:0], one.T, pd.DataFrame(), pd.DataFrame(index=[0]), one["a"].rename(None),
        one["a"].to_frame(),
        one["a"].array, one["a"].to_numpy(), one.columns, one.index,
    )  # fmt: skip


def test_missing_objects_are_kept_apart() -> None:
    missing = [None, np.nan, pd.NaT, pd.NA, 0, "nan"]
    assert all_differ(*(pd.Series([1, one], dtype=object) for one in missing))
    assert all_differ(*(pd.Index([1, one], dtype=object) for one in missing))


def test_how_strings_are_kept_makes_no_difference() -> None:
    one, two = (pd.StringDtype(storage) for storage in ("python", "pyarrow"))
    assert all_equal(pd.Series(["a", None], dtype=one), pd.Series(["a", None], dtype=two))


def test_labels_that_are_strings_are_the_same_in_every_pandas() -> None:
    by_default = pd.DataFrame({"a": [1], "b": [2]})
    as_objects = pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], dtype=object))
    assert all_equal(by_default, as_objects)
    assert all_differ(pd.Series(["a"], dtype=object), pd.Series(["a"], dtype="string"))


def test_columns_of_one_name() -> None:
    one = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert all_differ(one, pd.DataFrame([[2, 1]], columns=["a", "a"]))


def series() -> list[Any]:
    return [
        pd.Series([1, 2]),
        pd.Series([1, 2], dtype="Int64"),
        pd.Series([1, None], dtype="Int64"),
        pd.Series([1, None], dtype="Float64"),
        pd.Series([1, 2], dtype="int64[pyarrow]"),
        pd.Series([True, None], dtype="boolean"),
        pd.Series(["a", None], dtype="string"),
        pd.Series(["a", None], dtype=object),
        pd.Series(["a", "b"], dtype="category"),
        pd.Series(pd.Categorical(["a", "b"], ordered=True)),
        pd.Series(pd.Categorical(["a", "b"], categories=["b", "a"])),
        pd.Series(pd.date_range("2020", periods=2)),
        pd.Series(pd.date_range("2020", periods=2, tz="Europe/Paris")),
        pd.Series(pd.date_range("2020", periods=2, tz="UTC")),
        pd.Series(pd.timedelta_range("1s", periods=2)),
        pd.Series(pd.period_range("2020", periods=2, freq="M")),
        pd.Series(pd.interval_range(0, 2)),
        pd.Series(pd.interval_range(0, 2, closed="left")),
        pd.Series([0, 0, 1], dtype="Sparse[int]"),
        pd.MultiIndex.from_product([[1, 2], ["a"]]),
        pd.MultiIndex.from_product([[1, 2], ["a"]], names=["x", "y"]),
        pd.Index([1, 2]),
        pd.Index([1, 2], name="i"),
        pd.Index(["a", "b"]),
        pd.Timestamp("2020"),
        pd.Timestamp("2020", tz="UTC"),
        pd.Timestamp("2020", tz="Europe/Paris"),
        pd.Timestamp("2020-01-01 00:00:00.000000001"),
        pd.Timedelta("1s"),
        pd.Period("2020", "Y"),
        pd.Period("2020", "M"),
        pd.Interval(0, 1),
        pd.Interval(0, 1, closed="both"),
        pd.NaT,
        pd.NA,
        pd.offsets.MonthEnd(2),
        pd.offsets.MonthEnd(1),
        pd.CategoricalDtype(["a"]),
        pd.CategoricalDtype(["b"]),
        pd.Int64Dtype(),
        None,
        float("nan"),
        dt.datetime(2020, 1, 1),
    ]


def test_every_kind_of_column_and_scalar() -> None:
    values = series()
    assert all_differ(*values)
    for value, again in zip(values, series(), strict=True):
        assert stable_bytes(copy.deepcopy(value)) == stable_bytes(again) == stable_bytes(value)


def test_an_index_is_its_values() -> None:
    assert all_equal(pd.RangeIndex(3), pd.Index([0, 1, 2]))
    days = pd.date_range("2020", periods=3)
    assert all_equal(days, days[:3])
    assert all_differ(days, days._with_freq(None))
    levels = pd.MultiIndex.from_product([["a", "b"], [1, 2]])
    assert all_equal(levels[:2], levels[:2].remove_unused_levels())


def test_what_is_below_a_missing_value_makes_no_difference() -> None:
    one = pd.array([1, 2], dtype="Int64")
    two = pd.array([1, 9], dtype="Int64")
    one[1], two[1] = None, None
    assert all_equal(one, two)


def test_subclasses_of_frames() -> None:
    class Special(pd.DataFrame):  # type: ignore[misc, name-defined]
        _metadata = ["unit"]  # noqa: RUF012 - as pandas asks for it

    one, two = Special(frame()), Special(frame())
    assert all_equal(one, two)
    two.unit = "m"
    assert all_differ(one, two, frame())


# --- polars


def test_polars_chunks_make_no_difference() -> None:
    whole = pl.Series("x", [1, 2, 3])
    chunks = pl.concat([pl.Series("x", [1]), pl.Series("x", [2, 3])], rechunk=False)
    assert all_equal(whole, chunks, pl.Series("x", [0, 1, 2, 3])[1:])
    assert all_equal(pl.DataFrame([whole]), pl.DataFrame([chunks]))


def test_every_kind_of_polars_series() -> None:
    def make() -> list[Any]:
        moments = [dt.datetime(2020, 1, 1), None]
        return [
            pl.Series([1, 2]),
            pl.Series([1, 2], dtype=pl.Int8),
            pl.Series([1.0, None]),
            pl.Series([True, None]),
            pl.Series([None, None]),
            pl.Series("name", [1, 2]),
            pl.Series(["a", None]),
            pl.Series([b"a", None]),
            pl.Series(["a", "b"], dtype=pl.Categorical),
            pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])),
            pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
            pl.Series(moments, dtype=pl.Datetime("us")),
            pl.Series(moments, dtype=pl.Datetime("ns")),
            pl.Series([1, None], dtype=pl.Int64).cast(pl.Datetime("ns")),
            pl.Series(moments, dtype=pl.Datetime("us", "UTC")),
            pl.Series([dt.date(2020, 1, 1), None]),
            pl.Series([dt.time(1), None]),
            pl.Series([dt.timedelta(1), None]),
            pl.Series([1, 2]).cast(pl.Decimal(10, 2)),
            pl.Series([[1, 2], []]),
            pl.Series([[1], [2]]),
            pl.Series([[1, 2], None]),
            pl.Series([[], []], dtype=pl.List(pl.Int64)),
            pl.Series([[None], []], dtype=pl.List(pl.Int64)),
            pl.Series([moments], dtype=pl.List(pl.Datetime("ns"))),
            pl.Series([[1, 2], None], dtype=pl.Array(pl.Int64, 2)),
            pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
            pl.Series([{"a": 1}, None]),
            pl.Series([{"b": 1}, None]),
            pl.DataFrame({"a": [1], "b": ["x"]}),
            pl.DataFrame({"b": ["x"], "a": [1]}),
            pl.DataFrame(),
        ]

    values = make()
    assert all_differ(*values)
    assert list(map(stable_bytes, values)) == list(map(stable_bytes, make()))


def test_a_lazy_frame_is_refused() -> None:
    with pytest.raises(UnstableKeyError, match="collect"):
        stable_bytes([pl.DataFrame({"a": [1]}).lazy()])


# --- pyarrow


def test_arrow_chunks_slices_and_metadata_make_no_difference() -> None:
    one = pa.table({"a": [1, None, 3], "b": ["x", None, "zz"], "c": [[1.5], None, []]})
    assert all_equal(
        one,
        pa.concat_tables([one.slice(0, 1), one.slice(1)]),
        pa.concat_tables([one, one]).slice(3),
        one.replace_schema_metadata({"a": "b"}),
        pa.table({name: pa.chunked_array([one[name].combine_chunks()]) for name in "abc"}),
    )
    assert all_differ(
        one, one.slice(1), one.select(["b", "a", "c"]), one["a"].combine_chunks(),
        one.combine_chunks().to_batches()[0], one.schema,
    )  # fmt: skip


def arrow() -> list[Any]:
    return [
        pa.array([1, None]),
        pa.array([1, 0]),
        pa.array([1, None], pa.int8()),
        pa.array([1.0, None]),
        pa.array([float("nan"), None]),
        pa.array([True, None]),
        pa.array([None, None]),
        pa.array(["ab", ""]),
        pa.array(["a", "b"]),
        pa.array(["ab", None]),
        pa.array(["ab", ""], pa.large_string()),
        *([pa.array(["ab", ""], pa.string_view())] if hasattr(pa, "string_view") else []),
        pa.array([b"ab", b""]),
        pa.array([b"ab"], pa.binary(2)),
        pa.array([[1], [2]]),
        pa.array([[1, 2], []]),
        pa.array([[1, 2], None]),
        pa.array([[1, 2], None], pa.list_(pa.int64(), 2)),
        pa.array([[1, 2], None], pa.large_list(pa.int64())),
        pa.array([{"a": 1}, None]),
        pa.array([{"a": 1}, {"a": None}]),
        pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int8())),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([1, None], pa.timestamp("ns")),
        pa.array([1, None], pa.timestamp("us")),
        pa.array([1, None], pa.timestamp("ns", "UTC")),
        pa.array([1, None], pa.date32()),
        pa.array([1, None], pa.time64("ns")),
        pa.array([1, None], pa.duration("s")),
        pa.array([1, 2], pa.decimal128(5, 2)),
        pc.run_end_encode(pa.array([1, 1, 2])),
        pa.array([pa.MonthDayNano([1, 2, 3])]),
        pa.nulls(2, pa.float16()),
        pa.chunked_array([], pa.int8()),
        pa.RecordBatch.from_pydict({"a": [1]}),
        pa.table({"a": [1]}),
        pa.scalar(1),
        pa.scalar(1, pa.int8()),
        pa.int8(),
        pa.field("a", pa.int8()),
        pa.field("a", pa.int8(), nullable=False),
        pa.schema([("a", pa.int8())]),
        pa.py_buffer(b"a"),
    ]


def test_every_kind_of_arrow_array() -> None:
    values = arrow()
    assert all_differ(*values)
    assert list(map(stable_bytes, values)) == list(map(stable_bytes, arrow()))
    for value in values:
        if isinstance(value, pa.Array) and not pa.types.is_run_end_encoded(value.type):
            padded = pa.concat_arrays([value.slice(1), value, value.slice(1)])
            again = padded.slice(max(len(value) - 1, 0), len(value))
            assert stable_bytes(again) == stable_bytes(value), value.type


def test_what_is_below_a_null_makes_no_difference() -> None:
    hidden = pa.array([1, 2], mask=np.array([False, True]))
    assert all_equal(hidden, pa.array([1, None]))
    nan = np.array([np.nan, -np.nan])
    assert all_equal(pa.array(nan), pa.array(nan[::-1]))

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from value_checks import HASHSTASH, as_data, round_trip

from hashstash.errors import CorruptRowError, HashStashError, SerializationError

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

PARIS = ZoneInfo("Europe/Paris")


def wide() -> Any:
    frame = pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [1.5, np.nan, 3],
            "f4": np.array([1, 2, 3], np.float32),
            "s": ["a", None, "c"],
            "b": [True, False, True],
            "o": [1, "a", None],
            "l": [[1], {"a": 2}, (3,)],
            "d": pd.date_range("2020", periods=3),
            "ds": pd.date_range("2020", periods=3).as_unit("s"),
            "dz": pd.date_range("2020", periods=3, tz="Europe/Paris"),
            "du": pd.date_range("2020", periods=3, tz=dt.timezone.utc),
            "t": pd.to_timedelta([1, None, 3], unit="s"),
            "p": pd.period_range("2020", periods=3, freq="M"),
            "iv": pd.interval_range(0, 3),
            "c": pd.Categorical(["x", "y", None], categories=["y", "x", "z"], ordered=True),
            "ci": pd.Categorical([1, 2, 1]),
            "I": pd.array([1, None, 3], dtype="Int64"),
            "F": pd.array([1.5, None, 2], dtype="Float32"),
            "B": pd.array([True, None, False], dtype="boolean"),
            "sp": pd.array(["a", None, "b"], dtype="string[python]"),
            "sa": pd.array(["a", None, "b"], dtype="string[pyarrow]"),
            "al": pd.array([[1], None, [2, 3]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
            "ad": pd.array(["x", "y", "x"], dtype=pd.ArrowDtype(pa.string())),
            "sparse": pd.arrays.SparseArray([0, 0, 1]),
            "x": pd.Series([1 + 2j, 0, 3]),
        },
        index=pd.Index(["u", "v", "w"], name="key"),
    )
    frame.attrs = {"source": "here", "n": [1, (2,)]}
    return frame


FRAMES = {
    "empty": pd.DataFrame(),
    "only an index": pd.DataFrame(index=[1, 2]),
    "only columns": pd.DataFrame(columns=["a", "b"]),
    "one block": pd.DataFrame(np.arange(6.0).reshape(2, 3)),
    "small integers": pd.DataFrame({"a": np.array([1], np.int8), "b": np.array([2], np.int8)}),
    "multi": pd.DataFrame(
        np.arange(6).reshape(2, 3),
        index=pd.MultiIndex.from_tuples([(1, "a"), (2, None)], names=["x", None]),
        columns=pd.MultiIndex.from_product([["u", "v", "w"], [1]], names=[None, "k"]),
    ),
    "duplicates": pd.DataFrame([[1, "a"], [2, "b"]], columns=["z", "z"], index=[5, 5]),
    "odd labels": pd.DataFrame({1: [1], None: ["x"], (1, 2): [2.5], 1.5: [None]}),
    "no duplicates allowed": pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    "business days": pd.DataFrame(
        {"a": range(3)}, index=pd.date_range("2020", periods=3, freq="B", name="when")
    ),
    "dates as columns": pd.DataFrame(
        [[1, "a"]], columns=pd.date_range("2020", periods=2, freq="D")
    ),
    "objects": pd.DataFrame({"a": ["x", "y"], "b": [pd.Timestamp("2020"), None]}, dtype=object),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="int8"), "b": pd.Series([], dtype=object)}),
    "many columns": pd.DataFrame({f"c{i}": [i, str(i)] for i in range(60)}),
    "categories as an index": pd.DataFrame({"a": [1, 2]}, index=pd.CategoricalIndex(["x", "y"])),
}


def same_frame(one: Any, two: Any) -> None:
    assert type(one) is type(two)
    pd.testing.assert_frame_equal(one, two, check_freq=True, check_flags=True)
    pd.testing.assert_index_equal(one.columns, two.columns, exact=True)
    pd.testing.assert_index_equal(one.index, two.index, exact=True)
    assert list(one.dtypes) == list(two.dtypes)
    assert list(one.columns.names) == list(two.columns.names)
    assert one.attrs == two.attrs
    assert getattr(one.columns, "freq", None) == getattr(two.columns, "freq", None)


def test_a_frame_of_everything() -> None:
    frame = wide()
    found = round_trip(frame)
    same_frame(frame, found)
    assert [[type(x) for x in frame[name]] for name in "solp"] == [
        [type(x) for x in found[name]] for name in "solp"
    ]
    assert found.loc["u", "l"] == [1]
    same_frame(frame.drop(columns="sparse"), as_data(frame.drop(columns="sparse")))


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_frames(frame: Any) -> None:
    same_frame(frame, as_data(frame))
    same_frame(frame, as_data({"a": (frame, 1)})["a"][0])


def test_what_comes_back_is_one_s_own() -> None:
    for frame in (FRAMES["one block"], wide()):
        data = HASHSTASH.dumps(frame)
        found: Any = HASHSTASH.loads(data, trusted=True)
        found.iloc[0, 0] = 77
        again: Any = HASHSTASH.loads(data, trusted=True)
        assert again.iloc[0, 0] == frame.iloc[0, 0] != 77


SERIES = {
    "numbers": pd.Series([1, 2], name="n"),
    "objects": pd.Series(["a", "b"], dtype=object),
    "missing objects": pd.Series(["a", np.nan, None, pd.NA, pd.NaT], dtype=object),
    "empty": pd.Series([], dtype=float),
    "categories": pd.Series(pd.Categorical(["a", "b", "a"])),
    "a tuple for a name": pd.Series([1, 2], index=list("ab"), name=("t", 1)),
    "seconds": pd.Series(np.array(["2020"], "M8[s]")),
    "periods": pd.Series(pd.period_range("2020", periods=3, freq="Q-MAR")),
    "times": pd.Series(pd.timedelta_range("1D", periods=3)),
    "text": pd.Series(["a", None]),
}


@pytest.mark.parametrize("value", SERIES.values(), ids=SERIES.keys())
def test_series(value: Any) -> None:
    value = value.copy()
    value.attrs["k"] = [1]
    found = as_data(value)
    pd.testing.assert_series_equal(value, found, check_freq=True)
    assert (found.dtype, found.attrs, found.name) == (value.dtype, value.attrs, value.name)
    assert [type(part) for part in found] == [type(part) for part in value]


INDICES = {
    "integers": pd.Index([1, 2]),
    "text": pd.Index(["a", "b"], name="q"),
    "objects": pd.Index([1, "a", (1, 2)], dtype=object),
    "tuples": pd.Index([(1, 2), (3, 4)], tupleize_cols=False),
    "range": pd.RangeIndex(1, 10, 3, name="r"),
    "weeks": pd.date_range("2020", periods=3, freq="W-MON"),
    "hours in Paris": pd.date_range("2020-10-25", periods=5, freq="h", tz=PARIS),
    "irregular": pd.DatetimeIndex(["2020-01-01", "2020-01-05", "NaT"]),
    "times": pd.timedelta_range("1D", periods=3, freq="12h"),
    "quarters": pd.period_range("2020", periods=2, freq="Q-MAR"),
    "intervals": pd.interval_range(0.0, 3.0, closed="left", name="i"),
    "intervals of dates": pd.interval_range(pd.Timestamp("2020"), periods=2),
    "categories": pd.CategoricalIndex(list("aab"), categories=["b", "a"], ordered=True, name="c"),
    "floats": pd.Index([1.5, np.nan]),
    "truth": pd.Index([True, False]),
    "missing integers": pd.Index(pd.array([1, None], dtype="Int64")),
    "levels": pd.MultiIndex.from_arrays(
        [[1, 2], pd.to_datetime(["2020", "2021"]), pd.Categorical(["x", None])],
        names=["a", "b", None],
    ),
    "unused levels": pd.MultiIndex.from_product([[1, 2], ["a", "b"]])[:1],
}


@pytest.mark.parametrize("value", INDICES.values(), ids=INDICES.keys())
def test_indices(value: Any) -> None:
    found = as_data(value)
    pd.testing.assert_index_equal(value, found, exact=True)
    assert (found.dtype, list(found.names)) == (value.dtype, list(value.names))
    assert getattr(found, "freq", None) == getattr(value, "freq", None)
    if isinstance(value, pd.MultiIndex):
        assert [list(level) for level in found.levels] == [list(level) for level in value.levels]


SCALARS = [
    pd.Timestamp("2020-01-01 01:02:03.123456789"),
    pd.Timestamp("2020-10-25 00:30", tz="UTC").tz_convert("Europe/Paris"),
    pd.Timestamp("2020-10-25 01:30", tz="UTC").tz_convert(PARIS),
    pd.Timestamp("2020-01-01", tz=dt.timezone(dt.timedelta(hours=3))),
    pd.Timestamp("1500-01-01").as_unit("s"),
    pd.Timestamp("2020-01-01").replace(fold=1),
    pd.Timedelta("1D 3s 5ns"),
    pd.Timedelta(5, unit="s").as_unit("ms"),
    pd.Period("2020-03", freq="M"),
    pd.Period("2020", freq="Q-MAR"),
    pd.Interval(1, 2.5, closed="both"),
    pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021")),
]


@pytest.mark.parametrize("value", SCALARS, ids=str)
def test_scalars(value: Any) -> None:
    for found in (as_data(value), as_data([{"a": value}])[0]["a"]):
        assert type(found) is type(value)
        assert found == value
        for name in ("unit", "fold", "tz", "freq", "closed", "nanosecond"):
            assert getattr(found, name, None) == getattr(value, name, None)


def test_what_is_missing_is_one_thing() -> None:
    assert as_data([pd.NaT, pd.NA])[0] is pd.NaT
    assert as_data([pd.NaT, pd.NA])[1] is pd.NA


def test_other_zones_of_timestamps() -> None:
    tz = pytest.importorskip("dateutil.tz")
    value = pd.Timestamp("2020-01-01", tz=tz.tzoffset("X", 3600))
    series = pd.Series([value])
    found, found_series = round_trip((value, series))
    assert found == value
    assert found.utcoffset() == value.utcoffset()
    pd.testing.assert_series_equal(found_series, series)


def test_arrays_types_and_offsets() -> None:
    arrays = [pd.array([1, None]), pd.array(["a"]), pd.Categorical([1, 2, None]),
              pd.array([1.5]), pd.date_range("2020", periods=2).array]  # fmt: skip
    for value in arrays:
        found = as_data(value)
        assert type(found) is type(value)
        pd.testing.assert_extension_array_equal(found, value)
    others = [pd.CategoricalDtype(["a"], ordered=True), pd.Int64Dtype(), pd.offsets.MonthEnd(2)]
    assert round_trip(others) == others


def test_an_offset_with_holidays() -> None:
    offset = pd.offsets.CustomBusinessDay(holidays=["2020-01-01"])
    value = pd.date_range("2020", periods=3, freq=offset)
    found = round_trip(value)
    assert found.freq == offset
    pd.testing.assert_index_equal(found, value, exact=True)


def test_classes_of_users_made_from_frames() -> None:
    value = MyFrame({"a": [1, 2]})
    found = round_trip(value)
    assert type(found) is MyFrame
    assert found["a"].tolist() == [1, 2]


class MyFrame(pd.DataFrame):  # type: ignore[misc, name-defined]
    @property
    def _constructor(self) -> Any:
        return MyFrame


def test_what_hinders_a_frame_is_named() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [iter([1]), None]})
    with pytest.raises(SerializationError) as caught:
        HASHSTASH.dumps({"f": frame})
    assert caught.value.path == "value['f']['b'][0]"


# --- planted by someone else


def payload(head: str, *segments: bytes) -> bytes:
    text = f"[{head},{[len(segment) for segment in segments]}]".encode()
    return b"D" + len(text).to_bytes(8, "little") + text + b"".join(segments)


def stream(table: Any, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("tag", ["!pa.table", "!pl.frame"])
def test_compressed_buffers_are_refused(tag: str) -> None:
    if tag == "!pl.frame":
        pytest.importorskip("polars")
    table = pa.table({"a": pa.array(["x", "y"] * 500).dictionary_encode(), "b": range(1000)})
    HASHSTASH.loads(payload(f'{{"{tag}":0}}', stream(table)), trusted=False)
    for data in (stream(table, compression="zstd"), stream(table.select(["b"]), compression="lz4")):
        with pytest.raises(CorruptRowError, match="compressed"):
            HASHSTASH.loads(payload(f'{{"{tag}":0}}', data), trusted=False)


def test_types_that_unpickle_are_refused() -> None:
    field = pa.field("a", pa.int8(), metadata={
        "ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": b"cos\nx",
    })  # fmt: skip
    table = pa.table([pa.array([1], pa.int8())], schema=pa.schema([field]))
    schema = bytes(pa.schema([field]).serialize())
    for data in (
        payload('{"!pa.table":0}', stream(table)),
        payload('{"!pa.schema":0}', schema),
        payload('{"!pl.frame":0}', stream(table)),
    ):
        with pytest.raises(HashStashError, match="extension type"):
            HASHSTASH.loads(data, trusted=False)


RANGE = '{"!pd.range":[0,2,1,null]}'
ARRAY = '{"!np.array":["<i8",[2],"C",0]}'
LONG = '{"!pd.range":[0,1000000000000,1,null]}'
TWO = (1).to_bytes(8, "little") * 2


@pytest.mark.parametrize(
    "data",
    [
        payload(f'{{"!pd.block":[{RANGE},{RANGE},null,true,{ARRAY}]}}', TWO),
        payload(f'{{"!pd.block":[5,{RANGE},null,true,{ARRAY}]}}', TWO),
        payload(f'{{"!pd.frame":[{RANGE},{RANGE},null,true,{ARRAY}]}}', TWO),
        payload(f'{{"!pd.frame":[{RANGE},{RANGE},null,true,5,6]}}'),
        payload(f'{{"!pd.series":["abc",{RANGE},null,null,true]}}'),
        payload(f'{{"!pd.series":[{ARRAY},{LONG},null,null,true]}}', TWO),
        payload(f'{{"!pd.index":["DataFrame",{ARRAY},null,null]}}', TWO),
        payload(f'{{"!pd.index":["DatetimeIndex",{ARRAY},null,"os.system"]}}', TWO),
        payload(f'{{"!pd.datetimes":[{ARRAY},"Y",null]}}', TWO),
        payload(f'{{"!pd.datetimes":[{ARRAY},"ns","dateutil//etc/passwd"]}}', TWO),
        payload(f'{{"!pd.categories":[{ARRAY},{RANGE},"x"]}}', b"\xff" * 15 + b"\x7f"),
        payload(f'{{"!pd.periods":[{ARRAY},5]}}', TWO),
        payload(f'{{"!pd.masked":["integer",{ARRAY},5]}}', TWO),
        payload(f'{{"!pd.masked":["other",{ARRAY},5]}}', TWO),
        payload('{"!pd.strings":["python","NA",1,2]}'),
        payload('{"!pd.strings":["elsewhere","NA","a"]}'),
        payload(f'{{"!pd.multi":[1,null,null,{RANGE},{ARRAY}]}}', b"\xff" * 15 + b"\x7f"),
        payload(f'{{"!pd.multi":[1000000000000,null,null,{RANGE}]}}'),
        payload('{"!pd.timestamp":[5,"Y",0,null]}'),
        payload('{"!pd.period":["5","M"]}'),
        payload('{"!pd.missing":"other"}'),
        payload('{"!pa.table":0}', b""),
        payload('{"!pa.table":0}', b"garbage!" * 10),
        payload('{"!pa.table":0}', b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\x00" * 64),
        payload('{"!pl.frame":0}', b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\xff" * 64),
        payload('{"!pa.schema":0}', b"garbage!" * 10),
    ],
    ids=range(26),
)  # fmt: skip
def test_hostile_tables_are_damage(data: bytes) -> None:
    with pytest.raises(CorruptRowError):
        HASHSTASH.loads(data, trusted=False)


@pytest.mark.parametrize("tag", ["!pa.table", "!pl.frame"])
def test_changed_streams_never_crash(tag: str) -> None:
    if tag == "!pl.frame":
        pytest.importorskip("polars")
    import random

    table = pa.table(
        {"a": range(50), "b": [f"n{i}" for i in range(50)], "c": [[i] for i in range(50)]}
    )
    good, rng = stream(table), random.Random(5)
    for _ in range(500):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(HashStashError):
            HASHSTASH.loads(payload(f'{{"{tag}":0}}', bytes(data)), trusted=False)

"""Keys of numpy arrays: by what they hold, and not by how it lies in memory."""

from __future__ import annotations

import copy
import datetime as dt
from itertools import combinations
from typing import Any

import pytest

from hashstash.errors import UnstableKeyError
from hashstash.keys import stable_bytes

np = pytest.importorskip("numpy")


def all_differ(*values: Any) -> bool:
    return all(stable_bytes(a) != stable_bytes(b) for a, b in combinations(values, 2))


def all_equal(*values: Any) -> bool:
    return len({stable_bytes(value) for value in values}) == 1


def test_memory_order_and_byte_order_make_no_difference() -> None:
    a = np.arange(12.0).reshape(3, 4)
    wide = np.zeros((6, 8))
    wide[::2, ::2] = a
    assert all_equal(a, np.asfortranarray(a), wide[::2, ::2], a.astype(">f8"), a[::-1][::-1])
    assert all_equal(np.array(["ab", "c"]), np.array(["ab", "c"]).astype(">U2"))


def test_dtype_and_shape_make_a_difference() -> None:
    a = np.arange(4)
    square = a.reshape(2, 2)
    assert all_differ(
        a, square, square.T, a.reshape(4, 1), a.reshape(1, 4), a.astype("i4"), a.astype("u8"),
        a.astype("f8"), a.astype(object), a.tolist(), a.astype("M8[s]"), a.astype("M8[ms]"),
        a.astype("m8[s]"), a.astype("U1"), a.astype("S1"), a.astype("U2"), a.tobytes(),
        np.array(0), np.int64(0), 0, np.array([0]), np.array([]), np.array([[]]),
    )  # fmt: skip


def test_object_arrays_are_their_elements() -> None:
    assert all_differ(
        np.array(["a-b", "c"], object),
        np.array(["a", "b-c"], object),
        np.array([1, 2], object),
        np.array([1, 2.0], object),
        np.array([1, None], object),
        np.array([[1], [2]], object),
    )
    assert all_equal(np.array([{1, "a"}, None], object), np.array([{"a", 1}, None], object))
    with pytest.raises(UnstableKeyError):
        stable_bytes(np.array([object()], object))


def test_every_nan_is_one_nan() -> None:
    for kind in ("f2", "f4", "f8", "g"):
        assert all_equal(np.array([1, np.nan], kind), np.array([1, -np.nan], kind))
    one = np.array([complex(np.nan, 1), complex(1, np.nan)])
    assert all_equal(one, one.conj().conj(), np.array([complex(-np.nan, 1), complex(1, -np.nan)]))
    assert all_differ(one, one[::-1], np.array([np.nan, np.nan]), np.array([0.0]), np.array([-0.0]))
    with_nan = np.array([-np.nan])
    before = with_nan.tobytes()
    stable_bytes(with_nan)
    assert with_nan.tobytes() == before


def test_padding_is_no_value() -> None:
    kind = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    dirty = np.frombuffer(b"\xff" * 32, kind).copy()
    dirty["a"], dirty["b"] = 0, 0
    assert all_equal(np.zeros(2, kind), dirty)
    assert all_equal(np.zeros(2, kind)[0], dirty[0])
    one, two = np.frombuffer(b"\x00" * 32, "g").copy(), np.frombuffer(b"\xff" * 32, "g").copy()
    one[:], two[:] = 1.5, 1.5
    assert all_equal(one, two)


def test_long_doubles_to_the_last_bit() -> None:
    one = np.array([1], "g")
    assert all_differ(
        one, np.nextafter(one, np.longdouble(2)), -one, np.array([np.inf], "g"),
        np.array([-np.inf], "g"), np.array([np.nan], "g"), np.array([np.finfo("g").max]),
        np.array([np.finfo("g").tiny]), np.array([1], "f8"), np.array([1], "G"), np.longdouble(1),
    )  # fmt: skip


def test_structured_arrays() -> None:
    assert all_differ(
        np.array([(1, 2)], [("a", "i4"), ("b", "i4")]),
        np.array([(1, 2)], [("b", "i4"), ("a", "i4")]),
        np.array([(1, 2)], [("a", "i4"), ("b", "i8")]),
        np.array([(2, 1)], [("a", "i4"), ("b", "i4")]),
        np.array([((1, 2),)], [("a", "i4", (2,))]),
        np.array([(1, "x")], [("a", "i4"), ("b", object)]),
        np.array([(1, "y")], [("a", "i4"), ("b", object)]),
        np.rec.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")]),
    )
    big = np.array([(1, 2)], [("a", ">i4"), ("b", "<i4")])
    assert all_equal(big, big.astype([("a", "<i4"), ("b", ">i4")]))


def test_masked_arrays_are_what_they_show() -> None:
    assert all_equal(np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 9], mask=[0, 1]))
    assert all_equal(np.ma.array([1, 2]), np.ma.array([1, 2], mask=[False, False]))
    records = [("a", "i4"), ("b", "i4")]
    one = np.ma.array([(1, 2)], mask=[(0, 1)], dtype=records)
    assert all_equal(one, np.ma.array([(1, 9)], mask=[(0, 1)], dtype=records))
    assert all_differ(
        one, np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0]),
        np.ma.array([1, 2], mask=[0, 1], fill_value=7), np.ma.array([1, 2]), np.array([1, 2]),
    )  # fmt: skip


def test_scalars_are_kept_apart() -> None:
    assert all_differ(
        1, 1.0, True, "1", b"1", np.int64(1), np.int32(1), np.uint8(1), np.float64(1),
        np.float32(1), np.bool_(True), np.complex128(1), np.str_("1"),
        np.bytes_(b"1"), np.datetime64(1, "s"),
        np.datetime64(1, "ms"), np.timedelta64(1, "s"), np.datetime64("NaT", "s"), np.array(1),
        np.void(b"1"), dt.datetime(1970, 1, 1, 0, 0, 1),
    )  # fmt: skip
    assert all_equal(np.float64(np.nan), np.float64(-np.nan))
    assert all_equal(np.int64(1), np.arange(3)[1], np.array([1], ">i8")[0])


def test_dtypes_are_keys() -> None:
    assert all_equal(np.dtype("f8"), np.dtype(float), np.dtype("=f8"))
    assert all_differ(
        np.dtype("<i4"), np.dtype(">i4"), np.dtype("i8"), np.dtype([("a", "i4")]), np.int32,
        np.dtype([("a", ">i4")]), np.dtype(("i4", (2,))), np.dtype("M8[s]"), np.dtype("M8[ms]"),
    )  # fmt: skip


def test_random_generators_are_their_state() -> None:
    one, two = np.random.default_rng(1), np.random.default_rng(1)
    assert all_equal(one, two, copy.deepcopy(one))
    one.random()
    assert all_differ(one, two, np.random.default_rng(2), np.random.Generator(np.random.MT19937(1)))
    assert all_equal(np.random.RandomState(1), np.random.RandomState(1))
    assert all_differ(np.random.RandomState(1), np.random.RandomState(2), np.random.MT19937(1))


def test_functions_of_numpy() -> None:
    assert all_differ(np.add, np.mean, np.median, np.linalg.norm, np.ndarray, np.float64, np)


def test_a_memory_map_is_the_array(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "a", "i8", "w+", shape=(3,))
    mapped[:] = [1, 2, 3]
    assert all_equal(mapped, np.array([1, 2, 3]))
    mapped._mmap.close()


def test_subclasses_of_arrays_count_what_they_add() -> None:
    class Marked(np.ndarray):  # type: ignore[misc, name-defined]
        mark: int

    one, two = (np.arange(3).view(Marked) for _ in range(2))
    one.mark, two.mark = 1, 1
    assert all_equal(one, two)
    two.mark = 2
    assert all_differ(one, two, np.arange(3))

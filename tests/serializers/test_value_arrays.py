from __future__ import annotations

import math
from typing import Any

import pytest
from value_checks import HASHSTASH, as_data, round_trip

from hashstash.errors import CorruptRowError, SerializationError

np = pytest.importorskip("numpy")


def alike(one: Any, two: Any) -> bool:
    assert type(one) is type(two)
    assert one.dtype == two.dtype
    assert one.shape == two.shape
    for flag in ("c_contiguous", "f_contiguous"):
        if one.flags.c_contiguous or one.flags.f_contiguous:
            assert getattr(one.flags, flag) == getattr(two.flags, flag)
    assert two.flags.writeable
    assert two.flags.aligned
    assert not np.shares_memory(one, two)
    if one.dtype.names is not None:  # what is in its gaps is nobody's
        return repr(one.tolist()) == repr(two.tolist())
    return bool(one.tobytes() == two.tobytes())


def padded() -> Any:
    found = np.zeros(3, dtype=np.dtype([("a", "i1"), ("b", "f8"), ("c", "U2")], align=True))
    found["a"], found["b"], found["c"] = [1, 2, 3], [0.5, np.nan, -0.0], ["x", "é", ""]
    return found


ARRAYS = {
    "integers": np.arange(5),
    "bytes": np.arange(5, dtype=np.uint8),
    "matrix": np.arange(6.0).reshape(2, 3),
    "Fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "cube, Fortran": np.asfortranarray(np.arange(24).reshape(2, 3, 4)),
    "0-d": np.array(3.5),
    "empty": np.array([]),
    "no rows": np.empty((0, 3), np.float32),
    "no columns, Fortran": np.empty((3, 0), order="F"),
    "big endian": np.arange(3, dtype=">i4"),
    "truth": np.array([[True, False]]),
    "text": np.array(["a", "béa", ""]),
    "bytes of text": np.array([b"a", b"abc\x00d"]),
    "dates": np.array(["2020-01-01", "NaT"], "M8[D]"),
    "times": np.array(["2020-01-01T01:02:03.123456789"], "M8[ns]"),
    "steps of 25 s": np.array([1, -7], "m8[25s]"),
    "complex": np.array([1 + 2j, complex(math.nan, -0.0)]),
    "half": np.array([1.5, 65504], "f2"),
    "long double": np.array([1, 3], "g") / 3,
    "raw": np.array([b"abc", b"xyz"], "V3"),
    "specials": np.array([np.nan, -np.inf, -0.0, 5e-324]),
    "every other": np.arange(10)[::2],
    "backwards": np.arange(10)[::-1],
    "a column": np.arange(12).reshape(3, 4)[:, 1],
    "transposed cube": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "broadcast": np.broadcast_to(np.arange(3), (2, 3)),
    "records": np.array([(1, 2.5, [1, 2])], dtype=[("a", "i4"), ("b", ">f8"), ("c", "i2", (2,))]),
    "titles": np.zeros(2, dtype=[(("title", "x"), "i4"), ("y", "f8")]),
    "nested records": np.zeros(2, dtype=[("a", [("b", "i4"), ("c", "U1")])]),
    "gaps": np.zeros(
        2, {"names": ["a", "b"], "formats": ["i4", "f8"], "offsets": [8, 0], "itemsize": 24}
    ),
}


@pytest.mark.parametrize("value", ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays(value: Any) -> None:
    assert alike(value, as_data(value))
    assert alike(value, as_data({"a": (value,)})["a"][0])


def test_aligned_records() -> None:
    found = as_data(padded())
    assert found.dtype == padded().dtype
    assert found.dtype.isalignedstruct
    assert repr(found) == repr(padded())


def test_arrays_without_bytes() -> None:
    found = as_data(np.zeros(3, "V0"))
    assert (found.shape, found.dtype) == ((3,), np.dtype("V0"))


def test_the_same_array_twice_is_one() -> None:
    value = np.arange(3)
    one, two = as_data([value, value])
    assert one is two


def test_an_array_is_not_tied_to_the_payload() -> None:
    data = HASHSTASH.dumps(np.arange(3))
    found: Any = HASHSTASH.loads(data, trusted=False)
    found[0] = 7
    again: Any = HASHSTASH.loads(data, trusted=False)
    assert again[0] == 0
    assert found.flags.owndata


OBJECTS = {
    "mixed": np.array([1, "a", None, 2.5, np.nan], object),
    "lists": np.array([[1, 2], [3]], object),
    "equal lists": np.array([None, None], object),
    "matrix": np.array([[1, "b"], [None, (1, 2)]], object),
    "Fortran": np.asfortranarray(np.array([[1, 2, 3], [4, 5, 6]], object)),
    "0-d": np.array(None, object),
    "empty": np.empty((0, 2), object),
    "arrays": np.array([np.arange(3), None], object),
}
OBJECTS["equal lists"][:] = [[1, 2], [3, 4]][0], [3, 4]


@pytest.mark.parametrize("value", OBJECTS.values(), ids=OBJECTS.keys())
def test_arrays_of_objects(value: Any) -> None:
    found = as_data(value)
    assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert found.flags.f_contiguous == value.flags.f_contiguous
    assert repr(found) == repr(value)
    assert [type(part) for part in found.flat] == [type(part) for part in value.flat]


def test_an_array_in_itself() -> None:
    value = np.empty(2, object)
    value[:] = value, 1
    found = as_data(value)
    assert found[0] is found


def test_records_of_objects() -> None:
    value = np.array(
        [(1, [1]), (2, None)], dtype=[("a", "i4"), ("o", object), ("p", "O", (2,))][:2]
    )
    found = as_data(value)
    assert found.dtype == value.dtype
    assert found.tolist() == value.tolist()


def test_masked_arrays() -> None:
    value = np.ma.array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]], fill_value=9)
    found = as_data(value)
    assert type(found) is type(value)
    assert found.tolist() == value.tolist()
    assert (found.fill_value, found.hardmask) == (9, False)
    assert found.data.tolist() == value.data.tolist()
    whole = as_data(np.ma.array([1.5], hard_mask=True))
    assert whole.mask is np.ma.nomask
    assert whole.hardmask
    records = np.ma.array([(1, 2.0)], dtype=[("a", int), ("b", float)], mask=[(True, False)])
    assert as_data(records).tolist() == records.tolist()
    assert as_data([np.ma.masked])[0] is np.ma.masked


SCALARS = [
    np.float64(1.5), np.float32(0.1), np.float16(2), np.float32("nan"), np.float64("-inf"),
    np.int8(-3), np.int64(-(2**63)), np.uint64(2**64 - 1), np.bool_(True), np.complex64(1 + 2j),
    np.longdouble(1) / 3, np.str_("a\x00b\x00"), np.bytes_(b"a\x00"), np.str_("\ud800"),
    np.datetime64("2020-01-01T01:02"), np.datetime64("NaT", "D"), np.timedelta64(3, "25s"),
    np.void(b"abc"), np.zeros(2, dtype=[("a", "i4"), ("b", "f8")])[0],
]  # fmt: skip


@pytest.mark.parametrize("value", SCALARS, ids=[f"{n} {v.dtype}" for n, v in enumerate(SCALARS)])
def test_scalars(value: Any) -> None:
    for found in (as_data(value), as_data([{"a": value}])[0]["a"]):
        assert type(found) is type(value)
        assert found.dtype == value.dtype
        assert found.tobytes() == value.tobytes()
    if isinstance(value, str | bytes):
        assert len(found) == len(value)


@pytest.mark.parametrize(
    "value",
    [
        np.dtype("i4"),
        np.dtype(">f8"),
        np.dtype([("a", "i4"), ("b", "U3", (2,))]),
        np.dtype(("i4", (2, 3))),
        np.dtype("M8[us]"),
        np.dtype(object),
        np.dtype([]),
    ],
    ids=str,
)
def test_types(value: Any) -> None:
    found = as_data(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_what_needs_code() -> None:
    values = [
        np.dtype("i4", metadata={"a": 1}),
        np.add,
        np.sum,
        np.float64,
        np.matrix([[1, 2]]),
        np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
        np.arange(3).view(Tagged),
    ]
    values[-1].tag = "t"
    found = round_trip(values)
    assert found[0].metadata == {"a": 1}
    assert found[1] is np.add
    assert found[2] is np.sum
    assert found[3] is np.float64
    assert found[4].tolist() == [[1, 2]]
    assert type(found[4]) is np.matrix
    assert (type(found[5]), found[5].b[0]) == (np.recarray, 2.0)
    assert (type(found[6]), found[6].tolist()) == (Tagged, [0, 1, 2])


class Tagged(np.ndarray):  # type: ignore[misc, name-defined]
    tag: str


def test_text_of_any_length() -> None:
    dtypes = getattr(np, "dtypes", None)
    if not hasattr(dtypes, "StringDType"):
        pytest.skip("this numpy has none")
    assert dtypes is not None
    value = np.array(["a", "long" * 100], dtype=dtypes.StringDType())
    found = round_trip(value)
    assert found.dtype == value.dtype
    assert found.tolist() == value.tolist()


def test_random_numbers_go_on_as_they_would_have() -> None:
    for value in (
        np.random.default_rng(3),
        np.random.Generator(np.random.MT19937(5)),
        np.random.Generator(np.random.Philox(5)),
        np.random.Generator(np.random.SFC64(5)),
        np.random.RandomState(7),
    ):
        value.normal(size=5)
        found = round_trip([value])[0]
        assert type(found) is type(value)
        assert found.normal(size=3).tolist() == value.normal(size=3).tolist()
    generator = np.random.default_rng(1)
    found, bits = round_trip((generator, generator.bit_generator))
    assert found.bit_generator is bits
    if hasattr(bits, "seed_seq"):  # since numpy 1.25
        assert bits.seed_seq.spawn(1)[0].spawn_key == (0,)
    sequence = np.random.SeedSequence(5, spawn_key=(1,))
    assert round_trip(sequence).generate_state(2).tolist() == sequence.generate_state(2).tolist()


def test_records_that_are_mostly_gaps_are_refused() -> None:
    wide = np.dtype({"names": ["o"], "formats": ["O"], "offsets": [0], "itemsize": 10_000})
    with pytest.raises(SerializationError, match="gaps"):
        HASHSTASH.dumps(np.zeros(1, wide))


def test_what_hinders_an_array_is_named() -> None:
    value = np.array([[1, 2], [3, 4]], object)
    value[1, 0] = iter([1])
    with pytest.raises(SerializationError) as caught:
        HASHSTASH.dumps({"a": value})
    assert caught.value.path == "value['a'][1, 0]"
    records = np.array([(1, iter([1]))], dtype=[("a", "i4"), ("o", object)])
    with pytest.raises(SerializationError) as caught:
        HASHSTASH.dumps(records)
    assert caught.value.path == "value['o'][0]"


def payload(head: str, *segments: bytes) -> bytes:
    text = f"[{head},{[len(segment) for segment in segments]}]".encode()
    return b"D" + len(text).to_bytes(8, "little") + text + b"".join(segments)


@pytest.mark.parametrize(
    "data",
    [
        payload('{"!np.array":["|O",[1],"C",0]}', b"12345678"),
        payload('{"!np.array":["<i8",[2],"C",0]}', b"12345678"),
        payload('{"!np.array":["<i8",[-1],"C",0]}', b"12345678"),
        payload('{"!np.array":["<i8",[1.0],"C",0]}', b"12345678"),
        payload('{"!np.array":["<i8",[1],"C",5]}', b"12345678"),
        payload('{"!np.array":["<i8",[1],"X",0]}', b"12345678"),
        payload('{"!np.array":["<i8,<i8",[1],"C",0]}', b"12345678"),
        payload('{"!np.array":["<U0",[1000000000000],"C",0]}', b""),
        payload('{"!np.array":["<U2",[1],"C",0]}', b"\xff" * 8),
        payload('{"!np.array":[{"names":["a"],"formats":["<U1"],"offsets":[0],"titles":[null],'
                '"itemsize":4,"aligned":false},[1],"C",0]}', b"\xff" * 4),
        payload('{"!np.array":[["<i8",[1000000000000]],[0],"C",0]}', b"1"),
        payload('{"!np.array":[{"names":["a"],"formats":["|O"],"offsets":[0],"titles":[null],'
                '"itemsize":8,"aligned":false},[1],"C",0]}', b"12345678"),
        payload('{"!np.array":[{"names":["a"],"formats":["<i8"],"offsets":[4],"titles":[null],'
                '"itemsize":8,"aligned":false},[1],"C",0]}', b"12345678"),
        payload('{"!np.objects":["C",1,1000000000000]}'),
        payload('{"!np.objects":["C",2,1000000000000,1000000000000,5]}'),
        payload('{"!np.objects":["C",-1]}'),
        payload('{"!np.fields":[{"names":["a"],"formats":["|O"],"offsets":[0],"titles":[null],'
                '"itemsize":1000000000,"aligned":false},[1],"C",{"!np.objects":["C",1,1,5]}]}'),
        payload('{"!np.fields":["<i8",[1],"C"]}'),
        payload('{"!np.fields":[{"names":["a"],"formats":["|O"],"offsets":[0],"titles":[null],'
                '"itemsize":8,"aligned":false},[1000000000000],"C",{"!np.objects":["C",1,1,5]}]}'),
        payload('{"!np.masked":[[1],null,null,false]}'),
        payload('{"!np.scalar":["<f8","00"]}'),
        payload('{"!np.scalar":["|O",1]}'),
        payload('{"!np.scalar":["<i8",[1]]}'),
        payload('{"!np.scalar":["|S3",1]}'),
        payload('{"!np.scalar":["<i1",1000]}'),
        payload('{"!np.dtype":"O"}'),
        payload('{"!np.dtype":"hashstash.errors"}'),
        payload('{"!np.nothing":1}'),
        payload('[{"!np.array":["<i8",[1],"C",0]},{"!np.array":["<i8",[1],"C",0]}]', b"12345678"),
    ],
    ids=range(29),
)  # fmt: skip
def test_hostile_arrays_are_damage(data: bytes) -> None:
    with pytest.raises(CorruptRowError):
        HASHSTASH.loads(data, trusted=False)

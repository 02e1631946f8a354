from __future__ import annotations

import sys
from typing import Any

import pytest
from value_checks import as_data, round_trip

from hashstash.errors import CorruptRowError, HashStashError, SerializationError
from hashstash.serializers.hashstash import HashstashSerializer


class Simple(Exception):
    pass


class OwnSignature(Exception):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class NoArguments(Exception):
    def __init__(self, a: int, b: int) -> None:
        self.a, self.b = a, b


class OwnNew(ValueError):
    def __new__(cls, *parts: str, joined: str = "") -> Any:
        return super().__new__(cls, joined)

    def __init__(self, *parts: str, joined: str = "") -> None:
        super().__init__(joined)


class WithSlots(Exception):
    __slots__ = ("extra",)

    extra: Any


class OwnReduce(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(a)
        self.b = b

    def __reduce__(self) -> Any:
        return OwnReduce, (self.args[0], self.b)


class OwnOSError(OSError):
    def __init__(self, what: str) -> None:
        super().__init__(7, what, "file")


def same(one: BaseException, two: BaseException) -> bool:
    return (
        type(one) is type(two)
        and one.args == two.args
        and str(one) == str(two)
        and vars(one) == vars(two)
    )


BUILTIN: list[BaseException] = [
    ValueError(),
    ValueError("a", [1], {"b": (2,)}),
    KeyError("k"),
    OSError(2, "no such file", "name"),
    FileNotFoundError(2, "no such file", "a", None, "b"),
    OSError("only text"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    UnicodeEncodeError("ascii", "é", 0, 1, "bad"),
    SyntaxError("bad", ("file.py", 3, 5, "x = = 1", 3, 6)),
    StopIteration(5),
    SystemExit(3),
    KeyboardInterrupt(),
    ImportError("no", name="module", path="/x"),
    ModuleNotFoundError("no", name="module"),
    ZeroDivisionError("division by zero"),
    RecursionError("deep"),
    UserWarning("careful"),
]


@pytest.mark.parametrize("value", BUILTIN, ids=lambda value: type(value).__name__)
def test_builtin_exceptions_are_data(value: BaseException) -> None:
    found = as_data([value])[0]
    assert same(found, value)


def test_what_builtin_exceptions_know() -> None:
    found = as_data(BUILTIN)
    assert (found[3].errno, found[3].filename) == (2, "name")
    assert found[4].filename2 == "b"
    assert found[6].object == b"\xff"
    assert (found[8].lineno, found[8].text) == (3, "x = = 1")
    assert found[9].value == 5
    assert found[10].code == 3
    assert (found[12].name, found[12].path) == ("module", "/x")


def test_names_of_missing_attributes_are_kept() -> None:
    with pytest.raises(AttributeError) as caught:
        object().nothing  # type: ignore[attr-defined] # noqa: B018
    assert as_data(caught.value).name == "nothing"
    with pytest.raises(NameError) as other:
        nowhere  # type: ignore[name-defined] # noqa: B018, F821
    assert as_data(other.value).name == "nowhere"


USERS: list[BaseException] = [
    Simple("a", 1),
    OwnSignature(5, detail="x"),
    NoArguments(1, 2),
    OwnNew("a", "b", joined="ab"),
    OwnReduce(1, 2),
    OwnOSError("what"),
    SerializationError("text", "value.a"),
    CorruptRowError("text", stage="row"),
]


@pytest.mark.parametrize("value", USERS, ids=lambda value: type(value).__name__)
def test_exceptions_of_users(value: BaseException) -> None:
    found = round_trip([value])[0]
    assert same(found, value)
    if isinstance(value, OSError):
        assert (found.errno, found.filename) == (7, "file")


def test_slots_of_exceptions() -> None:
    value = WithSlots("a")
    value.extra = [1]
    assert round_trip(value).extra == [1]


def test_local_exceptions() -> None:
    class Local(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(a)
            self.b = b

    found = round_trip(Local(1, 2))
    assert type(found) is Local
    assert (found.args, found.b) == ((1,), 2)


def test_causes_contexts_and_notes() -> None:
    try:
        try:
            try:
                raise KeyError("inner")
            except KeyError:
                raise OwnSignature(1, detail="context")  # noqa: B904 - it is its context
        except OwnSignature as exc:
            raise ValueError("outer") from exc
    except ValueError as exc:
        value = exc
    value.__notes__ = ["a note"]
    found = round_trip(value)
    assert same(found, value)
    assert type(found.__cause__) is OwnSignature
    assert found.__context__ is found.__cause__
    assert found.__suppress_context__
    assert type(found.__cause__.__context__) is KeyError
    assert not found.__cause__.__suppress_context__
    assert found.__notes__ == ["a note"]
    assert found.__traceback__ is None


def test_a_cause_of_an_exception_that_reduces_itself() -> None:
    value = OwnReduce(1, 2)
    value.__cause__ = ValueError("why")
    found = round_trip(value)
    assert found.__cause__.args == ("why",)


def test_an_exception_that_holds_itself() -> None:
    value = Simple("a")
    value.me = [value]  # type: ignore[attr-defined]
    found = round_trip(value)
    assert found.me[0] is found


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups came with Python 3.11")
def test_groups() -> None:
    value = ExceptionGroup("all", [ValueError(1), ExceptionGroup("some", [KeyError(2)])])  # noqa: F821
    found = as_data(value)
    assert found.message == "all"
    assert found.exceptions[0].args == (1,)
    assert found.exceptions[1].exceptions[0].args == (2,)


def test_what_hinders_an_exception_is_named() -> None:
    value = Simple("a")
    value.connection = iter([])  # type: ignore[attr-defined]
    with pytest.raises(SerializationError) as caught:
        HashstashSerializer().dumps({"error": value})
    assert caught.value.path == "value['error'].connection"
    value = Simple([iter([])])
    with pytest.raises(SerializationError) as caught:
        HashstashSerializer().dumps({"error": value})
    assert caught.value.path == "value['error'].args[0][0]"


@pytest.mark.parametrize(
    "head",
    [
        b'{"!exception":[{"!type":"int"},{"!tuple":[]},null,null,false,{}]}',
        b'{"!exception":[{"!type":"BaseException"},5,null,null,false,{}]}',
        b'{"!exception":[5,{"!tuple":[]},null,null,false,{}]}',
        b'{"!exception":[{"!type":"ValueError"},{"!tuple":[]},5,null,false,{}]}',
        b'{"!exception":[{"!type":"ValueError"},{"!tuple":[]},null,null,false,5]}',
        b'{"!exception":[{"!type":"UnicodeDecodeError"},{"!tuple":[1]},null,null,false,{}]}',
        b'{"!exception":[]}',
    ],
)
def test_hostile_exceptions_are_damage(head: bytes) -> None:
    text = b"[" + head + b",[]]"
    with pytest.raises(HashStashError):
        HashstashSerializer().loads(b"D" + len(text).to_bytes(8, "little") + text, trusted=False)

# ruff: noqa: RUF012 - classes as users write them
from __future__ import annotations

import abc
import dataclasses
import functools
import gc
import typing
import weakref
from typing import Any, Generic, Protocol, TypeVar

import pytest
from value_checks import HASHSTASH, forget, round_trip

from hashstash.errors import SerializationError
from hashstash.serializers.hashstash_format import classes as stored_classes

T = TypeVar("T")
LIMIT = 3


def plain() -> type:
    class Local:
        """Say something."""

        kind = ["a"]
        limit = LIMIT

        def __init__(self, n: int) -> None:
            self.n = n

        def __eq__(self, other: object) -> bool:
            return type(other) is type(self) and other.n == self.n

        def __hash__(self) -> int:
            return hash(self.n)

        def method(self) -> tuple[int, list[str]]:
            return self.n + LIMIT, self.kind

        @property
        def double(self) -> int:
            return self.n * 2

        @classmethod
        def make(cls, n: int) -> Any:
            return cls(n)

        @staticmethod
        def helper(x: int) -> int:
            return x + 1

        @functools.cached_property
        def slow(self) -> int:
            return self.__secret()

        def __secret(self) -> int:
            return 42

        class Inner:
            inner = 1

    return Local


def test_the_class_itself_comes_back_where_it_lives() -> None:
    local = plain()
    found = round_trip([local, local(1)])
    assert found[0] is local
    assert found[1] == local(1)
    other = plain()
    assert round_trip(other) is other


def test_two_classes_of_one_source_are_two() -> None:
    one, two = plain(), plain()
    assert round_trip((one, two)) == (one, two)


def test_a_class_is_rebuilt_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    local = plain()
    local.kind.append("b")  # type: ignore[attr-defined]
    found_class, found = forget((local, local(5)), monkeypatch)
    assert found_class is not local
    assert type(found) is found_class
    assert found.method() == (8, ["a", "b"])
    assert (found.double, found.helper(1), found.slow) == (10, 2, 42)
    assert found_class.make(5) == found
    assert found_class.Inner.inner == 1
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(found_class, name) == getattr(local, name)


def test_values_written_apart_share_their_class(monkeypatch: pytest.MonkeyPatch) -> None:
    local = plain()
    one, two = HASHSTASH.dumps(local(1)), HASHSTASH.dumps(local(2))
    monkeypatch.setattr(stored_classes, "_living", weakref.WeakValueDictionary())
    first: Any = HASHSTASH.loads(one, trusted=True)
    second: Any = HASHSTASH.loads(two, trusted=True)
    assert type(first) is type(second) is not local
    third: Any = HASHSTASH.loads(HASHSTASH.dumps(first), trusted=True)
    assert third == first


def test_a_rebuilt_class_can_be_stored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = plain()(5)
    for _ in range(3):
        data = HASHSTASH.dumps(found)
        monkeypatch.setattr(stored_classes, "_living", weakref.WeakValueDictionary())
        before, found = found, HASHSTASH.loads(data, trusted=True)
        assert type(found) is not type(before)
        assert b'"!class"' in data
        assert b"dynamic" not in data
    assert found.method() == (8, ["a"])


def test_classes_are_not_kept_alive() -> None:
    local = plain()
    round_trip(local(1))
    reference = weakref.ref(local)
    del local
    gc.collect()
    assert reference() is None


@dataclasses.dataclass
class Base:
    a: int


def test_dataclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(order=True)
    class Local(Base):
        b: list[int] = dataclasses.field(default_factory=list, compare=False)
        c: str = "c"

    found = forget(Local(1, [2]), monkeypatch)
    assert isinstance(found, Base)
    assert repr(found) == repr(Local(1, [2]))
    assert dataclasses.asdict(found) == {"a": 1, "b": [2], "c": "c"}
    made: Any = type(found)
    assert made(1) < made(2)
    assert made(1).b is not made(1).b
    assert dataclasses.replace(found, a=5).a == 5


def test_dataclasses_with_marks_in_text(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Local:
        a: int
        shared: typing.ClassVar[int] = 5
        b: dataclasses.InitVar[int] = 1

        def __post_init__(self, b: int) -> None:
            self.sum = self.a + b

    found = forget(Local(1, 2), monkeypatch)
    assert (found.sum, found.shared) == (3, 5)
    assert [field.name for field in dataclasses.fields(found)] == ["a"]
    assert type(found)(4).sum == 5


def test_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local:
        __slots__ = ("__hidden", "a")

        def __init__(self, a: int) -> None:
            self.a, self.__hidden = a, a + 1

        def hidden(self) -> int:
            return self.__hidden

    found = forget(Local(1), monkeypatch)
    assert (found.a, found.hidden()) == (1, 2)
    assert not hasattr(found, "__dict__")


def test_inheritance_and_super(monkeypatch: pytest.MonkeyPatch) -> None:
    class Parent:
        def __init__(self, n: int) -> None:
            self.n = n

        def who(self) -> str:
            return f"parent {self.n}"

    class Child(Parent):
        def who(self) -> str:
            return "child of " + super().who()

        def again(self) -> Any:
            return Child(self.n + 1)

    found = forget(Child(1), monkeypatch)
    assert found.who() == "child of parent 1"
    assert type(found.again()) is type(found)
    assert type(found).__mro__[1].__name__ == "Parent"


def test_abstract_and_generic_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self) -> float: ...

    class Square(Shape):
        def __init__(self, side: float) -> None:
            self.side = side

        def area(self) -> float:
            return self.side**2

    class Box(Generic[T]):
        def __init__(self, content: T) -> None:
            self.content = content

    class Named(Protocol):
        name: str

    square, box, shape, named = forget((Square(3), Box[int](5), Shape, Named), monkeypatch)
    assert square.area() == 9
    assert isinstance(square, shape)
    with pytest.raises(TypeError, match="abstract"):
        shape()
    assert box.content == 5
    assert type(box)[int].__origin__ is type(box)
    assert named.__name__ == "Named"


def test_metaclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    class Meta(type):
        def __new__(cls, name: str, bases: Any, names: Any) -> Any:
            return super().__new__(cls, name, bases, {**names, "made": name.lower()})

        def __len__(cls) -> int:
            return 7

    class Local(metaclass=Meta):
        pass

    found = forget(Local(), monkeypatch)
    assert type(found).made == "local"
    made: Any = type(found)
    assert len(made) == 7
    assert type(type(found)).__name__ == "Meta"


def test_classes_that_were_changed_since(monkeypatch: pytest.MonkeyPatch) -> None:
    local = plain()
    local.method = lambda self: ("changed", self.n)  # type: ignore[attr-defined]
    local.extra = lambda self: "extra"  # type: ignore[attr-defined]
    local.limit = 99  # type: ignore[attr-defined]
    found = forget(local(1), monkeypatch)
    assert (found.method(), found.extra(), found.limit) == (("changed", 1), "extra", 99)
    local.late = lambda self: "late"  # type: ignore[attr-defined]
    assert forget(local(1), monkeypatch).late() == "late"


def test_classes_made_by_type(monkeypatch: pytest.MonkeyPatch) -> None:
    local = type("Made", (Base,), {"k": [1], "f": lambda self: self.a + self.k[0]})
    found = forget(local(5), monkeypatch)
    assert found.f() == 6
    assert isinstance(found, Base)


def test_classes_made_of_what_a_function_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(base: type, number: int, mark: Any) -> type:
        class Local(base):  # type: ignore[misc]
            value = number
            marked = mark(number)

            def get(self) -> int:
                return number + LIMIT

        return Local

    class Parent:
        def up(self) -> str:
            return "up"

    one = make(Parent, 5, lambda n: (n, "marked"))
    found = forget(one(), monkeypatch)
    assert (found.value, found.marked, found.get(), found.up()) == (5, (5, "marked"), 8, "up")


def test_a_class_that_has_the_name_of_its_base(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local:
        def who(self) -> str:
            return "first"

    class Local(Local):  # type: ignore[no-redef]
        def who(self) -> str:
            return super().who() + " and second"

    assert forget(Local(), monkeypatch).who() == "first and second"


def test_classes_that_refer_to_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Egg:
        def hatch(self) -> Any:
            return Hen()

    class Hen:
        def lay(self) -> Any:
            return Egg()

    egg = forget(Egg(), monkeypatch)
    assert type(egg.hatch().lay()) is type(egg)


def test_cells_are_shared_between_a_class_and_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    total = 0

    class Adder:
        def add(self) -> None:
            nonlocal total
            total += 1

    def read() -> int:
        return total

    adder, found = forget((Adder(), read), monkeypatch)
    adder.add()
    assert (found(), read()) == (1, 0)


def test_attrs_and_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    attrs = pytest.importorskip("attrs")
    pydantic = pytest.importorskip("pydantic")

    @attrs.define
    class Point:
        x: int
        y: list[int] = attrs.Factory(list)

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        name: str

    make: Any = Point
    point, model = round_trip((make(1), Model(name="n")))
    assert (point, model) == (make(1), Model(name="n"))
    point = forget(make(1, [2]), monkeypatch)
    assert attrs.asdict(point) == {"x": 1, "y": [2]}


def test_instances_of_type_variables_and_new_types(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = TypeVar("bound", bound=int)
    user = typing.NewType("user", int)
    found = round_trip([bound, user, T])
    assert (found[0].__name__, found[0].__bound__) == ("bound", int)
    assert found[1](5) == 5
    assert found[1].__supertype__ is int
    assert found[2] is T


def test_what_a_class_holds_is_named() -> None:
    local = type("Made", (), {"handle": iter([1])})
    with pytest.raises(SerializationError) as caught:
        HASHSTASH.dumps({"a": local()})
    assert caught.value.path == "value['a'].__class__.handle"

# ruff: noqa: PIE796, PYI024, SLOT000, SLOT001, UP045 - classes as users write them
"""Objects of every kind of class."""

from __future__ import annotations

import collections
import contextlib
import copyreg
import dataclasses
import decimal
import enum
import functools
import http
import logging
import operator
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple


@dataclasses.dataclass
class Point:
    x: int
    y: list[int] = dataclasses.field(default_factory=list)
    kind: typing.ClassVar[str] = "point"


@dataclasses.dataclass(frozen=True, order=True)
class Frozen:
    name: str
    parts: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    name: str
    more: dict[str, int]


class Slots:
    __slots__ = ("__weakref__", "a", "b")

    def __init__(self, a: Any) -> None:
        self.a = a


class MoreSlots(Slots):
    __slots__ = ("_MoreSlots__c", "d")

    def __init__(self, a: Any, d: Any) -> None:
        super().__init__(a)
        self.__c, self.d = 3, d  # type: ignore[misc]

    def c(self) -> int:
        return self.__c


class SlotsAndDict(Slots):
    pass


class WithState:
    def __init__(self, path: str) -> None:
        self.path, self.handle = path, object()

    def __getstate__(self) -> str:
        return self.path

    def __setstate__(self, state: str) -> None:
        self.__init__(state)  # type: ignore[misc]


class FalseState:
    def __getstate__(self) -> int:
        return 0

    def __setstate__(self, state: int) -> None:
        self.state = state


class Reduced:
    def __init__(self, *args: Any) -> None:
        self.args = args

    def __reduce__(self) -> Any:
        return Reduced, self.args


class ByKeyword:
    def __new__(cls, *, size: int, name: str = "") -> Any:
        self = super().__new__(cls)
        self.size, self.name = size, name
        return self

    size: int
    name: str

    def __getnewargs_ex__(self) -> Any:
        return (), {"size": self.size, "name": self.name}


class OwnSetter:
    def __init__(self) -> None:
        self.seen: Any = None

    def __reduce__(self) -> Any:
        return OwnSetter, (), {"seen": self.seen}, None, None, set_it


def set_it(value: OwnSetter, state: dict[str, Any]) -> None:
    value.seen = ("set", state["seen"])


class Registered:
    def __init__(self, n: int) -> None:
        self.n = n


copyreg.pickle(Registered, lambda value: (Registered, (value.n + 1,)))


class MyList(list[Any]):
    pass


class MyDict(dict[Any, Any]):
    pass


class MySet(set[Any]):
    pass


class MyTuple(tuple[Any, ...]):
    pass


class MyInt(int):
    pass


class MyFloat(float):
    pass


class MyStr(str):
    pass


class MyBytes(bytes):
    pass


class MyDeque(collections.deque[Any]):
    pass


class MyDefault(collections.defaultdict[Any, Any]):
    pass


class Pair(NamedTuple):
    left: Any
    right: Any = None

    def both(self) -> list[Any]:
        return [self.left, self.right]


Coordinates = collections.namedtuple("Coordinates", "x y", defaults=[0])


class Color(enum.Enum):
    RED = 1
    GREEN = "green"
    ALSO_RED = 1


class Size(enum.IntEnum):
    SMALL = 1


class Word(str, enum.Enum):
    HELLO = "hello"


class Permission(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Mode(enum.IntFlag):
    X = 1
    Y = 4


class Planet(enum.Enum):
    EARTH = (5.976e24, 6.37814e6)

    def __init__(self, mass: float, radius: float) -> None:
        self.mass, self.radius = mass, radius


class Outer:
    class Inner:
        def __init__(self, n: int) -> None:
            self.n = n

        class Deep(enum.Enum):
            A = 1


class Countdown:
    """An iterator with a state that can be kept."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.n -= 1
        return self.n


class Plain:
    pass


def with_attributes(value: Any, **attributes: Any) -> Any:
    vars(value).update(attributes)
    return value


def slots_and_dict() -> SlotsAndDict:
    found: SlotsAndDict = with_attributes(SlotsAndDict(1), more=[2])
    return found


OBJECTS: list[Any] = [
    Point(1, [2]),
    Frozen("a", (1,)),
    FrozenSlots("a", {"b": 1}),
    Slots([1]),
    MoreSlots(1, {2}),
    slots_and_dict(),
    Reduced(1, [2]),
    ByKeyword(size=3, name="n"),
    MyList([1, [2]]),
    with_attributes(MyList([1]), note="n"),
    MyDict({1: 2, "a": []}),
    with_attributes(MyDict(a=1), note=[1]),
    MySet([1, 2]),
    MyTuple((1, [2])),
    with_attributes(MyTuple((1,)), note=1),
    MyInt(5),
    with_attributes(MyInt(2**80), note=1),
    MyFloat(1.5),
    MyFloat("nan"),
    MyStr("a"),
    MyBytes(b"a"),
    MyDeque([1, 2], 5),
    MyDefault(list, {1: [2]}),
    Pair(1, [2]),
    Coordinates(1),
    Color.RED,
    Color.ALSO_RED,
    Color.GREEN,
    Size.SMALL,
    Word.HELLO,
    Permission.READ | Permission.WRITE,
    Permission(0),
    Mode.X | Mode.Y,
    Mode(16),
    Planet.EARTH,
    http.HTTPStatus.NOT_FOUND,
    Outer.Inner(3),
    Outer.Inner.Deep.A,
    Plain(),
    Countdown(3),
    with_attributes(Plain(), **{"not an identifier": 1, "é": 2}),
    functools.partial(int, "11", base=2),
    operator.itemgetter(1, "a"),
    operator.attrgetter("a.b"),
    operator.methodcaller("f", 1, k=2),
    decimal.Context(prec=5),
    typing.Any,
    typing.Optional[int],
    list[int],
    typing.Callable[[int], str],
    typing.Literal["a", 1],
    collections.abc.Callable[[int], str],
    collections.UserDict({"a": 1}),
    logging.getLogger("hashstash.test"),
    dataclasses.MISSING,
    dataclasses.field(default=3),
]
NAMES = [f"{number} {type(value).__name__}" for number, value in enumerate(OBJECTS)]


with contextlib.suppress(ImportError):
    import attrs

    @attrs.define
    class AttrsPoint:
        x: int
        y: list[int]

    @attrs.frozen
    class AttrsFrozen:
        name: str


with contextlib.suppress(ImportError):
    import datetime as dt

    import pydantic

    class Part(pydantic.BaseModel):
        n: int

    class Model(pydantic.BaseModel):
        name: str
        when: dt.datetime
        parts: list[Part] = []

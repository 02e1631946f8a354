"""Classes and functions whose keys are compared between processes and Python versions."""

from __future__ import annotations

import collections
import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Color(enum.Enum):
    RED = 1
    GREEN = 2
    CRIMSON = 1  # noqa: PIE796 - an alias


class Number(enum.IntEnum):
    ONE = 1


class Permission(enum.Flag):
    READ = 1
    WRITE = 2
    ALL = 3


class Mode(enum.IntFlag):
    A = 1
    B = 2


@dataclass
class Point:
    x: int
    y: Any = 0


@dataclass(frozen=True)
class Frozen:
    name: str
    tags: frozenset[str] = field(default_factory=frozenset)


class Named(NamedTuple):
    a: int
    b: str = "b"


Old = collections.namedtuple("Old", "a b")  # noqa: PYI024 - the older kind is meant


class Plain:
    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)

    def method(self) -> int:
        return 1

    @classmethod
    def make(cls) -> Plain:
        return cls()


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: object) -> None:
        self.a = a


class Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "constant"


class Whole(int):
    pass


class Pairs(dict[Any, Any]):
    pass


class Row(list[Any]):
    pass


class Bag(set[Any]):
    pass


class FrozenBag(frozenset[Any]):
    pass


class Failure(Exception):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)


class Reduced:
    def __init__(self, *parts: object) -> None:
        self.parts = parts
        self.cache = object()

    def __reduce__(self) -> tuple[Any, ...]:
        return Reduced, self.parts


class Hooked:
    def __init__(self, name: object, connection: object = None) -> None:
        self.name, self.connection = name, connection

    def __stable_key__(self) -> object:
        return self.name


def add(x: int, y: int = 2, *, z: int = 3) -> int:
    """Add.

    And say so.
    """
    return x + y + z


def closing_over(n: object) -> Callable[[], object]:
    def closed() -> object:
        return n

    return closed


def recursive() -> Callable[[int], int]:
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    return factorial


def mutual() -> Callable[[int], bool]:
    def even(n: int) -> bool:
        return not n or odd(n - 1)

    def odd(n: int) -> bool:
        return bool(n) and even(n - 1)

    return even


def local_class(n: int) -> type:
    class Local:
        def get(self) -> int:
            return n

    return Local


PAIR = (lambda x: x + 1, lambda x: x + 100)
DEFAULTS = [lambda x, n=i: x + n for i in (1, 100)]
SETS = lambda x: x in {"a", "b", "c", "d"}


@functools.lru_cache(maxsize=7)
def cached(x: int) -> int:
    return x


def cycle() -> list[Any]:
    found: list[Any] = [1]
    found.append(found)
    return found


def nested(depth: int, innermost: object = ()) -> object:
    found: object = innermost
    for _ in range(depth):
        found = [found]
    return found

# ruff: noqa: PIE796 - classes as users write them
from __future__ import annotations

import collections
import enum
from typing import NamedTuple

import pytest
from value_checks import forget, round_trip


def test_enums(monkeypatch: pytest.MonkeyPatch) -> None:
    class Color(enum.Enum):
        RED = 1
        ALSO_RED = 1
        BLUE = "blue"

        def loud(self) -> str:
            return self.name + "!"

    class Right(enum.Flag):
        READ = enum.auto()
        WRITE = enum.auto()

    assert round_trip([Color.BLUE, Right.READ | Right.WRITE]) == [
        Color.BLUE, Right.READ | Right.WRITE,
    ]  # fmt: skip
    blue, both, color = forget((Color.BLUE, Right.READ | Right.WRITE, Color), monkeypatch)
    assert blue is color.BLUE
    assert blue.loud() == "BLUE!"
    assert color.ALSO_RED is color.RED
    assert both.value == 3


def test_enums_and_tuples_made_by_calling(monkeypatch: pytest.MonkeyPatch) -> None:
    size = enum.Enum("size", "SMALL LARGE")
    mask = enum.IntFlag("mask", {"A": 1, "B": 4})
    pair = collections.namedtuple("pair", "left right", defaults=[5])  # noqa: PYI024
    value = (size.SMALL, mask.A | mask.B, pair(1))
    assert round_trip(value) == value
    small, both, one = forget(value, monkeypatch)
    assert (small.name, small.value, both.value) == ("SMALL", 1, 5)
    assert type(small) is not size
    assert (one.left, one.right, type(one)._fields) == (1, 5, ("left", "right"))
    assert type(one)(3) == (3, 5)
    again = forget((small, one), monkeypatch)
    assert again[1] == (1, 5)


def test_named_tuples(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(NamedTuple):
        a: int
        b: str = "b"

        def both(self) -> str:
            return f"{self.a}{self.b}"

    found = forget(Local(1), monkeypatch)
    assert found == (1, "b")
    assert found.both() == "1b"
    assert found._replace(a=2).both() == "2b"

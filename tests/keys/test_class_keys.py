"""Keys of classes that attrs and pydantic make."""

from __future__ import annotations

import copy
from itertools import combinations
from typing import Any

import key_samples as s
import pytest

from hashstash.keys import stable_bytes

attrs = pytest.importorskip("attrs")
pydantic = pytest.importorskip("pydantic")


@attrs.define
class Made:
    x: Any
    y: Any = None


@attrs.define
class Same:
    x: Any
    y: Any = None


Attrs: Any = Made
Other: Any = Same


class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    model_config = pydantic.ConfigDict(extra="allow")
    x: int
    y: tuple[int, ...] = ()
    _secret: int = pydantic.PrivateAttr(default=0)


class Derived(Model):
    z: int = 0


def all_differ(*values: Any) -> bool:
    return all(stable_bytes(a) != stable_bytes(b) for a, b in combinations(values, 2))


def test_classes_and_fields_are_kept_apart() -> None:
    values = [
        Attrs(1), Attrs(2), Attrs(1, 2), Attrs(1.0), Other(1), s.Point(1), {"x": 1, "y": None},
        Model(x=1), Model(x=2), Model(x=1, y=(1,)), Model(x=1, w=1), Model(x=1, w=2), Derived(x=1),
    ]  # fmt: skip
    assert all_differ(*values)
    for value in values:
        assert stable_bytes(copy.deepcopy(value)) == stable_bytes(value)


def test_whether_a_default_was_given_makes_no_difference() -> None:
    assert stable_bytes(Model(x=1)) == stable_bytes(Model(x=1, y=()))
    assert stable_bytes(Attrs(1)) == stable_bytes(Attrs(1, None))


def test_private_attributes_count() -> None:
    one, two = Model(x=1), Model(x=1)
    assert stable_bytes(one) == stable_bytes(two)
    two._secret = 1
    assert stable_bytes(one) != stable_bytes(two)

"""Stored values are readable for ever: these payloads were written once and are never changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from golden_values import CHECKS, RECORDED, SETS, namespace
from value_checks import HASHSTASH

from hashstash.serializers.likeness import unlike

GOLDEN: dict[str, Any] = json.loads(RECORDED.read_text())


def test_every_expression_is_recorded_and_none_is_lost() -> None:
    for name, expressions in SETS.items():
        assert list(GOLDEN[name]) == expressions.strip().split("\n")


@pytest.mark.parametrize("expression", GOLDEN["data"])
def test_golden_data(expression: str) -> None:
    found = HASHSTASH.loads(bytes.fromhex(GOLDEN["data"][expression]), trusted=False)
    assert unlike(eval(expression, namespace("data")), found) is None


@pytest.mark.parametrize("name", ["numpy", "pandas", "pyarrow"])
def test_golden_tables(name: str) -> None:
    pytest.importorskip(name)
    for expression, data in GOLDEN[name].items():
        found: Any = HASHSTASH.loads(bytes.fromhex(data), trusted=False)
        value = eval(expression, namespace(name))
        assert type(found) is type(value), expression
        if name == "pyarrow":
            assert found.equals(value)
            continue
        assert repr(found) == repr(value), expression
        if not isinstance(value, list):
            assert getattr(found, "dtype", None) == getattr(value, "dtype", None)


def test_a_golden_program() -> None:
    found = HASHSTASH.loads(bytes.fromhex(GOLDEN["program"]), trusted=True)
    for check in CHECKS.strip().split("\n"):
        assert eval(check, {"found": found}), check

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from value_checks import HASHSTASH, round_trip

from hashstash.errors import DecodeError, SerializationError
from hashstash.serializers.hashstash_format import functions as stored_functions


def without_source() -> Callable[[int], int]:
    names: dict[str, Any] = {"__name__": "nowhere", "K": 4}
    exec("def f(x, y=[1]):\n    return x + K + len(y)", names)
    found: Callable[[int], int] = names["f"]
    return found


def test_without_source_it_is_code() -> None:
    data = HASHSTASH.dumps(without_source())
    assert HASHSTASH.loads(data, trusted=True)(1) == 6  # type: ignore[operator]


def test_code_of_another_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_functions, "_PYTHON", "cpython-399 00")
    data = HASHSTASH.dumps([without_source()])
    monkeypatch.undo()
    with pytest.raises(DecodeError, match=r"cpython-399.*store it again"):
        HASHSTASH.loads(data, trusted=True)


# --- what is not there


def test_a_module_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soon_gone.py").write_text("def f():\n    return 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import soon_gone  # type: ignore[import-not-found]

    data = HASHSTASH.dumps({"f": soon_gone.f})
    del soon_gone.f
    with pytest.raises(DecodeError, match=r"soon_gone\.f, which is no longer there"):
        HASHSTASH.loads(data, trusted=True)
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "soon_gone")
    with pytest.raises(DecodeError, match=r"soon_gone.*sys\.path"):
        HASHSTASH.loads(data, trusted=True)


def test_a_module_made_by_hand_is_refused() -> None:
    with pytest.raises(SerializationError, match="made_by_hand"):
        HASHSTASH.dumps(types.ModuleType("made_by_hand"))


def test_wrappers_as_values() -> None:
    values = {
        "p": property(lambda self: 1, doc="d"),
        "s": staticmethod(lambda: 2),
        "c": classmethod(lambda cls: cls),
        "k": functools.cached_property(lambda self: 3),
    }
    made = type("Made", (), round_trip(values))
    assert (made().p, made.s(), made.c(), made.p.__doc__) == (1, 2, made, "d")  # type: ignore[attr-defined]

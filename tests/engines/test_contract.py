"""Every registered engine is tested by the contract, and its class says what it promises."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from hashstash.engines import ENGINES, Engine, Place
from hashstash.errors import MissingDependencyError
from hashstash.testing.engine import EngineContract, missing
from hashstash.testing.samples import hostile_keys, is_sealed, keys_of_every_length, sealed_row


def contracts() -> dict[str, list[str]]:
    """Return the engines named by heirs of EngineContract in this folder, with their files."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "EngineContract" in map(ast.unparse, node.bases):
                for line in node.body:
                    if (
                        isinstance(line, ast.Assign)
                        and ast.unparse(line.targets[0]) == "engine_name"
                    ):
                        found.setdefault(ast.literal_eval(line.value), []).append(path.name)
    return found


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_engine_has_a_contract(name: str) -> None:
    assert f"test_{name}.py" in contracts().get(name, [])


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_classes(name: str, tmp_path: Path) -> None:
    try:
        found = ENGINES.load(name)
    except MissingDependencyError as exc:
        missing(exc)
    assert issubclass(found, Engine)
    assert not inspect.isabstract(found)
    assert found.name == name
    assert found.title
    assert found.durabilities <= {"process", "system"}
    assert found.durabilities
    assert not (found.remote and found.private)
    parameters = list(inspect.signature(found).parameters.values())
    assert parameters[0].name == "place"
    assert all(option.kind is option.KEYWORD_ONLY for option in parameters[1:])
    assert all(option.default is not option.empty for option in parameters[1:])
    if not found.remote:  # those need an address
        engine = found(Place(str(tmp_path / name), name))
        assert engine.location
        assert list(tmp_path.iterdir()) == []


def test_the_contract_needs_pytest_alone() -> None:
    """A plug-in's author inherits it without our own fixtures or plug-ins."""
    fixtures = {"engine", "spec", "shared", "at", "tmp_path", "self"}
    for name, test in inspect.getmembers(EngineContract, inspect.isfunction):
        if name.startswith("test_"):
            marks = getattr(test, "pytestmark", [])
            given = {mark.args[0] for mark in marks if mark.name == "parametrize"}
            assert set(inspect.signature(test).parameters) <= fixtures | given
            assert {mark.name for mark in marks} <= {"parametrize", "skipif"}


def test_samples() -> None:
    keys = [*hostile_keys(), *keys_of_every_length()]
    assert {len(key) for key in keys} == set(range(1, 101))
    row = sealed_row(b"key")
    assert is_sealed(b"key", row)
    assert not is_sealed(b"other", row)
    assert not is_sealed(b"key", row[:-1])
    assert sealed_row(b"key") != row

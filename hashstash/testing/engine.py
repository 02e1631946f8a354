"""The contract of engines as tests: a new engine inherits them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hashstash.engines import ENGINES, Engine, Place
from hashstash.errors import EngineUnavailableError, MissingDependencyError

from .engine_crowds import CrowdTests
from .engine_iteration import IterationTests
from .engine_kills import KillTests
from .engine_places import PlaceTests
from .engine_rows import RowTests
from .engine_swaps import SwapTests
from .engine_transactions import TransactionTests
from .samples import make_row
from .work import EngineSpec

__all__ = ["EngineContract", "EngineSpec", "make_row", "missing"]


def missing(exc: Exception) -> None:
    """Skip a test whose package or server is not there; fail it where CI says all must be.

    Args:
        exc: the error that says what is missing.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI runs everything: {exc}")
    pytest.skip(str(exc))


class EngineContract(
    RowTests, SwapTests, IterationTests, PlaceTests, TransactionTests, CrowdTests, KillTests
):
    """Everything that HashStash relies on an engine for.

    Inherit it in a test module and set ``engine_name`` to a registered name, or
    ``engine_class`` to a class; or override the fixture ``engine``, which is given
    ``tmp_path``, builds an engine with rows of its own and destroys it afterwards. The class
    must be importable by its name, as some tests build it in another process.
    """

    engine_name: ClassVar[str] = ""
    """A registered name."""
    engine_class: ClassVar[type[Engine] | None] = None
    """The class, for an engine that is not registered."""
    options: ClassVar[dict[str, Any]] = {}
    """Keyword arguments that the class is built with."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        """An empty engine in a place of its own."""
        try:
            found = self.engine_class or ENGINES.load(self.engine_name)
            folder = tmp_path / "stash" / "main" / found.name
            engine = found(Place(str(folder), _name(tmp_path, "main")), **self.options)
            engine.contains(b"is it there?")
        except (MissingDependencyError, EngineUnavailableError) as exc:
            missing(exc)
        yield engine
        engine.destroy()

    @pytest.fixture
    def spec(self, engine: Engine) -> EngineSpec:
        """What another thread or process builds the same engine from."""
        return EngineSpec(type(engine), engine.place, self.options)

    @pytest.fixture
    def shared(self, spec: EngineSpec) -> EngineSpec:
        """The same, for tests that need rows to be seen by other processes."""
        if spec.cls.private:
            pytest.skip(f"rows of the {spec.cls.name} engine are private to the process")
        return spec

    @pytest.fixture
    def at(self, spec: EngineSpec, tmp_path: Path) -> Callable[[str], Engine]:
        """A function from a name to an engine at another place."""

        def build(name: str) -> Engine:
            folder = str(tmp_path / "places" / name / spec.cls.name)
            place = replace(spec.place, folder=folder, name=_name(tmp_path, name))
            return replace(spec, place=place).build()

        return build


def _name(tmp_path: Path, name: str) -> str:
    return f"{tmp_path.parent.name}-{tmp_path.name}/{name}"

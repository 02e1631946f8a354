"""Kills, crowds and reads by the thousand, on every engine that other processes share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from hashstash.engines import ENGINES, Engine, Place
from hashstash.errors import MissingDependencyError
from hashstash.testing.engine import EngineSpec, missing
from hashstash.testing.engine_kills import survive_kills
from hashstash.testing.processes import METHODS, in_processes
from hashstash.testing.samples import is_sealed, sealed_row
from hashstash.testing.work import FLEETING, STEADY, crowd

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1800)]

READS = 1_000_000


@pytest.fixture(params=sorted(ENGINES))
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EngineSpec]:
    """An empty store of each engine that lives on this machine and is not private."""
    try:
        found = ENGINES.load(request.param)
    except MissingDependencyError as exc:
        missing(exc)
    if found.private or found.remote:
        pytest.skip("its rows are not shared, or not on this machine")
    spec = EngineSpec(found, Place(str(tmp_path / "stash" / found.name), tmp_path.name))
    yield spec
    spec.build().destroy()


def test_a_thousand_kills(spec: EngineSpec, tmp_path: Path) -> None:
    survive_kills(spec, tmp_path / "log", 1000)


def test_crowds(spec: EngineSpec) -> None:
    engine = spec.build()
    engine.put_many((key, sealed_row(key)) for key in STEADY)
    engine.close()
    in_processes(METHODS[0], crowd, [(spec, n, 2000, 1500) for n in range(8)], patience=1500)
    assert set(STEADY) <= set(engine.keys()) <= {*STEADY, *FLEETING, b"counter"}


def overwrite_until_stopped(spec: EngineSpec) -> None:
    engine = spec.build()
    for number in itertools.count():
        key = STEADY[number % len(STEADY)]
        engine.put(key, sealed_row(key))
        if number % 100 == 0 and engine.contains(b"stop"):
            return


def read_and_stop(spec: EngineSpec) -> int:
    engine = spec.build()
    try:
        return sum(_is_there(engine, STEADY[number % len(STEADY)]) for number in range(READS))
    finally:
        engine.put(b"stop", b"")


def _is_there(engine: Engine, key: bytes) -> bool:
    row = engine.get(key)
    return row is not None and is_sealed(key, row)


def test_no_false_miss_in_a_million_reads(spec: EngineSpec) -> None:
    engine = spec.build()
    engine.put_many((key, sealed_row(key)) for key in STEADY)
    engine.close()
    found = in_processes(METHODS[0], _play, [(spec, n) for n in range(3)], patience=1500)
    assert found[0] == READS


def _play(spec: EngineSpec, role: int) -> int:
    if role == 0:
        return read_and_stop(spec)
    overwrite_until_stopped(spec)
    return 0

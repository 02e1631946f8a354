"""Writers that are killed at any instant: what was acknowledged is there, and nothing is torn."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hashstash import HashStash
from hashstash.errors import MissingDependencyError
from hashstash.testing.engine import missing
from hashstash.testing.processes import METHODS, Child

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")

ENGINES = ["pairtree", "sqlite", "lmdb", "diskcache", "sqlitedict"]
KEYS = [*(f"key {n}" for n in range(6)), "long " * 50]
CODECS: list[dict[str, Any]] = [{}, {"serializer": "pickle"}, {"compress": "zlib"}]
FILES = {
    "pairtree": r"data\.db(/\.locks/[0-9a-f]{2}|/(entries|versions)/[0-9a-f]{2}/[0-9a-f]+)",
    "sqlite": r"data\.db(-wal|-shm)?",
    "lmdb": r"data\.db(-lock)?",
    "diskcache": r"data\.(db|versions)/cache\.db(-wal|-shm)?",
    "sqlitedict": r"data\.db(-wal|-shm)?",
}
"""What a store has in its folder while nobody writes, and all that it may have."""

Settings = dict[str, Any]
State = dict[str, list[Any]]
"""The versions of each key; one, outside of append mode."""


# -- the writer --------------------------------------------------------------------------------


def write_for_ever(settings: Settings, log: str, seed: int) -> None:
    """Write in every way, telling of each change before it begins and when it is done."""
    chance = random.Random(seed)
    stash = HashStash(**settings, **CODECS[seed % len(CODECS)])
    told = os.open(log, os.O_WRONLY | os.O_APPEND)
    while True:
        ways = ["set", "set", "set", "update", "batch", "batch", "delete", "pop", "setdefault"]
        way = chance.choice(ways) if chance.random() < 0.98 else "clear"
        keys = chance.sample(KEYS, 3 if way in {"update", "batch"} else 1)
        items = {key: [chance.getrandbits(60), "x" * chance.choice([1, 1, 9000])] for key in keys}
        with _telling(told, way, items):
            _write(stash, way, items)


def _write(stash: HashStash, way: str, items: dict[str, Any]) -> None:
    match way:
        case "update":
            stash.update(items)
        case "batch":
            with stash.batch():
                for key, value in items.items():
                    stash[key] = value
        case "clear":
            stash.clear()
        case _:
            ((key, value),) = items.items()
            if way == "set":
                stash[key] = value
            elif way == "setdefault":
                stash.setdefault(key, value)
            elif way == "pop" or key in stash:
                stash.pop(key, None)


@contextmanager
def _telling(log: int, way: str, items: dict[str, Any]) -> Iterator[None]:
    # One call of the system each: a line is in the file or is not.
    os.write(log, json.dumps([way, items]).encode() + b"\n")
    yield
    os.write(log, b"done\n")


# -- what must be there afterwards -------------------------------------------------------------


def changed(state: State, way: str, items: dict[str, Any], *, append: bool) -> State:
    """Return what a change makes of a state."""
    state = {} if way == "clear" else dict(state)
    for key, value in items.items() if way != "clear" else ():
        if way in {"delete", "pop"}:
            state.pop(key, None)
        elif way != "setdefault" or key not in state:
            state[key] = [*(state.get(key, []) if append else []), value]
    return state


def replay(state: State, lines: list[str], *, append: bool) -> tuple[State, State | None, str]:
    """Return what was acknowledged, what may be instead, and the change that was under way."""
    possible, way = None, ""
    for line in lines:
        if line == "done":
            assert possible is not None
            state, possible = possible, None
        else:
            way, items = json.loads(line)
            possible = changed(state, way, items, append=append)
    return state, possible, way


def check(settings: Settings, sure: State, possible: State | None, way: str) -> State:
    """Open the stash anew and compare; return what is there."""
    stash = HashStash(**settings)
    found: State = {}
    for key in KEYS:
        versions = stash.get_all(key)
        assert stash.versions(key) == list(range(1, len(versions or []) + 1))
        if versions:
            found[key] = versions
            assert stash[key] == versions[-1]
    for key in KEYS:
        may_be = [sure.get(key)] + ([possible.get(key)] if possible is not None else [])
        assert found.get(key) in may_be, f"{way}: {key!r} is {found.get(key)}, not of {may_be}"
    if stash._engine.transactions and way in {"update", "batch"}:
        assert found in (sure, possible), "half a batch"
    assert stash.verify() == []
    assert sorted(stash) == sorted(found)
    assert len(stash) == len(found)
    for key in (*KEYS, "probe"):  # nothing stays locked
        HashStash(**settings, dbname="main")["probe"] = key
    del stash["probe"]
    stash.close()
    return found


def leftovers(settings: Settings) -> list[str]:
    """Return the files in the folder of a stash that do not belong there."""
    folder = Path(settings["root_dir"], "main", settings["engine"])
    files = [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()]
    return [str(path) for path in files if not re.fullmatch(FILES[settings["engine"]], str(path))]


def survive(settings: Settings, log: Path, kills: int, *, append: bool) -> None:
    chance = random.Random(kills)
    state: State = {}
    done = 0
    for number in range(kills):
        log.write_bytes(b"")
        child = Child(METHODS[0], write_for_ever, settings, str(log), number)
        while b"done" not in log.read_bytes() and child.process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.random() * 0.03)
        child.process.kill()
        assert child.wait() == -signal.SIGKILL
        lines = log.read_text().split("\n")[:-1]  # what is cut off did not begin
        done += lines.count("done")
        sure, possible, way = replay(state, lines, append=append)
        state = check(settings, sure, possible, way)
        assert leftovers(settings) == []
    assert done >= kills


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    try:
        HashStash(tmp_path, engine=request.param)
    except MissingDependencyError as exc:
        missing(exc)
    return str(request.param)


@pytest.mark.parametrize("append", [False, True], ids=["plain", "append"])
def test_kills(tmp_path: Path, engine: str, append: bool) -> None:
    settings = {"root_dir": str(tmp_path / "root"), "engine": engine, "append_mode": append}
    survive(settings, tmp_path / "log", 10, append=append)


@pytest.mark.stress
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("append", [False, True], ids=["plain", "append"])
def test_a_thousand_kills(tmp_path: Path, engine: str, append: bool) -> None:
    settings = {"root_dir": str(tmp_path / "root"), "engine": engine, "append_mode": append}
    survive(settings, tmp_path / "log", 500, append=append)


def test_what_would_be_found_missing(tmp_path: Path) -> None:
    """The check sees a lost write, one that nobody made, half a batch and a leftover."""
    settings: Settings = {
        "root_dir": str(tmp_path / "root"),
        "engine": "sqlite",
        "append_mode": True,
    }
    stash = HashStash(**settings)
    stash.update({KEYS[0]: 1, KEYS[1]: 1})
    good: State = {KEYS[0]: [1], KEYS[1]: [1]}
    assert check(settings, good, None, "") == good
    for wrong in ({KEYS[0]: [1]}, {**good, KEYS[2]: [1]}, {**good, KEYS[0]: [1, 2]}):
        with pytest.raises(AssertionError):
            check(settings, wrong, None, "set")
    with pytest.raises(AssertionError, match="half a batch"):
        check(settings, {KEYS[0]: [1]}, {KEYS[1]: [1]}, "batch")
    folder = tmp_path / "root" / "main" / "sqlite"
    (folder / ".data.db.1-a.new").touch()
    assert leftovers(settings) == [".data.db.1-a.new"]
